"""lm-evaluation-harness over an engine of ours that answers from a table.

Real here: lm-evaluation-harness, the task files that it reads, the metrics, the samples on disk, the resume. Not
real: the engine. It does not prove that a model's replies are good, nor that LocalEngine renders, batches or switches
adapters correctly (tests/unit/engines/test_local.py does), nor what another server would answer.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tuning_room import evaluate
from tuning_room.checks import METRICS
from tuning_room.engines import Engine, OnReply, Reply, Sampling
from tuning_room.errors import DataError, MissingInputError, RecipeError, StageError
from tuning_room.evaluate.arms import ArmSetup
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.evaluate.harness import EngineModel, task_name, write_tasks
from tuning_room.evaluate.runner import Runner
from tuning_room.evaluate.samples import Sample, collect
from tuning_room.records import Item, Message, read_jsonl, write_jsonl
from tuning_room.workspace import Workspace

ITEMS = [
    Item(id="plain", prompt="What is 3 x 4?", gold="12", topic="arithmetic"),
    Item(id="odd", prompt="  Is {{ 7 * 7 }} {% raw %} \"so\" 'on' \\n\n\n[1, 2]?  ", gold="[49, x]", in_syllabus=False),
    Item(id="date", prompt="Größe: which day is it?", gold="2024-05-01", family="dates"),
]
REPLIES = {"plain": "It is 12.", "odd": "Which part do you know already?", "date": "2024-05-01, or not?"}
FULL = "Line one of {{ the }} prompt.\n\n- Line 'two'."
SHORT = "You are Canopy."


class TableEngine(Engine):
    """Answers each item from a table, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[Message], Sampling]] = []

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
            item = next(item for item in ITEMS if item.prompt == dialogue[-1].content)
            replies.append(Reply(REPLIES[item.id], "stop", len(dialogue), index))
            if on_reply:
                on_reply(index, replies[-1])
        return replies


@pytest.fixture
def engine() -> TableEngine:
    return TableEngine()


@pytest.fixture
def items(tmp_path: Path) -> Path:
    write_jsonl(tmp_path / "items.jsonl", ITEMS)
    return tmp_path / "items.jsonl"


def test_the_task_folder_is_one_that_the_harness_reads(tmp_path: Path, items: Path) -> None:
    from lm_eval.tasks import TaskManager

    write_tasks(tmp_path / "tasks", {"easy": items, "hard-2": items}, ["asks"], 64)
    assert sorted(path.name for path in (tmp_path / "tasks").iterdir()) == ["easy.yaml", "hard-2.yaml", "metrics.py"]
    manager = TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False)
    assert sorted(manager.all_tasks) == [task_name("easy"), task_name("hard-2")]
    text = (tmp_path / "tasks" / "easy.yaml").read_text(encoding="utf-8")
    task = yaml.safe_load(text.replace("!function", ""))
    assert task["generation_kwargs"] == {"until": [], "max_gen_toks": 64, "do_sample": False}
    assert task["dataset_kwargs"] == {"items": str(items)}


def collected(tmp_path: Path, items: Path, engine: Engine, system: str, limit: int | None = None) -> list[Sample]:
    write_tasks(tmp_path / "tasks", {"easy": items}, list(METRICS), 64)
    heard: list[None] = []
    model = EngineModel(engine, "base", Sampling(64), lambda: heard.append(None))
    arm = ArmSetup("prompted", "base", system)
    samples = collect(tmp_path / "s.jsonl", "k", arm, "easy", model, tmp_path / "tasks", limit)
    assert len(heard) == len(samples)
    return samples


@pytest.mark.parametrize("system", [FULL, ""])
def test_messages_go_to_the_engine_as_they_were_written(
    tmp_path: Path, items: Path, engine: TableEngine, system: str
) -> None:
    collected(tmp_path, items, engine, system)
    turns = [Message(role="system", content=system)] if system else []
    expected = [("base", [*turns, Message(role="user", content=item.prompt)], Sampling(64)) for item in ITEMS]
    assert engine.asked == expected


