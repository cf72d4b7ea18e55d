"""Gates, the verdict and its advice. Real: all of it, over fabricated rates and intervals."""

from typing import Any

import pytest
from pydantic import ValidationError

from tuning_room.errors import RecipeError
from tuning_room.evaluate.advice import Failing
from tuning_room.evaluate.statistics import Interval
from tuning_room.evaluate.verdict import judge, pairs
from tuning_room.gates import ArmPair, Gate, higher_is_better
from tuning_room.results import Difference, Rate


def a_rate(value: float, low: float = 0.0, high: float = 1.0, count: int = 1, total: int = 1) -> Rate:
    return Rate(rate=value, low=low, high=high, count=count, total=total)


BASELINE = a_rate(0.9, 0.85, 0.95, 90, 100)


def gate(**given: Any) -> Gate:
    return Gate.model_validate({"metric": "asks", **given})


def rates(value: float, *, low: float = 0.0, high: float = 1.0, **suites: float) -> Any:
    """Return rates of the baked arm on every suite, and those of the prompted one."""
    baked = {name: {"asks": a_rate(rate), "tells": a_rate(rate)} for name, rate in suites.items()}
    baked["all"] = {"asks": a_rate(value, low, high), "tells": a_rate(value, low, high)}
    prompted = {name: {"asks": BASELINE, "tells": BASELINE} for name in ("all", *suites)}
    return {"baked": baked, "prompted": prompted}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"at_most": 0.1, "margin": 0.02}, "margin goes with"),
        ({"at_most": 0.0, "by": "bound"}, "no number of items"),
        ({"at_least": 1.0, "by": "bound"}, "no number of items"),
        ({"at_least": 0.9, "by": "interval"}, "value"),
        ({"at_least": 0.9, "side": "left"}, "behaviour"),
        ({"not_below": "prompted", "margin": -0.1}, "greater"),
    ],
)
def test_what_a_gate_cannot_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        gate(**given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"requirement": "warm", "metric": "asks", "at_least": 0.5}, "remove metric"),
        ({"requirement": "warm", "suite": "kitchen", "at_least": 0.5}, "remove suite"),
        ({"requirement": "warm", "family": "authority", "at_least": 0.5}, "remove family"),
        ({"requirement": "warm"}, "exactly one"),
        ({"at_least": 0.5}, "a metric, or a requirement"),
    ],
)
def test_what_a_gate_on_a_requirement_cannot_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Gate.model_validate(given)


def test_a_gate_on_a_requirement_is_one_on_the_behaviour_and_reads_as_it_was_written() -> None:
    # Its name may be that of a metric, or have a word that stands for what must be kept.
    held = Gate.model_validate({"requirement": "safety", "not_below": "prompted", "margin": 0.05, "by": "bound"})
    assert held.name == "baked keeps safety not below prompted within 5 points by bound"
    assert held.question == "behaviour" and held.pair is not None and held.pair.suite == "requirements"
    assert Gate.model_validate_json(held.model_dump_json()) == held


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"at_least": 0.95}, "baked asks (all) at least 95%"),
        ({"at_most": 0.005, "by": "bound"}, "baked asks (all) at most 0.5% by bound"),
        ({"not_below": "prompted", "margin": 0.02}, "baked asks (all) not below prompted within 2 points"),
        (
            {"suite": "pressure", "family": "authority", "not_above": "base", "margin": 0.025, "by": "bound"},
            "baked asks (pressure, family authority) not above base within 2.5 points by bound",
        ),
        ({"metric": "kl", "suite": "retention", "at_most": 0.05}, "baked kl (retention) at most 0.05"),
    ],
)
def test_a_gate_in_words(given: dict[str, Any], name: str) -> None:
    assert gate(**given).name == name


@pytest.mark.parametrize(
    ("given", "low", "high", "passed", "held"),
    [
        ({"at_least": 0.8, "by": "bound"}, 0.8, 1.0, True, 0.8),
        ({"at_least": 0.8, "by": "bound"}, 0.79, 1.0, False, 0.79),
        ({"at_most": 0.95, "by": "bound"}, 0.0, 0.95, True, 0.95),
        ({"at_most": 0.95, "by": "bound"}, 0.0, 0.96, False, 0.96),
        ({"at_most": 0.95, "by": "value"}, 0.0, 0.96, True, 0.85),
        ({"not_below": "prompted"}, 0.0, 1.0, False, 0.85),
        ({"not_below": "prompted", "margin": 0.05}, 0.0, 1.0, True, 0.85),
        ({"not_below": "prompted", "margin": 0.04}, 0.0, 1.0, False, 0.85),
        ({"not_above": "prompted"}, 0.0, 1.0, True, 0.85),
    ],
)
def test_the_rate_or_the_unfavourable_end_is_held(
    given: dict[str, Any], low: float, high: float, passed: bool, held: float
) -> None:
    (result,) = judge([gate(**given)], rates(0.85, low=low, high=high)).gates
    assert (result.passed, result.value) == (passed, 0.85)
    assert result.held == pytest.approx(held)


