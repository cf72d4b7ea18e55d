"""`evaluate` in this process. Real: click, the comparison, the JUnit file. Not real: the stage, which is replaced by
one that writes results as the evaluation would; that the evaluation writes such is proven in tests/unit/evaluate.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from evaluated_runs import write_evaluated

import tuning_room.recipe
from tuning_room.cli import cli
from tuning_room.cli.options import show_verdict
from tuning_room.evaluate import EvaluateResult
from tuning_room.evaluate.statistics import rate
from tuning_room.evaluate.verdict import judge
from tuning_room.gates import Gate
from tuning_room.recipe import Done, Recipe
from tuning_room.results import GateResult, RequirementResult, RequirementState, Verdict, read_results
from tuning_room.workspace import Workspace

WriteRecipe = Callable[..., Path]
Evaluate = Callable[..., Result]


def write_results(root: Path, asks: list[bool], requirements: list[RequirementResult] | None = None) -> str:
    """Write what an evaluation of the baked arm leaves behind, and return its verdict."""
    rates = {"baked": {"all": {"asks": rate(asks)}}}
    verdict = judge([Gate(metric="asks", at_least=0.5)], rates, requirements=requirements)
    replies = {f"[i]{number}": {"asks": float(value)} for number, value in enumerate(asks)}
    write_evaluated(root, {"easy": replies}, verdict=verdict, requirements=requirements)
    return verdict.verdict


@pytest.fixture
def configs() -> list[Recipe]:
    """Return the recipes with which the stage was run."""
    return []


@pytest.fixture
def evaluate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write_recipe: WriteRecipe, configs: list[Recipe]
) -> Evaluate:
    """Return a function that calls `tuning-room evaluate` on a run whose replies ask as given."""
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe()

    def call(asks: list[bool], *arguments: object, requirements: list[RequirementResult] | None = None) -> Result:
        def run_stage(loaded: Recipe, workspace: Workspace, stage: str, *, force: bool = False) -> Done:
            assert stage == "evaluate"
            configs.append(loaded)
            verdict = write_results(workspace.root, asks, requirements)
            return Done(stage, EvaluateResult(verdict=verdict, rates={}, failed_gates=[]), True, 1.0)

        monkeypatch.setattr(tuning_room.recipe, "run_stage", run_stage)
        return CliRunner().invoke(cli, ["evaluate", str(recipe), *map(str, arguments)], standalone_mode=False)

    return call


def test_the_verdict_is_the_exit_code_and_comes_with_advice(evaluate: Evaluate) -> None:
    shipped = evaluate([True] * 4)
    assert shipped.return_value == 0
    assert "met  baked asks (all) at least 50%: 100.0%" in shipped.output
    refused = evaluate([False] * 4)
    assert refused.return_value == 3
    assert "not met  baked asks (all) at least 50%: 0.0%" in refused.output
    assert "50.0 points too low" in refused.output and "generate.rows" in refused.output


def test_a_gate_that_only_its_interval_misses_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = Gate(metric="asks", at_least=0.5, by="bound")
    held = GateResult(
        gate=gate, relation="at_least", question="behaviour", value=0.9, bound=0.5, held=0.4, limit=0.5, passed=False
    )
    root = write_evaluated(tmp_path, {"easy": {"a": {"asks": 1}}}, verdict=Verdict(verdict="more_items", gates=[held]))
    show_verdict(read_results(root / "evaluation" / "results.json"))
    assert "  not shown  baked asks (all) at least 50% by bound: 90.0%\n" in capsys.readouterr().out


def test_what_was_learnt_and_lost_is_answered(evaluate: Evaluate) -> None:
    unknown = evaluate([True] * 4).output
    assert "Was all of it learnt? unknown: the recipe names no requirements" in unknown
    assert "Was anything else lost? not shown" in unknown
    states: list[RequirementState] = ["learnt", "failed", "not_shown", "untested", "outside"]
    found = [RequirementResult(id=s[:3], quote="q", kind="style", state=s, reason=f"for {s}") for s in states]
    told = evaluate([True] * 4, requirements=found)
    assert told.return_value == 3
    assert (
        "Was all of it learnt? 1 of 4 learnt, 1 failed, 1 not shown, 1 untested (1 outside the weights)" in told.output
    )
    for line in ("failed  fai: for failed", "not shown  not: for not_shown", "untested  unt: for untested"):
        assert f"  {line}\n" in told.output
    assert "lea: " not in told.output and "out: " not in told.output


def test_against_another_run(evaluate: Evaluate, tmp_path: Path) -> None:
    write_results(tmp_path / "before", [True, True, False])
    found = evaluate([True, False, True], "--against", "before")
    assert found.return_value == 0
    assert "[i]1" in found.output and "[i]2" in found.output
    told = json.loads(evaluate([True, False, True], "--against", "before", "--json").output)
    assert told["verdict"] == "ship" and told["stage"] == "evaluate"
    (change,) = told["against"]["changes"]
    assert (change["newly_failing"], change["newly_passing"]) == (["[i]1"], ["[i]2"])


def test_a_run_is_compared_with_what_it_was_before(evaluate: Evaluate) -> None:
    evaluate([True, True])
    told = json.loads(evaluate([True, False], "--against", "runs/cook", "--json").output)
    assert told["against"]["changes"][0]["newly_failing"] == ["[i]1"]


def test_what_cannot_be_compared_is_said_before_anything_is_run(
    evaluate: Evaluate, tmp_path: Path, configs: list[Recipe]
) -> None:
    (tmp_path / "empty").mkdir()
    found = evaluate([True], "--against", "empty")
    assert "no evaluation/results.json" in str(found.exception)
    assert "does not exist" in str(evaluate([True], "--against", "nowhere").exception)
    assert configs == []


def test_json_is_one_object_and_junit_a_file(evaluate: Evaluate, tmp_path: Path) -> None:
    found = evaluate([False], "--json", "--junit", "out/gates.xml")
    assert json.loads(found.output)["verdict"] == "more_data"
    assert 'failures="1"' in (tmp_path / "out" / "gates.xml").read_text(encoding="utf-8")


def test_all_items_are_asked_for_in_the_configuration(evaluate: Evaluate, configs: list[Recipe]) -> None:
    evaluate([True])
    evaluate([True], "--all-items")
    assert [getattr(recipe.evaluate, "all_items", False) for recipe in configs] == [False, True]
