"""An engine that answers from a table, and what the tests of the evaluation that ask it share."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tuning_room.engines import Engine, OnReply, Reply, Sampling
from tuning_room.evaluate.harness import EngineModel, TaskArm, run_tasks
from tuning_room.evaluate.runner import samples_of
from tuning_room.evaluate.tasks import Context, write_tasks
from tuning_room.records import Dialogue, Item, Message, write_jsonl
from tuning_room.results import Sample
from tuning_room.workspace import Workspace

ITEMS = [
    Item(id="plain", prompt="What is 3 x 4?", gold="12", topic="arithmetic"),
    Item(id="odd", prompt="  Is {{ 7 * 7 }} {% raw %} \"so\" 'on' \\n\n\n[1, 2]?  ", gold="[49, x]", in_syllabus=False),
    Item(id="date", prompt="Größe: which day is it?", gold="2024-05-01", family="dates"),
]
REPLIES = {"plain": "It is 12.", "odd": "Which part do you know already?", "date": "2024-05-01, or not?"}
FULL = "Line one of {{ the }} prompt.\n\n- Line 'two'."
SHORT = "You are Canopy."
SINGLE = ["asks", "tells", "leaks", "on_topic", "repeats", "extracts", "overlap"]
# Two of the three items stand in both suites and are asked once.
EVERY = {("base", ""): 3, ("base", FULL): 3, ("adapter", SHORT): 3, ("adapter", FULL): 3}


class Score(NamedTuple):
    total: float
    tokens: int
    is_greedy: bool


class Moved(NamedTuple):
    mean: float
    tokens: int


class TableEngine(Engine):
    """Answers each item from a table, weighs a choice by its length, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[Message], Sampling]] = []
        self.moves = 0.25

    def models(self) -> list[str]:
        return ["base", "adapter"]

    def complete(
        self,
        model: str,
        dialogues: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_reply: OnReply | None = None,
    ) -> list[Reply]:
        replies = []
        for index, dialogue in enumerate(dialogues):
            self.asked.append((model, list(dialogue), sampling))
            known = [REPLIES[item.id] for item in ITEMS if item.prompt == dialogue[-1].content]
            replies.append(Reply(known[0] if known else f"{len(dialogue)} turns?", "stop", len(dialogue), index))
            if on_reply:
                on_reply(index, replies[-1])
        return replies

    def log_likelihoods(
        self, model: str, dialogues: Sequence[Sequence[Message]], answers: Sequence[str]
    ) -> list[Score]:
        assert all(dialogue[-1].role == "user" for dialogue in dialogues)
        return [Score(-(float(len(answer)) ** 2), len(answer), False) for answer in answers]

    def divergence(self, texts: Sequence[str], first: str, second: str) -> Moved:
        assert (first, second) == ("adapter", "base")
        return Moved(self.moves, sum(map(len, texts)))


def collected(
    tmp_path: Path,
    items: list[Item],
    engine: Engine,
    system: str,
    metrics: Sequence[str] = SINGLE,
    context: Context = Context(FULL),  # noqa: B008
) -> list[Sample]:
    write_tasks(tmp_path / "tasks", {"easy": items}, {"easy": list(metrics)}, 64, context)
    heard: list[None] = []
    parts = {"prompted.easy": TaskArm("base", system)}
    model = EngineModel(lambda: engine, "", Sampling(64), lambda: heard.append(None), parts=parts)
    task = run_tasks(model, tmp_path / "tasks", {"prompted.easy": "easy"})["prompted.easy"]
    samples = samples_of("prompted", "easy", items, task, model.answers)
    assert len(heard) == len(samples)
    return samples


def arms_asked(engine: TableEngine) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for model, turns, _ in engine.asked:
        system = turns[0].content if turns[0].role == "system" else ""
        counts[model, system] = counts.get((model, system), 0) + 1
    engine.asked.clear()
    return counts


REQUIRED = """
- {id: asks, quote: prompt., has: [asks]}
- {id: silent, quote: "Line 'two'", has_not: [tells], every_reply: true}
- {id: warm, quote: Line one, has: [asks_one]}
"""


def write_rows(workspace: Workspace, *taught: list[str], reply: str = "b") -> None:
    """Write a training row for each list of the requirements that it teaches, as the dataset stage would."""
    messages = [Message(role="user", content="a"), Message(role="assistant", content=reply)]
    rows = [Dialogue(id="r", source="s", group="g", messages=messages, requirements=names) for names in taught]
    write_jsonl(workspace.train_rows, rows)
    workspace.dataset_statistics.write_text("{}", encoding="utf-8")