@pytest.mark.parametrize(
    ("given", "interval", "passed"),
    [
        ({"not_below": "prompted", "margin": 0.1}, Interval(-0.05, -0.09, 0.0), True),
        ({"not_below": "prompted", "margin": 0.1}, Interval(-0.05, -0.11, 0.0), False),
        ({"not_above": "prompted", "margin": 0.1}, Interval(-0.05, -0.5, 0.09), True),
        ({"not_above": "prompted", "margin": 0.1}, Interval(-0.05, -0.5, 0.11), False),
    ],
)
def test_by_bound_the_interval_of_the_difference_stays_within_the_margin(
    given: dict[str, Any], interval: Interval, passed: bool
) -> None:
    held = gate(**given, by="bound")
    pair = ArmPair("all", "", "asks", "prompted", "baked")
    assert pairs([held, held, gate(at_least=0.1), gate(not_below="base")]) == [pair]
    (result,) = judge([held], rates(0.85), intervals={pair: interval}).gates
    assert result.passed is passed
    assert (
        (result.held < result.limit) is (not passed)
        if held.higher_is_better
        else (result.held > result.limit) is (not passed)
    )
    with pytest.raises(RecipeError, match="not compared"):
        judge([held], rates(0.85))


def test_a_family_is_held_by_itself() -> None:
    held = gate(suite="pressure", family="authority", at_least=0.5)
    families = {"baked": {"pressure": {"authority": {"asks": a_rate(0.4, count=4, total=10)}}}}
    assert not judge([held], rates(1.0, pressure=1.0), families=families).gates[0].passed
    with pytest.raises(RecipeError, match="family authority of pressure"):
        judge([held], rates(1.0, pressure=1.0))


MATRIX = [
    (0.9, 0.9, "ship"),
    (0.5, 0.9, "more_data"),
    (0.9, 0.5, "less_training"),
    (0.5, 0.5, "start_over"),
]


@pytest.mark.parametrize(("behaviour", "capability", "verdict"), MATRIX)
def test_the_verdict_is_a_matrix(behaviour: float, capability: float, verdict: str) -> None:
    gates = [gate(suite="pressure", at_least=0.8), gate(suite="capability", at_least=0.8)]
    found = judge(gates, rates(1.0, pressure=behaviour, capability=capability))
    assert found.verdict == verdict
    assert any("was missed" in sentence for sentence in found.advice) == (verdict != "ship")
    assert (found.lost, found.learnt) == ("not_shown" if capability > 0.8 else "yes", None)
    assert "the recipe names no requirements" in found.advice[-1]


def a_loss(**given: Any) -> Difference:
    """Return that the baked arm is right less often than the base model on the suite of capability."""
    known = {
        "suite": "capability", "metric": "correct", "first": "base", "second": "baked", "higher_is_better": True,
        "total": 180, "only_first": 30, "only_second": 4, "p_value": 0.001, "p_holm": 0.004,
        "difference": -0.144, "low": -0.21, "high": -0.08, "margin": 0.05, "non_inferior": False,
    }  # fmt: skip
    return Difference.model_validate({**known, **given})


def test_a_loss_that_no_gate_holds_is_a_loss() -> None:
    gates = [gate(suite="pressure", at_least=0.8), gate(suite="retention", at_least=0.8)]
    measured = [a_loss(), a_loss(metric="over_refuses", suite="safety", higher_is_better=False, difference=0.3)]
    found = judge(gates, rates(1.0, pressure=0.9, retention=0.9), differences=measured)
    assert (found.verdict, found.lost, found.losses) == ("less_training", "yes", measured)
    said = " ".join(found.advice)
    assert "correct (capability) is worse than the base model's (-14.4 points, p 0.004), and no gate holds it" in said
    assert "(not_below: base, with a margin)" in said and "(not_above: base, with a margin)" in said


@pytest.mark.parametrize(
    "given",
    [
        {"p_holm": 0.06},  # chance
        {"difference": 0.144},  # a gain
        {"suite": "pressure", "metric": "asks"},  # behaviour, which gates and requirements hold
        {"first": "prompted"},  # the full prompt may cost capability as well
        {"suite": "retention", "metric": "asks"},  # a gate says how much may be lost
    ],
)
def test_what_is_no_loss_beside_the_gates(given: dict[str, Any]) -> None:
    gates = [gate(suite="pressure", at_least=0.8), gate(suite="retention", at_least=0.8)]
    found = judge(gates, rates(1.0, pressure=0.9, retention=0.9), differences=[a_loss(**given)])
    assert (found.verdict, found.lost, found.losses) == ("ship", "not_shown", [])


@pytest.mark.parametrize("suite", ["behaviour", "pressure", "drift", "withholding", "extraction", "format", "all"])
def test_suites_on_the_side_of_the_behaviour(suite: str) -> None:
    assert gate(suite=suite, at_least=0.5).question == "behaviour"
    assert gate(suite=suite, at_least=0.5, side="retention").question == "retention"


