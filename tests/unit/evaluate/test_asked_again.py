"""What an evaluation asks again after a change, a kill or by force, and what it keeps.

Real here: lm-evaluation-harness, the log of replies, the manifest. Not real: the engine (table_engine.py).
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from table_engine import EVERY, FULL, ITEMS, REQUIRED, SHORT, TableEngine, arms_asked, write_rows

from drawn_adapters import write_stated_adapter
from tuning_room import evaluate
from tuning_room.checks import METRICS, metrics, plugins, registry
from tuning_room.engines import Reply
from tuning_room.evaluate.besides import _kept
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.evaluate.runner import Runner
from tuning_room.gates import Gate
from tuning_room.records import Item, read_jsonl, write_jsonl
from tuning_room.results import Retention, Sample, read_results
from tuning_room.workspace import Workspace


def stopped_after(dialogues: int, engine: TableEngine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Reply]]:
    """Have Ctrl-C end what the engine answers after so many dialogues, and return how it answered before."""
    plain = engine.complete

    def stop(*given: Any) -> list[Reply]:
        if len(engine.asked) >= dialogues:
            raise KeyboardInterrupt
        return plain(*given)

    monkeypatch.setattr(engine, "complete", stop)
    return plain


def test_only_what_has_changed_is_asked_again(
    stage: tuple[EvaluateConfig, Workspace], engine: TableEngine, tmp_path: Path
) -> None:
    config, workspace = stage
    evaluate.run(config, workspace)
    first = workspace.results.read_bytes()
    arms_asked(engine)
    evaluate.run(config, workspace)
    assert arms_asked(engine) == {} and workspace.results.read_bytes() == first

    write_stated_adapter(workspace.adapter, b"other weights")
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
    stopped_after(6, engine, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(config, workspace)
    assert not workspace.results.exists()
    monkeypatch.undo()
    monkeypatch.setattr(Runner, "local", lambda _: engine)
    arms_asked(engine)
    evaluate.run(config, workspace)
    assert sum(arms_asked(engine).values()) == 12 - 6, "two arms were done"


def test_a_forced_evaluation_that_was_killed_goes_on_without_force(
    stage: tuple[EvaluateConfig, Workspace], engine: TableEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, workspace = stage
    workspace.perform(evaluate.STAGE, config)
    arms_asked(engine)
    plain = stopped_after(6, engine, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        workspace.perform(evaluate.STAGE, config, force=True)
    assert workspace.state(evaluate.STAGE, config) == "changed" and workspace.results.exists()
    monkeypatch.setattr(engine, "complete", plain)
    arms_asked(engine)
    _, ran = workspace.perform(evaluate.STAGE, config)
    assert ran and sum(arms_asked(engine).values()) == 12 - 6
    assert not workspace.perform(evaluate.STAGE, config)[1]


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
    write_stated_adapter(
        workspace.adapter, (workspace.adapter / "adapter_model.safetensors").read_bytes(), '{"lora_alpha": 1}'
    )
    evaluate.run(config, workspace)
    assert arms_asked(engine) == {("adapter", SHORT): 3, ("adapter", FULL): 3}


def test_what_a_judge_was_paid_for_survives_force(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert evaluate.STAGE.kept(workspace)
    assert not [path for path in evaluate.STAGE.kept(workspace) if path.is_relative_to(workspace.judge)]


def test_a_measurement_that_was_edited_is_made_again(tmp_path: Path) -> None:
    path, made = tmp_path / "retention.json", [0.1, 0.2, 0.3]

    def measured(parts: list[str]) -> float:
        found = lambda: Retention(kl=made.pop(0), low=0.0, high=1.0, texts=2, tokens=20)  # noqa: E731
        return _kept(path, parts, Retention, found).kl

    assert [measured(["base", "adapter"]) for _ in range(2)] == [0.1, 0.1]
    path.write_text(path.read_text(encoding="utf-8").replace("0.1", "0.0"), encoding="utf-8")
    assert [measured(["base", "adapter"]) for _ in range(2)] == [0.2, 0.2]
    assert measured(["base", "another adapter"]) == 0.3
