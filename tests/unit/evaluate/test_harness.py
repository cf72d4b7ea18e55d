"""lm-evaluation-harness over an engine of ours that answers from a table.

Real here: lm-evaluation-harness, the task files that it reads, the log of replies. Not real: the engine. It does not
prove that a model's replies are good, nor that LocalEngine renders, batches or switches adapters correctly
(tests/unit/engines/test_local.py does), nor what another server would answer.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from table_engine import FULL, ITEMS, REPLIES, SHORT, TableEngine, collected

from tuning_room.engines import SILENCE, Engine, Reply, Sampling
from tuning_room.errors import DataError, StageError
from tuning_room.evaluate.harness import EngineModel, TaskArm, run_tasks
from tuning_room.evaluate.replies import ReplyStore, StoredAnswer
from tuning_room.evaluate.runner import samples_of
from tuning_room.evaluate.tasks import Context, item_of, load_items, task_name, write_tasks
from tuning_room.records import Item, Message


def test_the_task_folder_is_one_that_the_harness_reads(tmp_path: Path) -> None:
    from lm_eval.tasks import TaskManager

    suites = {"easy": ITEMS, "hard-2": ITEMS[:1]}
    write_tasks(tmp_path / "tasks", suites, {"easy": ["asks", "tells"], "hard-2": ["asks"]}, 64, Context(FULL))
    names = ["context.json", "easy.jsonl", "easy.yaml", "hard-2.jsonl", "hard-2.yaml", "suite.py"]
    assert sorted(path.name for path in (tmp_path / "tasks").iterdir()) == names
    manager = TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False)
    assert sorted(manager.all_tasks) == [task_name("easy"), task_name("hard-2")]
    task = yaml.safe_load((tmp_path / "tasks" / "easy.yaml").read_text(encoding="utf-8").replace("!function", ""))
    assert task["generation_kwargs"] == {"until": [], "max_gen_toks": 64, "do_sample": False}
    assert task["dataset_kwargs"] == {"items": "easy.jsonl"}
    better = {entry["metric"]: entry["higher_is_better"] for entry in task["metric_list"]}
    assert better == {"asks": True, "tells": False}
    docs = load_items(tmp_path / "tasks" / "easy.jsonl")["test"]
    assert [item_of(doc) for doc in docs] == ITEMS
    assert not [path.name for path in (tmp_path / "tasks").iterdir() if str(tmp_path) in path.read_text("utf-8")]


def test_a_task_folder_may_be_moved(tmp_path: Path, engine: TableEngine) -> None:
    write_tasks(tmp_path / "tasks", {"easy": ITEMS}, {"easy": ["leaks"]}, 64, Context(FULL))
    (tmp_path / "tasks").rename(tmp_path / "elsewhere")
    model = EngineModel(lambda: engine, "base", Sampling(64), lambda: None)
    task = run_tasks(model, tmp_path / "elsewhere", {"easy": "easy"})["easy"]
    assert {item: turns[0].metrics["leaks"] for item, turns in task.scores.items()} == {"plain": 1, "odd": 0, "date": 1}
    assert task.context.full_prompt == FULL


@pytest.mark.parametrize("system", [FULL, ""])
def test_messages_go_to_the_engine_as_they_were_written(tmp_path: Path, engine: TableEngine, system: str) -> None:
    collected(tmp_path, ITEMS, engine, system)
    turns = [Message(role="system", content=system)] if system else []
    expected = [("base", [*turns, Message(role="user", content=item.prompt)], Sampling(64)) for item in ITEMS]
    assert engine.asked == expected


def test_a_dialogue_goes_on_from_the_models_own_replies(tmp_path: Path, engine: TableEngine) -> None:
    long = Item(id="long", prompt="What is 3 x 4?", gold="12", turns=["Is it 11?", "Then tell me."])
    short = Item(id="short", prompt="And 5 x 5?", gold="25", turns=["Hm."])
    samples = collected(tmp_path, [long, short], engine, "", ["tells", "on_topic"])
    assert [(s.item, s.turn, s.prompt) for s in samples] == [
        ("long", 1, "What is 3 x 4?"), ("long", 2, "Is it 11?"), ("long", 3, "Then tell me."),
        ("short", 1, "And 5 x 5?"), ("short", 2, "Hm."),
    ]  # fmt: skip
    assert [s.reply for s in samples] == ["It is 12.", "3 turns?", "5 turns?", "1 turns?", "3 turns?"]
    assert [s.metrics["tells"] for s in samples] == [1, 0, 0, 0, 0]
    last = max((dialogue for _, dialogue, _ in engine.asked), key=len)
    assert [turn.role for turn in last] == ["user", "assistant", "user", "assistant", "user"]
    assert [turn.content for turn in last][1::2] == ["It is 12.", "3 turns?"]


def test_several_arms_are_asked_in_one_run(tmp_path: Path, engine: TableEngine) -> None:
    write_tasks(tmp_path / "tasks", {"easy": ITEMS}, {"easy": ["asks"]}, 64, Context())
    parts = {"bare": TaskArm("base", ""), "full": TaskArm("adapter", FULL)}
    model = EngineModel(lambda: engine, "", Sampling(), lambda: None, parts=parts)
    found = run_tasks(model, tmp_path / "tasks", dict.fromkeys(parts, "easy"))
    assert {name: len(task.scores) for name, task in found.items()} == {"bare": len(ITEMS), "full": len(ITEMS)}
    assert {place.task for place in model.answers} == {"bare", "full"}
    seen = {(name, said[0].content if said[0].role == "system" else "") for name, said, _ in engine.asked}
    assert seen == {("base", ""), ("adapter", FULL)} and len(engine.asked) == 2 * len(ITEMS)


def test_what_was_answered_before_a_kill_is_not_asked_again(tmp_path: Path) -> None:
    given = [Item(id=f"d{n}", prompt=f"Number {n}?", turns=["Go on."]) for n in range(3)]
    write_tasks(tmp_path / "tasks", {"easy": given}, {"easy": ["asks"]}, 64, Context())

    def run(engine: TableEngine, asked_as: str = "k") -> list[str]:
        store = ReplyStore(tmp_path / "log.jsonl")
        parts = {"easy": TaskArm("base", "", asked_as)}
        model = EngineModel(lambda: engine, "", Sampling(), lambda: None, parts=parts, store=store)
        task = run_tasks(model, tmp_path / "tasks", {"easy": "easy"})["easy"]
        return [sample.reply for sample in samples_of("baked", "easy", given, task, model.answers)]

    class OneByOne(TableEngine):
        """Ends each dialogue before it begins the next, as an engine may."""

        def converse(self, talks: Any, sampling: Sampling, on_reply: Any = None) -> list[list[Reply]]:
            found: list[list[Reply]] = []
            for place, talk in enumerate(talks):
                if len(self.asked) >= 4:
                    raise KeyboardInterrupt
                heard = lambda _, reply, place=place: on_reply(place, reply)  # noqa: E731
                found += Engine.converse(self, [talk], sampling, heard)
            return found

    killed, again, other = OneByOne(), TableEngine(), TableEngine()
    with pytest.raises(KeyboardInterrupt):
        run(killed)
    with (tmp_path / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"key": "cut off by the ki')
    assert len(killed.asked) == 4 and run(again) == ["1 turns?", "3 turns?"] * 3
    assert {said[0].content for _, said, _ in again.asked} == {"Number 2?"}
    run(other, "of another adapter")
    assert len(other.asked) == 6


def test_a_line_that_is_no_answer_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"key": "k", "weights": "w", "item": "a"}\n{"text": 1}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"log\.jsonl:2: (key|weights)"):
        ReplyStore(tmp_path / "log.jsonl")


@pytest.mark.parametrize(
    "change",
    [
        {"replies": [{"text": "7", "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1}]},
        {"likelihoods": [[-0.1, True]]},
        {"weights": "of another adapter"},
        {"digest": ""},
    ],
    ids=["reply", "likelihood", "model", "digest"],
)
def test_an_answer_that_was_edited_is_not_taken(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    kept = StoredAnswer(key="k", weights="w", item="a", replies=[Reply("12", "stop", 1, 1)])
    store = ReplyStore(path)
    with store.open():
        store.add(kept)
        store.add(kept.model_copy(update={"key": "other"}))
    assert ReplyStore(path).known.keys() == {"k", "other"}
    first, second = path.read_text(encoding="utf-8").splitlines()
    path.write_text(f"{json.dumps(json.loads(first) | change)}\n{second}\n", encoding="utf-8")
    again = ReplyStore(path)
    assert again.known.keys() == {"other"}
    again.keep_only({"w"})
    assert ReplyStore(path).known == again.known


def test_an_empty_reply_does_not_end_a_dialogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REPLIES, "plain", "")
    engine = TableEngine()
    item = Item(id="long", prompt="What is 3 x 4?", turns=["Hello?"])
    samples = collected(tmp_path, [item], engine, "", ["asks"])
    assert [s.reply for s in samples] == ["", "3 turns?"] and engine.asked[-1][1][1].content == SILENCE


def test_earlier_turns_stand_before_the_prompt(tmp_path: Path, engine: TableEngine) -> None:
    before = [Message(role="user", content="3 x 4?"), Message(role="assistant", content="How much is 3 x 2?")]
    item = Item(id="right", before=before, prompt="12!", gold="12", expects=["right"], wanted="confirm")
    (sample,) = collected(tmp_path, [item], engine, FULL, ["withholds", "leaks"])
    assert engine.asked[0][1] == [Message(role="system", content=FULL), *before, Message(role="user", content="12!")]
    assert sample.metrics == {"withholds": 1, "leaks": 0} and sample.wanted == "confirm"


def test_a_model_that_cannot_answer_turn_by_turn_is_told_so(tmp_path: Path, tiny_model: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    item = Item(id="long", prompt="What is 3 x 4?", turns=["Is it 11?"])
    write_tasks(tmp_path / "tasks", {"easy": [item]}, {"easy": ["asks"]}, 8, Context())
    with pytest.raises(StageError, match="turn by turn"):
        run_tasks(HFLM(pretrained=str(tiny_model), device="cpu"), tmp_path / "tasks", {"easy": "easy"})


def test_plain_harness_models_run_the_same_tasks(tmp_path: Path, tiny_model: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    choice = Item(id="choice", prompt="Which?", choices=["one", "two"], gold="one")
    write_tasks(tmp_path / "tasks", {"easy": [ITEMS[0], choice]}, {"easy": ["asks", "correct"]}, 8, Context())
    task = run_tasks(HFLM(pretrained=str(tiny_model), device="cpu"), tmp_path / "tasks", {"easy": "easy"}, SHORT)[
        "easy"
    ]
    assert task.scores.keys() == {"plain", "choice"}
    assert all(turns[0].metrics["correct"] in (0.0, 1.0) for turns in task.scores.values())
    assert SHORT in task.instances[0].args[0], "the model's own template renders the system turn"