def test_samples_hold_replies_and_the_harness_metrics_of_them(tmp_path: Path, items: Path, engine: TableEngine) -> None:
    samples = collected(tmp_path, items, engine, FULL)
    assert list(read_jsonl(tmp_path / "s.jsonl", Sample)) == samples
    assert [sample.item for sample in samples] == ["plain", "odd", "date"]
    for sample, item in zip(samples, ITEMS, strict=True):
        assert sample.reply == REPLIES[item.id]
        assert (sample.prompt, sample.gold, sample.topic, sample.family) == (
            item.prompt,
            item.gold,
            item.topic,
            item.family,
        )
        assert sample.in_syllabus is item.in_syllabus
        assert sample.metrics == {name: METRICS[name](sample.reply, item.prompt, item.gold) for name in METRICS}
    by_item = {sample.item: sample.metrics for sample in samples}
    assert (by_item["plain"]["asks"], by_item["plain"]["tells"], by_item["plain"]["leaks"]) == (False, True, True)
    assert (by_item["odd"]["asks"], by_item["odd"]["tells"]) == (True, False)


def test_a_limit_takes_the_first_items(tmp_path: Path, items: Path, engine: TableEngine) -> None:
    assert [sample.item for sample in collected(tmp_path, items, engine, "", 2)] == ["plain", "odd"]


def test_golds_that_all_look_like_dates_stay_text(tmp_path: Path, engine: TableEngine) -> None:
    write_jsonl(tmp_path / "dates.jsonl", [ITEMS[2]])
    (sample,) = collected(tmp_path, tmp_path / "dates.jsonl", engine, "")
    assert sample.gold == "2024-05-01" and sample.metrics["leaks"]


def test_an_engine_has_no_likelihoods(engine: TableEngine) -> None:
    model = EngineModel(engine, "base", Sampling(), lambda: None)
    for refused in (model.loglikelihood, model.loglikelihood_rolling):
        with pytest.raises(StageError, match="generate_until"):
            refused([])


# --- the stage


@pytest.fixture
def stage(
    tmp_path: Path, items: Path, engine: TableEngine, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[EvaluateConfig, Workspace]:
    workspace = Workspace(tmp_path / "run")
    workspace.adapter.mkdir(parents=True)
    (workspace.adapter / "adapter_model.safetensors").write_bytes(b"the engine of these tests reads no weights")
    (tmp_path / "prompt.md").write_text(f"\n{FULL}\n", encoding="utf-8")
    write_jsonl(tmp_path / "more.jsonl", ITEMS[:2])
    monkeypatch.setattr(Runner, "_open", lambda _: engine)
    config = EvaluateConfig.model_validate(
        {
            "model": str(tiny_model),
            "full_prompt": tmp_path / "prompt.md",
            "short_prompt": SHORT,
            "suites": {"easy": items, "hard": tmp_path / "more.jsonl"},
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


EVERY = {("base", ""): 5, ("base", FULL): 5, ("adapter", SHORT): 5, ("adapter", FULL): 5}


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
    assert arms_asked(engine) == {("adapter", SHORT): 5, ("adapter", FULL): 5}

    evaluate.run(config.model_copy(update={"short_prompt": "Be Canopy."}), workspace)
    assert arms_asked(engine) == {("adapter", "Be Canopy."): 5}

    write_jsonl(tmp_path / "more.jsonl", ITEMS[:1])
    evaluate.run(config.model_copy(update={"short_prompt": "Be Canopy.", "arms": ["base"], "gates": []}), workspace)
    assert arms_asked(engine) == {("base", ""): 1}


def test_an_evaluation_that_was_stopped_goes_on(
    stage: tuple[EvaluateConfig, Workspace], engine: TableEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, workspace = stage
    plain = engine.complete

    def stop(*given: Any) -> list[Reply]:
        if len(engine.asked) >= 8:
            raise KeyboardInterrupt
        return plain(*given)

    monkeypatch.setattr(engine, "complete", stop)
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(config, workspace)
    assert not workspace.results.exists()
    monkeypatch.undo()
    monkeypatch.setattr(Runner, "_open", lambda _: engine)
    arms_asked(engine)
    evaluate.run(config, workspace)
    assert sum(arms_asked(engine).values()) == 20 - 8


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