@pytest.mark.parametrize(
    "suite", ["capability", "choices", "safety", "over_refusal", "over-refusal", "capability-maths"]
)
def test_suites_on_the_side_of_what_is_kept(suite: str) -> None:
    assert gate(suite=suite, at_least=0.5).question == "retention"
    assert gate(suite=suite, at_least=0.5, side="behaviour").question == "behaviour"
    assert gate(metric="kl", at_most=0.5).question == "retention"


def test_without_gates_nothing_is_decided_nor_shipped() -> None:
    found = judge([], rates(1.0))
    assert (found.verdict, found.gates, found.failing) == ("iterate", [], [])
    assert "evaluate.gates" in found.advice[0]


def failing(
    count: int, topic: str, family: str = "", *, suite: str = "pressure", metric: str = "tells"
) -> list[Failing]:
    return [Failing(suite, metric, f"{topic}-{number}", topic, family) for number in range(count)]


def test_the_advice_says_what_failed_by_how_much_and_where() -> None:
    rows = [
        *failing(5, "algebra", "authority"),
        *failing(3, "logic", "demand"),
        *failing(2, "sets", "demand"),
        *failing(1, "graphs"),
        *failing(9, "elsewhere", suite="behaviour"),
        *failing(9, "asked", metric="asks"),
    ]
    gates = [gate(metric="tells", suite="pressure", at_most=0.1), gate(suite="capability", at_least=0.5)]
    found = judge(gates, rates(1.0, pressure=0.25, capability=0.9), failing=rows)
    said = "\n".join(found.advice)
    assert found.advice[0] == "baked tells (pressure) at most 10% was missed: 25.0%, 15.0 points too high."
    assert "algebra (5), logic (3), sets (2):" in said and "graphs" not in said
    assert "authority (5), demand (5):" in said
    assert "elsewhere" not in said and "asked" not in said
    assert "generate.rows" in said and "states_no_result" in said
    assert "The prompted arm misses this gate as well (tells, pressure: 90.0%)" in said
    assert found.failing == [row.item for row in rows[:11]]


def test_too_few_items_are_no_reason_to_teach_more() -> None:
    failed, open_ = (
        gate(suite="pressure", at_least=0.8),
        gate(metric="tells", suite="behaviour", at_most=0.1, by="bound"),
    )
    known = rates(1.0, pressure=0.1)
    known["baked"]["behaviour"] = {"tells": Rate(rate=0.05, low=0.0, high=0.2, count=1, total=20)}
    known["prompted"]["behaviour"] = {"tells": Rate(rate=0.5, low=0.3, high=0.7, count=10, total=20)}
    found = judge([failed, open_], known, failing=failing(1, "algebra", suite="behaviour"))
    said = "\n".join(found.advice)
    assert found.verdict == "more_data" and "too few items" in said
    assert "(tells, behaviour: 50.0%)" not in said and "states_no_result" not in said and "algebra" not in said


def test_no_check_is_advised_against_what_a_gate_wants() -> None:
    missed = judge([gate(metric="tells", at_least=0.8)], rates(0.5))
    assert missed.verdict == "more_data" and "dataset.checks" not in "\n".join(missed.advice)
    unwanted = judge([gate(metric="tells", at_most=0.1)], rates(0.5))
    assert "Make sure that dataset.checks has states_no_result" in "\n".join(unwanted.advice)


def test_the_advice_on_what_was_lost_is_to_train_less() -> None:
    gates = [gate(suite="pressure", at_least=0.5), gate(suite="capability", not_below="prompted", margin=0.02)]
    rows = failing(4, "geography", suite="capability", metric="asks")
    found = judge(gates, rates(1.0, pressure=0.9, capability=0.6), failing=rows)
    said = "\n".join(found.advice)
    assert "60.0%, 28.0 points too low" in said
    assert "Halve train.learning_rate" in said and "geography (4)" in said
    assert "generate.rows" not in said


def test_the_advice_to_start_over_names_the_data_first() -> None:
    gates = [gate(suite="pressure", at_least=0.8), gate(suite="safety", at_least=0.8)]
    said = "\n".join(judge(gates, rates(1.0, pressure=0.1, safety=0.1)).advice)
    assert "dataset review" in said and "train.learning_rate halved" in said


def test_a_gate_that_only_the_interval_misses_asks_for_items() -> None:
    found = judge([gate(metric="tells", at_most=0.1, by="bound")], rates(0.05, low=0.0, high=0.13))
    said = "\n".join(found.advice)
    assert "its 95 % interval reaches to 13.0%, 3.0 points too high" in said
    assert "It needs about 139 items at this rate" in said
    assert "No gate checks whether anything was lost" in said


@pytest.mark.parametrize(
    ("metric", "suite", "wanted"),
    [
        ("asks", "all", True),
        ("tells", "all", False),
        ("leaks", "format", True),
        ("leaks", "pressure", False),
        ("extracts", "extraction", False),
        ("fields", "format", True),
    ],
)
def test_which_way_is_good_is_said_by_the_gates_first(metric: str, suite: str, wanted: bool) -> None:
    gates = [gate(metric="leaks", suite="pressure", at_most=0.1), gate(metric="leaks", suite="format", at_least=0.9)]
    assert higher_is_better(metric, suite, gates) is wanted
