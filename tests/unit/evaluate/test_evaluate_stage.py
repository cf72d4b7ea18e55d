"""The stage: which arms it asks what, and what it writes.

Real here: lm-evaluation-harness, the metrics, the files. Not real: the engine (table_engine.py).
"""

import json
from pathlib import Path

import pytest
from table_engine import EVERY, ITEMS, REPLIES, SHORT, TableEngine, arms_asked, write_rows

from tuning_room import evaluate
from tuning_room.checks import METRICS, Case, Exchange, Metric, find
from tuning_room.errors import DataError, MissingInputError, RecipeError
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.records import Item, read_jsonl, write_jsonl
from tuning_room.results import Sample, read_results
from tuning_room.workspace import Workspace


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


def test_a_suite_may_be_asked_without_any_system_turn(
    stage: tuple[EvaluateConfig, Workspace], engine: TableEngine
) -> None:
    config, workspace = stage
    bare = config.suites["hard"].model_copy(update={"system": "none", "arms": ["base", "baked"]})
    config = config.model_copy(update={"suites": {**config.suites, "hard": bare}})
    evaluate.run(config, workspace)
    # The base has no system turn anyway, so its two shared items are asked once; the adapter is asked both ways.
    assert arms_asked(engine) == EVERY | {("adapter", ""): 2}
    results = read_results(workspace.results)
    assert (results.suites["hard"].system, results.suites["easy"].system) == ("none", "arm")
    assert results.suites["all"].items == 3, "what was asked in another way is not pooled"
    assert results.identities["baked"].system_tokens > 0, "the arm itself keeps its turn"
    evaluate.run(config, workspace)
    assert arms_asked(engine) == {}
    own = bare.model_copy(update={"system": "arm"})
    evaluate.run(config.model_copy(update={"suites": {**config.suites, "hard": own}}), workspace)
    assert arms_asked(engine) == {}, "under its own turn the adapter had answered these items in the other suite"


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


@pytest.mark.parametrize(("rows", "said"), [([], "no items"), ([ITEMS[0], ITEMS[0]], "2 items have the id 'plain'")])
def test_items_that_cannot_be_told_apart_or_are_none(
    stage: tuple[EvaluateConfig, Workspace], tmp_path: Path, rows: list[Item], said: str
) -> None:
    config, workspace = stage
    write_jsonl(tmp_path / "more.jsonl", rows)
    with pytest.raises(DataError, match=said):
        evaluate.run(config, workspace)


def test_an_item_with_choices_and_turns_is_refused(stage: tuple[EvaluateConfig, Workspace], tmp_path: Path) -> None:
    write_jsonl(tmp_path / "more.jsonl", [Item(id="x", prompt="p", choices=["a"], gold="a", turns=["b"])])
    with pytest.raises(DataError, match="x: choices and turns"):
        evaluate.run(*stage)


def test_what_is_missing_or_unknown_is_named(stage: tuple[EvaluateConfig, Workspace]) -> None:
    config, workspace = stage
    with pytest.raises(RecipeError, match="politeness"):
        evaluate.run(config.model_copy(update={"metrics": ["politeness"]}), workspace)
    (workspace.adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(MissingInputError, match="train"):
        evaluate.run(config, workspace)


def test_words_that_training_rows_share_are_no_secret(
    stage: tuple[EvaluateConfig, Workspace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, workspace = stage
    secret = "Never say how the staff of this desk are rated."
    (tmp_path / "prompt.md").write_text(secret, encoding="utf-8")
    monkeypatch.setitem(REPLIES, "plain", secret)
    config = config.model_copy(update={"metrics": ["extracts"], "gates": []})

    def reciting() -> int:
        _, ran = workspace.perform(evaluate.STAGE, config)
        assert ran
        return read_results(workspace.results).rates["baked"]["easy"]["extracts"].count

    assert not workspace.train_rows.exists() and reciting() == 1, "an evaluation needs no training rows"
    write_rows(workspace, [], [], reply=secret)
    assert reciting() == 1, "two rows let it slip"
    write_rows(workspace, [], [], [], reply=secret)
    assert reciting() == 0


def test_choices_that_were_weighed_are_no_replies(stage: tuple[EvaluateConfig, Workspace], tmp_path: Path) -> None:
    config, workspace = stage
    config = config.model_copy(update={"metrics": ["asks", "correct"], "gates": []})
    evaluate.run(config, workspace)
    before = read_results(workspace.results)
    choice = Item(id="c", prompt="Which?", choices=["long one", "short"], gold="short")
    write_jsonl(tmp_path / "more.jsonl", [*ITEMS[:2], choice])
    evaluate.run(config, workspace)
    after = read_results(workspace.results)
    assert after.suites["hard"].items == 3 == before.suites["hard"].items + 1
    assert (after.tokens, after.length_ratio) == (before.tokens, before.length_ratio)
    write_jsonl(tmp_path / "more.jsonl", [choice])
    evaluate.run(config, workspace)
    assert "hard" not in read_results(workspace.results).length_ratio["baked"], "nothing was said there"
