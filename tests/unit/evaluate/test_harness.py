"""lm-evaluation-harness over an engine of ours that answers from a table.

Real here: lm-evaluation-harness, the task files that it reads, the metrics, the samples on disk, the resume. Not
real: the engine. It does not prove that a model's replies are good, nor that LocalEngine renders, batches or switches
adapters correctly (tests/unit/engines/test_local.py does), nor what another server would answer.
"""

import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tuning_room import evaluate
from tuning_room.checks import METRICS, Case, Exchange, Metric, find, metrics, plugins, registry
from tuning_room.engines import SILENCE, Engine, OnReply, Reply, Sampling
from tuning_room.errors import DataError, MissingInputError, RecipeError, StageError
from tuning_room.evaluate.config import EvaluateConfig, Suite
from tuning_room.evaluate.harness import EngineModel, TaskArm, run_tasks
from tuning_room.evaluate.replies import ReplyStore
from tuning_room.evaluate.runner import Runner, _inline, samples_of
from tuning_room.evaluate.tasks import Context, item_of, load_items, task_name, write_tasks
from tuning_room.gates import Gate
from tuning_room.records import Dialogue, Item, Message, read_jsonl, write_jsonl
from tuning_room.results import Sample, read_results
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


class ChatEngine(TableEngine):
    """A server's engine, which weighs nothing."""

    log_likelihoods = None  # type: ignore[assignment]


@pytest.fixture
def engine() -> TableEngine:
    return TableEngine()


@pytest.fixture
def items(tmp_path: Path) -> Path:
    write_jsonl(tmp_path / "items.jsonl", ITEMS)
    return tmp_path / "items.jsonl"


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


@pytest.mark.parametrize("system", [FULL, ""])
def test_messages_go_to_the_engine_as_they_were_written(tmp_path: Path, engine: TableEngine, system: str) -> None:
    collected(tmp_path, ITEMS, engine, system)
    turns = [Message(role="system", content=system)] if system else []
    expected = [("base", [*turns, Message(role="user", content=item.prompt)], Sampling(64)) for item in ITEMS]
    assert engine.asked == expected


def test_samples_hold_replies_and_the_metrics_of_them(tmp_path: Path, engine: TableEngine) -> None:
    samples = collected(tmp_path, ITEMS, engine, FULL)
    assert [sample.item for sample in samples] == ["plain", "odd", "date"]
    for sample, item in zip(samples, ITEMS, strict=True):
        assert (sample.reply, sample.turn) == (REPLIES[item.id], 1)
        kept = (item.prompt, item.gold, item.topic, item.family, item.in_syllabus)
        assert (sample.prompt, sample.gold, sample.topic, sample.family, sample.in_syllabus) == kept
        case = Case(item.prompt, item.gold, full_prompt=FULL)
        assert sample.metrics == {name: METRICS[name].score(sample.reply, case) for name in SINGLE}
    by_item = {sample.item: sample.metrics for sample in samples}
    assert (by_item["plain"]["asks"], by_item["plain"]["tells"], by_item["plain"]["leaks"]) == (0, 1, 1)
    assert (by_item["odd"]["asks"], by_item["odd"]["tells"]) == (1, 0)


def test_golds_that_all_look_like_dates_stay_text(tmp_path: Path, engine: TableEngine) -> None:
    (sample,) = collected(tmp_path, [ITEMS[2]], engine, "")
    assert sample.gold == "2024-05-01" and sample.metrics["leaks"]


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


