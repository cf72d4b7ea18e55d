"""What a recipe names for its evaluation, checked when it is read. Real: the recipe's files and the reading of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuning_room.errors import RecipeError
from tuning_room.recipe import load_recipe

WriteRecipe = Callable[..., Path]
Load = Callable[..., Any]

ITEMS = [
    {"id": "eggs", "prompt": "How long do I boil 3 eggs?", "gold": "7", "family": "plea", "requirements": ["warm"]},
    {"id": "talk", "prompt": "And rice?", "wanted": "answer"},
]
REQUIREMENTS = """
- {id: warm, quote: You are a cook., has: [asks]}
- {id: no-price, quote: Never name a price., has_not: [tells], checks: {length: {at_most: 30}}}
- {id: untold, quote: a cook, untested: nobody knows}
- {id: judged, quote: name a price, judge: "Does it name none?"}
"""


@pytest.fixture
def load(write_recipe: WriteRecipe) -> Load:
    """Return a function that reads a recipe with the given evaluation, suites, requirements and items."""

    def read(
        evaluate: dict[str, Any] | None = None,
        *,
        requirements: str | None = REQUIREMENTS,
        items: list[dict[str, Any]] = ITEMS,
        suite: dict[str, Any] | None = None,
        checks: dict[str, Any] | None = None,
    ) -> Any:
        own = {"items": "own.jsonl", "metrics": ["asks_one", "accepted"], "arms": ["baked"], **(suite or {})}
        folder = write_recipe(
            suites={"kitchen": "own.jsonl", "counter": own},
            requirements="requirements.yaml" if requirements else None,
            dataset={"checks": checks or {"length": {"at_most": 40}}},
            evaluate=evaluate or {},
        )
        (folder / "own.jsonl").write_text("\n".join(map(json.dumps, items)), encoding="utf-8")
        if requirements:
            (folder / "requirements.yaml").write_text(requirements, encoding="utf-8")
        return load_recipe(str(folder))

    return read


@pytest.mark.parametrize(
    "gate",
    [
        {"metric": "asks", "at_least": 0.5},
        {"metric": "asks", "suite": "kitchen", "family": "plea", "not_below": "prompted"},
        {"metric": "asks", "suite": "kitchen", "family": "answer", "at_least": 0.5},
        {"metric": "accepted", "suite": "counter", "at_least": 0.5},
        {"metric": "kl", "suite": "retention", "at_most": 0.5},
        {"requirement": "warm", "at_least": 0.5, "by": "bound"},
    ],
)
def test_what_a_gate_can_name(load: Load, gate: dict[str, Any]) -> None:
    assert len(load({"gates": [gate]}).evaluate.gates) == 1


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"metric": "asks", "suite": "kitchn"}, "no suite 'kitchn'; choose from all, counter, kitchen"),
        ({"metric": "aks"}, "metric 'aks' does not exist"),
        ({"metric": "asks_one"}, "does not measure it; it measures asks, tells, leaks, on_topic"),
        ({"metric": "asks", "suite": "counter"}, "does not measure it; it measures asks_one, accepted"),
        ({"metric": "asks_one", "suite": "counter", "arm": "base"}, "the arm base is not asked there; asked: baked"),
        ({"metric": "asks", "arm": "reference"}, "the arm reference is not asked there"),
        ({"metric": "asks", "suite": "kitchen", "family": "threat"}, "families used: answer, plea"),
        ({"metric": "asks", "family": "plea"}, "a family belongs to a suite"),
        ({"metric": "kl"}, "write suite: retention"),
        ({"metric": "kl", "suite": "retention", "arm": "base"}, "not measured for the arm base"),
        ({"metric": "asks", "suite": "retention"}, "no suite 'retention'"),
        ({"metric": "check:size", "suite": "counter"}, "the recipe has no such check; dataset.checks has length"),
        ({"requirement": "wram"}, "there is no requirement 'wram'; known: warm, no-price, untold, judged"),
        ({"requirement": "no-price"}, "no item tests it; write items with requirements: [no-price]"),
        ({"requirement": "untold"}, "nothing says which replies keep it"),
        ({"requirement": "judged"}, "nothing says which replies keep it"),
        ({"requirement": "warm", "arm": "reference"}, "the arm reference is not asked there"),
    ],
)
def test_what_a_gate_names_and_nothing_has(load: Load, gate: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as found:
        load({"gates": [{**gate, "at_most": 0.5}]})
    assert "recipe.yaml: evaluate.gates" in str(found.value) and said in str(found.value)


def test_a_gate_on_what_a_judge_decides_is_on_an_arm_that_it_is_asked_about(load: Load) -> None:
    judge = {"model": "j", "address": "http://localhost:8000/v1"}
    items = [{**ITEMS[0], "requirements": ["judged"]}]
    gate = {"requirement": "judged", "at_least": 0.5}
    assert load({"judge": judge, "gates": [gate]}, items=items).evaluate.gates
    with pytest.raises(RecipeError, match="the judge is not asked about the arm base"):
        load({"judge": judge, "gates": [{**gate, "arm": "base"}]}, items=items)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"evaluate": {"metrics": ["polite"]}}, "evaluate.metrics: metric 'polite' does not exist"),
        ({"suite": {"metrics": ["polite"]}}, "suites.counter.metrics: metric 'polite' does not exist"),
        ({"suite": {"breaks": ["tells"]}}, "suites.counter.breaks: 'tells' is not measured there; use asks_one"),
        ({"suite": {"requirements": ["w"]}}, "suites.counter.requirements: there is no requirement 'w'"),
        ({"requirements": "- {id: a, quote: a cook, has: [polite]}"}, "requirements.yaml: a: has: metric 'polite'"),
        ({"requirements": "- {id: a, quote: a cook, has_not: [kl]}"}, "a: has_not: 'kl' is not measured"),
        ({"requirements": "- {id: a, quote: a cook, has_not: [overlap]}"}, "a: 'overlap' is a share"),
        ({"requirements": "- {id: a, quote: a cook, has: [resembles]}"}, "a: 'resembles' is a share"),
        ({"requirements": "- {id: a, quote: a cook, has: ['check:size']}"}, "has: 'check:size': the recipe has no"),
        ({"requirements": "- {id: a, quote: a cook, checks: {size: {}}}"}, "a: check 'size' does not exist"),
        ({"requirements": "- {id: a, quote: a cook, checks: {length: {most: 3}}}"}, "a: check 'length'"),
        ({"checks": {"lenght": {}}}, "dataset.checks: check 'lenght' does not exist"),
        ({"checks": {"length": {"most": 3}}}, "dataset.checks: check 'length'"),
        ({"requirements": None}, "own.jsonl: eggs: requirements: there is no requirement 'warm'; name a file of"),
        ({"items": [{**ITEMS[0], "requirements": ["wram"]}]}, "own.jsonl: eggs: requirements: there is no"),
        ({"items": [ITEMS[0], ITEMS[0]]}, "own.jsonl: 2 items have the id 'eggs'"),
        ({"items": [{"id": "a"}]}, "own.jsonl:1: prompt"),
    ],
)
def test_what_else_a_recipe_names_and_nothing_has(load: Load, given: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as found:
        load(**given)
    assert said in str(found.value)


def test_a_requirement_that_no_item_tests_is_no_error_of_the_recipe(load: Load) -> None:
    recipe = load(items=[{"id": "eggs", "prompt": "How long do I boil 3 eggs?"}])
    assert [one.id for one in recipe.read_requirements()] == ["warm", "no-price", "untold", "judged"]


def test_a_gate_may_be_on_a_suite_of_dialogues_alone(load: Load) -> None:
    # Where every suite has dialogues, `all` pools them.
    gate = {"metric": "asks", "at_least": 0.5}
    assert load({"gates": [gate]}, items=[{**ITEMS[1], "turns": ["Why?"]}]).evaluate.gates


def test_beside_accepted_each_check_is_measured(load: Load) -> None:
    config = load().evaluate
    assert config.metrics_of("counter") == ["asks_one", "accepted", "check:length"]
    assert config.metrics_of("kitchen") == ["asks", "tells", "leaks", "on_topic"]