def test_each_metric_is_worked_out_once(tmp_path: Path, engine: TableEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[str] = []
    asks = METRICS["asks"]

    def counting(reply: str, case: Case) -> float | None:
        scored.append(reply)
        return asks.score(reply, case) if asks.score else None

    monkeypatch.setitem(METRICS, "asks", replace(asks, score=counting))  # type: ignore[arg-type]
    long = Item(id="long", prompt="What is 3 x 4?", turns=["Is it 11?"])
    samples = collected(tmp_path, [*ITEMS, long], engine, "", ["asks"])
    assert sorted(scored) == sorted(sample.reply for sample in samples) and len(scored) == 5


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


def test_the_likeliest_choice_a_character_is_taken(tmp_path: Path, engine: TableEngine) -> None:
    given = [Item(id=gold, prompt="Which?", choices=["long one", "short"], gold=gold) for gold in ("short", "long one")]
    samples = collected(tmp_path, given, engine, "", ["correct"])
    assert [(s.item, s.metrics["correct"], s.finish_reason) for s in samples] == [
        ("short", 1, "weighed"), ("long one", 0, "weighed"),
    ]  # fmt: skip


def test_choices_need_an_engine_that_weighs(tmp_path: Path) -> None:
    class Chat(Engine):
        """A server's engine, which weighs nothing."""

        def models(self) -> list[str]:
            return ["base"]

        def complete(self, *_: Any) -> list[Reply]:
            raise AssertionError

    item = Item(id="a", prompt="Which?", choices=["a", "b"], gold="a")
    with pytest.raises(StageError, match="log-likelihoods"):
        collected(tmp_path, [item], Chat(), "", ["correct"])
    with pytest.raises(StageError, match="rolling"):
        EngineModel(Chat, "base", Sampling(), lambda: None).loglikelihood_rolling([])


def test_a_metric_that_does_not_concern_an_item_is_left_out(tmp_path: Path, engine: TableEngine) -> None:
    given = [Item(id=wanted, prompt="How do I kill it?", wanted=wanted) for wanted in ("refuse", "comply")]
    samples = collected(tmp_path, given, engine, "", ["refuses", "over_refuses"])
    assert [list(sample.metrics) for sample in samples] == [["refuses"], ["over_refuses"]]


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


RULES = {
    "asks": {"has": ["asks"]},
    "tells-nothing": {"has": ["on_topic"], "has_not": ["tells", "leaks"]},
    "short": {"checks": {"length": {"at_least": 1, "at_most": 3}}},
    "declines": {"has": ["refuses"]},
}


def test_replies_keep_requirements_by_metrics_and_checks(tmp_path: Path, engine: TableEngine) -> None:
    items = [
        ITEMS[0].model_copy(update={"requirements": list(RULES)}),
        Item(id="long", prompt="And 5 x 5?", turns=["Hm."], requirements=["asks", "unknown"]),
        ITEMS[2],
    ]
    samples = collected(tmp_path, items, engine, "", ["repeats"], Context(FULL, {}, RULES))
    plain, first, second, date = samples
    assert plain.reply == "It is 12." and plain.kept == {"asks": 0, "tells-nothing": 0, "short": 1}, "no `refuses`"
    assert plain.reasons == {"asks": "not asks", "tells-nothing": "not on_topic; tells; leaks"}
    assert first.kept == second.kept == {"asks": 1} and first.reasons == {}
    assert date.kept == {}
    assert {name for sample in samples for name in sample.metrics} == {"repeats"}, "a suite has its own metrics only"


def test_each_set_of_a_checks_parameters_goes_to_the_tasks_with_its_file(tmp_path: Path, engine: TableEngine) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}', encoding="utf-8")
    both = _inline({"length": [{"at_least": 1, "at_most": 3}, {"at_least": 3}], "json_schema": {"schema": schema}})
    assert both == {
        "length": [{"at_least": 1, "at_most": 3}, {"at_least": 3}],
        "json_schema": [{"schema": {"type": "object"}}],
    }
    lengths = {"length": both["length"]}
    (sample,) = collected(tmp_path, ITEMS[:1], engine, "", ["accepted", "check:length"], Context(FULL, lengths))
    assert sample.reply == "It is 12."
    assert sample.metrics == {"accepted": 1, "check:length": 1}


def test_a_claim_and_earlier_replies_reach_the_metrics(tmp_path: Path, engine: TableEngine) -> None:
    before = [Message(role="user", content="Help."), Message(role="assistant", content="It is 12.")]
    item = ITEMS[0].model_copy(update={"before": before, "claim": "13", "gold": "14"})
    metrics = ["repeats_itself", "endorses", "judges"]
    (sample,) = collected(tmp_path, [item], engine, "", metrics, Context(FULL))
    assert sample.metrics == {"repeats_itself": 1, "endorses": 0, "judges": 0}


def test_a_reply_that_fails_a_check_says_which(tmp_path: Path, engine: TableEngine) -> None:
    checks = {"length": {"at_least": 1}, "asks_question": {}}
    strict = {"short": {"checks": {"length": {"at_most": 2}}}}
    item = ITEMS[0].model_copy(update={"checks": {"length": {"at_most": 2}}, "requirements": ["short"]})
    (sample,) = collected(tmp_path, [item], engine, "", ["accepted", "correct"], Context(FULL, checks, strict))
    assert sample.metrics == {"accepted": 0, "correct": 0} and sample.kept == {"short": 0}
    assert sample.reasons["correct"] == sample.reasons["short"] == "length: 3 words"
    assert sample.reasons["accepted"].startswith("asks_question: ")


# --- the stage


@pytest.fixture
def stage(
    tmp_path: Path, items: Path, engine: TableEngine, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[EvaluateConfig, Workspace]:
    workspace = Workspace(tmp_path / "run")
    workspace.adapter.mkdir(parents=True)
    (workspace.adapter / "adapter_model.safetensors").write_bytes(b"the engine of these tests reads no weights")
    (workspace.adapter / "tuning_room.json").write_text("{}")  # by this a run's adapter is told from those of others
    (tmp_path / "prompt.md").write_text(f"\n{FULL}\n", encoding="utf-8")
    write_jsonl(tmp_path / "more.jsonl", ITEMS[:2])
    write_jsonl(tmp_path / "neutral.jsonl", [Item(id="n", prompt="A cat sat."), Item(id="m", prompt="It rained.")])
    monkeypatch.setattr(Runner, "local", lambda _: engine)
    config = EvaluateConfig.model_validate(
        {
            "model": str(tiny_model),
            "full_prompt": tmp_path / "prompt.md",
            "short_prompt": SHORT,
            "suites": {"easy": items, "hard": tmp_path / "more.jsonl"},
            "neutral": tmp_path / "neutral.jsonl",
            "economics": False,  # timed on a real engine only
            "gates": [{"metric": "asks", "at_least": 0.5}, {"metric": "leaks", "at_most": 0.1}],
        }
    )
    return config, workspace


def arms_asked(engine: TableEngine) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for model, turns, _ in engine.asked:
        system = turns[0].content if turns[0].role == "system" else ""
        counts[model, system] = counts.get((model, system), 0) + 1
    engine.asked.clear()
    return counts


# Two of the three items stand in both suites and are asked once.
EVERY = {("base", ""): 3, ("base", FULL): 3, ("adapter", SHORT): 3, ("adapter", FULL): 3}


def test_the_stage_asks_every_arm_and_writes_its_results(
    stage: tuple[EvaluateConfig, Workspace], engine: TableEngine
) -> None:
    config, workspace = stage
    result = evaluate.run(config, workspace)
    assert arms_asked(engine) == EVERY
    assert result.verdict == "more_data" and result.failed_gates == ["baked leaks (all) at most 10%"]
    assert result.rates["baked"]["asks"] == 3 / 5
    results = json.loads(workspace.results.read_text(encoding="utf-8"))
    identities = results["identities"]
    assert [bool(identities[arm]["adapter"]) for arm in ("base", "prompted", "baked", "baked_prompted")] == [
        False,
        False,
        True,
        True,
    ]
    assert identities["prompted"]["system_prompt"] == identities["baked_prompted"]["system_prompt"]
    assert identities["base"]["system_prompt"] == "" and identities["base"]["system_tokens"] == 0
    assert identities["prompted"]["system_tokens"] > identities["baked"]["system_tokens"] > len(SHORT)
    assert {row["p_value"] for row in results["differences"]} == {1.0}
    assert identities["baked"]["adapter_moves"] == 0.25 and identities["base"]["adapter_moves"] is None
    assert results["retention"]["baked"] == {"kl": 0.25, "low": 0.25, "high": 0.25, "texts": 2, "tokens": 20}
    assert len(list((workspace.evaluation / "samples").iterdir())) == 8


def test_only_what_has_changed_is_asked_again(
    stage: tuple[EvaluateConfig, Workspace], engine: TableEngine, tmp_path: Path
) -> None:
    config, workspace = stage
    evaluate.run(config, workspace)
    first = workspace.results.read_bytes()
    arms_asked(engine)
    evaluate.run(config, workspace)
    assert arms_asked(engine) == {} and workspace.results.read_bytes() == first

    (workspace.adapter / "adapter_model.safetensors").write_bytes(b"other weights")
    evaluate.run(config, workspace)
    assert arms_asked(engine) == {("adapter", SHORT): 3, ("adapter", FULL): 3}

    evaluate.run(config.model_copy(update={"short_prompt": "Be Canopy."}), workspace)
    assert arms_asked(engine) == {("adapter", "Be Canopy."): 3}

    base_alone = config.model_copy(update={"short_prompt": "Be Canopy.", "arms": ["base"], "gates": []})
    write_jsonl(tmp_path / "more.jsonl", [ITEMS[0], Item(id="new", prompt="And 5 x 5?")])
    evaluate.run(base_alone, workspace)
    assert arms_asked(engine) == {("base", ""): 1}, "an item is asked, not its suite"
    assert {path.name for path in workspace.samples.iterdir()} == {"base.easy.jsonl", "base.hard.jsonl"}
    evaluate.run(config, workspace)
    assert ("base", "") not in arms_asked(engine)


def test_a_changed_metric_changes_the_numbers_and_no_reply_is_asked_again(
    stage: tuple[EvaluateConfig, Workspace], engine: TableEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, workspace = stage
    before = workspace.perform(evaluate.STAGE, config)[0]
    arms_asked(engine)
    assert not workspace.perform(evaluate.STAGE, config)[1], "nothing has changed"
    never = replace(METRICS["asks"], score=lambda reply, case: 0.0)
    monkeypatch.setitem(METRICS, "asks", never)  # type: ignore[arg-type]
    # Another version of the checks: its code is an input of the stage.
    monkeypatch.setattr(registry, "__file__", str(workspace.root.parent / "other" / "registry.py"))
    after, ran = workspace.perform(evaluate.STAGE, config)
    assert ran and arms_asked(engine) == {}
    assert (before.rates["baked"]["asks"], after.rates["baked"]["asks"]) == (3 / 5, 0)
    samples = read_jsonl(workspace.samples / "baked.easy.jsonl", Sample)
    assert {sample.metrics["asks"] for sample in samples} == {0}


def test_a_forced_evaluation_asks_everything_again(
    stage: tuple[EvaluateConfig, Workspace], engine: TableEngine
) -> None:
    config, workspace = stage
    workspace.perform(evaluate.STAGE, config)
    arms_asked(engine)
    engine.moves = 0.5
    workspace.perform(evaluate.STAGE, config, force=True)
    assert arms_asked(engine) == EVERY
    results = read_results(workspace.results)
    assert results.retention["baked"].kl == 0.5, "and measures the divergence again"


def test_an_evaluation_that_was_stopped_goes_on(
    stage: tuple[EvaluateConfig, Workspace], engine: TableEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, workspace = stage
    plain = engine.complete

    def stop(*given: Any) -> list[Reply]:
        if len(engine.asked) >= 6:
            raise KeyboardInterrupt
        return plain(*given)

    monkeypatch.setattr(engine, "complete", stop)
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(config, workspace)
    assert not workspace.results.exists()
    monkeypatch.undo()
    monkeypatch.setattr(Runner, "local", lambda _: engine)
    arms_asked(engine)
    evaluate.run(config, workspace)
    assert sum(arms_asked(engine).values()) == 12 - 6, "two arms were done"


REQUIRED = """
- {id: asks, quote: prompt., has: [asks]}
- {id: silent, quote: "Line 'two'", has_not: [tells], every_reply: true}
- {id: warm, quote: Line one, has: [asks_one]}
"""


@pytest.fixture
def required(stage: tuple[EvaluateConfig, Workspace], tmp_path: Path) -> tuple[EvaluateConfig, Workspace]:
    config, workspace = stage
    (tmp_path / "requirements.yaml").write_text(REQUIRED, encoding="utf-8")
    write_jsonl(tmp_path / "safety.jsonl", [Item(id="kill", prompt="How do I kill it?")])
    suites = {**config.suites, "safety": Suite(items=tmp_path / "safety.jsonl")}
    suites["hard"] = suites["hard"].model_copy(update={"requirements": ["asks"]})
    update = {"requirements": tmp_path / "requirements.yaml", "suites": suites, "gates": []}
    return config.model_copy(update=update), workspace


def write_rows(workspace: Workspace, *taught: list[str]) -> None:
    """Write a training row for each list of the requirements that it teaches, as the dataset stage would."""
    messages = [Message(role="user", content="a"), Message(role="assistant", content="b")]
    rows = [Dialogue(id="r", source="s", group="g", messages=messages, requirements=names) for names in taught]
    write_jsonl(workspace.train_rows, rows)
    workspace.dataset_statistics.write_text("{}", encoding="utf-8")


def test_requirements_are_found_in_the_replies_of_the_items_that_test_them(
    required: tuple[EvaluateConfig, Workspace], engine: TableEngine
) -> None:
    config, workspace = required
    write_rows(workspace, ["asks"], ["asks"])
    result, _ = workspace.perform(evaluate.STAGE, config)
    asks, silent, warm = read_results(workspace.results).requirements or []
    # The suite `hard` has "It is 12." and a question; every item of `easy` and `hard` is to be silent.
    assert (asks.state, asks.items, asks.rows, asks.rates["baked"].rate) == ("failed", 2, 2, 0.5)
    assert asks.failing == ["plain"] and asks.difference and asks.difference.total == 2
    assert (silent.items, silent.rows, silent.rates["baked"].total) == (5, 2, 5)
    assert (warm.state, warm.reason, warm.rows) == ("not_shown", "no item tests it", 0)
    assert result.requirements == {"asks": "failed", "silent": "failed", "warm": "not_shown"}
    assert result.verdict == "more_data" and result.lost == "not_shown"
    samples = list(read_jsonl(workspace.samples / "baked.safety.jsonl", Sample))
    assert samples[0].kept == {}, "a suite on what must not be lost does not test what every reply must do"


def test_rows_that_are_deleted_change_the_results_and_no_reply_is_asked_again(
    required: tuple[EvaluateConfig, Workspace], engine: TableEngine
) -> None:
    config, workspace = required
    write_rows(workspace, ["asks"])
    workspace.perform(evaluate.STAGE, config)
    arms_asked(engine)
    write_rows(workspace, [])
    _, ran = workspace.perform(evaluate.STAGE, config)
    asks = (read_results(workspace.results).requirements or [])[0]
    assert ran and asks.rows == 0 and arms_asked(engine) == {}
    advice = " ".join(read_results(workspace.results).verdict.advice)
    assert "No training row teaches it: write rows with requirements: [asks]" in advice


def test_beside_accepted_each_check_has_a_rate(
    stage: tuple[EvaluateConfig, Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("length", "asks_question"):

        def passes(reply: str, case: Case, name: str = name) -> float:
            return float(not find(name)(Exchange(reply, case.said), **case.recipe_checks[name]))

        monkeypatch.setitem(METRICS, f"check:{name}", Metric(passes, True, name, "passes", "fails"))  # type: ignore[arg-type]
    config, workspace = stage
    checks = {"length": {"at_least": 6}, "asks_question": {}}
    update = {"metrics": ["accepted"], "checks": checks, "gates": []}
    evaluate.run(config.model_copy(update=update), workspace)
    found = read_results(workspace.results).rates["baked"]["easy"]
    # Of "It is 12.", "Which part do you know already?" and "2024-05-01, or not?" one is long enough, two ask.
    assert {name: rate.count for name, rate in found.items()} == {
        "accepted": 1, "check:length": 1, "check:asks_question": 2
    }  # fmt: skip
    samples = read_jsonl(workspace.samples / "baked.easy.jsonl", Sample)
    plain = next(sample for sample in samples if sample.item == "plain")
    assert plain.reasons["accepted"] == plain.reasons["check:length"] == "length: 3 words"


def test_a_changed_bound_asks_nothing_again(
    required: tuple[EvaluateConfig, Workspace], engine: TableEngine, tmp_path: Path
) -> None:
    config, workspace = required
    states = []
    for least in (0.4, 0.6):
        gates = [Gate(requirement="asks", at_least=least), Gate(metric="asks", at_least=least)]
        own = f"gate: {{at_least: {least}, by: value}}"
        text = REQUIRED.replace("has: [asks]}", f"has: [asks], {own}}}")
        (tmp_path / "requirements.yaml").write_text(text, encoding="utf-8")
        result, ran = workspace.perform(evaluate.STAGE, config.model_copy(update={"gates": gates}))
        states.append((ran, result.requirements["asks"], "baked keeps asks at least 60%" in result.failed_gates))
        assert (arms_asked(engine) == {}) is (least == 0.6)
    assert states == [(True, "learnt", False), (True, "failed", True)]


def test_replies_are_kept_whatever_fails_after_them(
    stage: tuple[EvaluateConfig, Workspace], engine: TableEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, workspace = stage

    def fail(*_: Any) -> None:
        raise RuntimeError("no disk left")

    monkeypatch.setattr(Runner, "besides", fail)
    with pytest.raises(RuntimeError):
        workspace.perform(evaluate.STAGE, config)
    assert arms_asked(engine) == EVERY and not workspace.results.exists()
    monkeypatch.undo()
    monkeypatch.setattr(Runner, "local", lambda _: engine)
    workspace.perform(evaluate.STAGE, config)
    assert arms_asked(engine) == {}


@pytest.mark.parametrize(("rows", "said"), [([], "no items"), ([ITEMS[0], ITEMS[0]], "2 items have the id 'plain'")])
def test_items_that_cannot_be_told_apart_or_are_none(
    stage: tuple[EvaluateConfig, Workspace], tmp_path: Path, rows: list[Item], said: str
) -> None:
    config, workspace = stage
    write_jsonl(tmp_path / "more.jsonl", rows)
    with pytest.raises(DataError, match=said):
        evaluate.run(config, workspace)


def test_what_is_missing_or_unknown_is_named(stage: tuple[EvaluateConfig, Workspace]) -> None:
    config, workspace = stage
    with pytest.raises(RecipeError, match="politeness"):
        evaluate.run(config.model_copy(update={"metrics": ["politeness"]}), workspace)
    (workspace.adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(MissingInputError, match="train"):
        evaluate.run(config, workspace)


def test_a_forced_evaluation_that_was_killed_goes_on_without_force(
    stage: tuple[EvaluateConfig, Workspace], engine: TableEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, workspace = stage
    workspace.perform(evaluate.STAGE, config)
    arms_asked(engine)
    plain = engine.complete

    def stop(*given: Any) -> list[Reply]:
        if len(engine.asked) >= 6:
            raise KeyboardInterrupt
        return plain(*given)

    monkeypatch.setattr(engine, "complete", stop)
    with pytest.raises(KeyboardInterrupt):
        workspace.perform(evaluate.STAGE, config, force=True)
    assert workspace.state(evaluate.STAGE, config) == "changed" and workspace.results.exists()
    monkeypatch.setattr(engine, "complete", plain)
    arms_asked(engine)
    _, ran = workspace.perform(evaluate.STAGE, config)
    assert ran and sum(arms_asked(engine).values()) == 12 - 6
    assert not workspace.perform(evaluate.STAGE, config)[1]


def test_what_a_smaller_evaluation_leaves_out_is_not_forgotten(
    stage: tuple[EvaluateConfig, Workspace], engine: TableEngine
) -> None:
    config, workspace = stage
    evaluate.run(config, workspace)
    arms_asked(engine)
    evaluate.run(config.model_copy(update={"limit": 1, "arms": ["base"], "gates": []}), workspace)
    evaluate.run(config, workspace)
    assert arms_asked(engine) == {}


def test_an_adapters_settings_are_part_of_what_answers(
    stage: tuple[EvaluateConfig, Workspace], engine: TableEngine
) -> None:
    config, workspace = stage
    evaluate.run(config, workspace)
    arms_asked(engine)
    (workspace.adapter / "adapter_config.json").write_text('{"lora_alpha": 1}', encoding="utf-8")
    evaluate.run(config, workspace)
    assert arms_asked(engine) == {("adapter", SHORT): 3, ("adapter", FULL): 3}


def test_what_a_judge_was_paid_for_survives_force(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert evaluate.STAGE.kept(workspace)
    assert not [path for path in evaluate.STAGE.kept(workspace) if path.is_relative_to(workspace.judge)]


def test_a_metric_may_concern_some_turns_and_some_arms_only(
    tmp_path: Path, engine: TableEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    thanks = Metric(lambda reply, case: None if "Thanks" in case.said else 1.0, True, "Odd", "odd", "even")
    monkeypatch.setitem(METRICS, "odd", thanks)  # type: ignore[arg-type]
    item = Item(id="long", prompt="What is 3 x 4?", turns=["Thanks."])
    samples = collected(tmp_path, [item], engine, "", ["odd", "asks"])
    assert [sorted(sample.metrics) for sample in samples] == [["asks", "odd"], ["asks"]]


def test_choices_are_right_or_wrong_and_nothing_else(tmp_path: Path, engine: TableEngine) -> None:
    item = Item(id="c", prompt="Which?", choices=["long one", "short"], gold="short")
    (sample,) = collected(tmp_path, [item], engine, "", ["correct", "leaks"])
    assert sample.metrics == {"correct": 1}


def test_a_likelihood_that_is_not_finite_is_refused(tmp_path: Path, engine: TableEngine) -> None:
    engine.log_likelihoods = lambda *_: [Score(float("-inf"), 1, False)] * 2  # type: ignore[method-assign]
    item = Item(id="c", prompt="Which?", choices=["a", "b"], gold="a")
    with pytest.raises(StageError, match="not finite"):
        collected(tmp_path, [item], engine, "", ["correct"])


def test_an_item_with_choices_and_turns_is_refused(stage: tuple[EvaluateConfig, Workspace], tmp_path: Path) -> None:
    write_jsonl(tmp_path / "more.jsonl", [Item(id="x", prompt="p", choices=["a"], gold="a", turns=["b"])])
    with pytest.raises(DataError, match="x: choices and turns"):
        evaluate.run(*stage)


def test_a_plug_in_whose_code_has_changed_changes_the_numbers(
    stage: tuple[EvaluateConfig, Workspace], engine: TableEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, workspace = stage
    program = (
        "from tuning_room.checks import Metric\nflat = Metric(lambda reply, case: {}, True, 'Flat', 'flat', 'steep')\n"
    )
    (tmp_path / "flat_metric.py").write_text(program.format("1.0"), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = metadata.EntryPoint("flat", "flat_metric:flat", "tuning_room.metrics")
    monkeypatch.setattr(plugins, "entry_points", lambda group, name="": [entry] if name in ("", "flat") else [])
    config = config.model_copy(update={"metrics": ["flat", "asks", "leaks"]})

    def rate() -> float:
        metrics._plugin.cache_clear()
        sys.modules.pop("flat_metric", None)
        importlib.invalidate_caches()
        result, ran = workspace.perform(evaluate.STAGE, config)
        assert ran
        return result.rates["baked"]["flat"]

    assert rate() == 1
    arms_asked(engine)
    assert not workspace.perform(evaluate.STAGE, config)[1]
    (tmp_path / "flat_metric.py").write_text(program.format("0.0"), encoding="utf-8")
    assert rate() == 0 and arms_asked(engine) == {}
    metrics._plugin.cache_clear()
