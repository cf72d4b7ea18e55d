"""Rates, differences, gates and the summary. Real here: statsmodels and, to compare with, SciPy and the formulas."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar

from tuning_room.errors import RecipeError
from tuning_room.evaluate.checking import check_metrics
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.evaluate.statistics import difference, rate
from tuning_room.evaluate.summary import breaks_of, summarize
from tuning_room.evaluate.verdict import judge
from tuning_room.gates import Gate
from tuning_room.results import ArmIdentity, Besides, Rate, Results, Retention, Sample

BOOLS = st.lists(st.booleans(), min_size=1, max_size=200)
PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=120)


@settings(max_examples=200)
@given(BOOLS)
def test_a_rate_has_wilsons_interval(values: list[bool]) -> None:
    found = rate(values)
    count, total = sum(values), len(values)
    expected = binomtest(count, total).proportion_ci(0.95, method="wilson")
    assert (found.count, found.total, found.rate) == (count, total, count / total)
    assert math.isclose(found.low, expected.low, abs_tol=1e-9)
    assert math.isclose(found.high, expected.high, abs_tol=1e-9)
    assert 0 <= found.low <= found.rate + 1e-12 and found.rate - 1e-12 <= found.high <= 1


def test_a_rate_by_hand() -> None:
    # Wilson: (p + z2/2n +- z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n) with p = 0.8, n = 10, z = 1.96.
    found = rate([True] * 8 + [False] * 2)
    assert (round(found.low, 4), round(found.high, 4)) == (0.4902, 0.9433)
    assert rate([True] * 10).high == 1 and rate([False] * 10).low == 0


def test_a_rate_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        rate([])


@settings(max_examples=200)
@given(PAIRS)
def test_a_difference_is_the_sign_test_on_the_items_that_differ(pairs: list[tuple[bool, bool]]) -> None:
    found = difference([a for a, _ in pairs], [b for _, b in pairs])
    first, second = pairs.count((True, False)), pairs.count((False, True))
    assert (found.only_first, found.only_second) == (first, second)
    expected = binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert math.isclose(found.p_value, expected, rel_tol=1e-9)
    table = [[pairs.count((True, True)), first], [second, pairs.count((False, False))]]
    assert math.isclose(found.p_value, float(mcnemar(table, exact=True).pvalue), rel_tol=1e-12)
    swapped = difference([b for _, b in pairs], [a for a, _ in pairs])
    assert (swapped.only_first, swapped.only_second) == (second, first)
    assert math.isclose(swapped.p_value, found.p_value)


def test_arms_on_different_items_are_not_compared() -> None:
    with pytest.raises(ValueError, match="shorter"):
        difference([True, False], [True])


def a_rate(value: float, low: float = 0.0, high: float = 1.0, count: int = 1, total: int = 1) -> Rate:
    return Rate(rate=value, low=low, high=high, count=count, total=total)


def rates(**arms: float) -> dict[str, dict[str, dict[str, Rate]]]:
    return {arm: {"all": {"asks": a_rate(value)}, "hard": {"asks": a_rate(0, count=0)}} for arm, value in arms.items()}


@pytest.mark.parametrize(
    ("bound", "passed"),
    [
        ({"at_least": 0.8}, True),
        ({"at_least": 0.81}, False),
        ({"at_most": 0.8}, True),
        ({"at_most": 0.79}, False),
        ({"at_least": 0}, True),
        ({"not_below": "prompted"}, True),
        ({"not_below": "base"}, False),
        ({"not_above": "prompted"}, False),
        ({"not_above": "base"}, True),
        ({"not_above": "baked"}, True),
        ({"at_least": 0.1, "suite": "hard"}, False),
        ({"at_least": 0.9, "arm": "base"}, True),
    ],
)
def test_a_gate(bound: dict[str, Any], passed: bool) -> None:
    verdict = judge([Gate(metric="asks", **bound)], rates(baked=0.8, prompted=0.7, base=0.9))
    (result,) = verdict.gates
    assert result.passed is passed
    assert verdict.verdict == ("ship" if passed else "more_data")
    assert (
        result.value >= result.bound if {"at_least", "not_below"} & set(bound) else result.value <= result.bound
    ) is passed


@given(st.lists(st.floats(0, 1), max_size=5), st.floats(0, 1))
def test_only_all_gates_together_ship(bounds: list[float], value: float) -> None:
    verdict = judge([Gate(metric="asks", at_least=bound) for bound in bounds], rates(baked=value))
    assert (verdict.verdict == "ship") is (bool(bounds) and value >= max(bounds))
    assert [gate.passed for gate in verdict.gates] == [value >= bound for bound in bounds]


@pytest.mark.parametrize(
    "gate",
    [
        {"metric": "tells", "at_most": 0.1},
        {"metric": "asks", "suite": "none", "at_most": 0.1},
        {"metric": "asks", "arm": "base", "at_most": 0.1},
        {"metric": "asks", "not_below": "prompted"},
    ],
)
def test_a_gate_on_what_is_not_measured_is_a_recipe_error(gate: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"evaluate\.gates"):
        judge([Gate(**gate)], rates(baked=0.5))


@pytest.mark.parametrize("bounds", [{}, {"at_least": 0.1, "at_most": 0.9}, {"at_least": 1.1}, {"not_below": "other"}])
def test_a_gate_has_one_bound(bounds: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Gate(metric="asks", **bounds)


def configured(tmp_path: Path, **changes: Any) -> EvaluateConfig:
    given = {"model": "m", "full_prompt": tmp_path / "p", "short_prompt": "s", "suites": {"easy": tmp_path / "i"}}
    return EvaluateConfig.model_validate({**given, "metrics": ["asks", "leaks"], **changes})


@pytest.mark.parametrize("name", ["all", "", "a/b", "../up", "a b", "a.b", "a: b"])
def test_names_that_no_suite_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValidationError, match="suite"):
        configured(tmp_path, suites={name: tmp_path / "i"})


def test_a_metric_that_no_reply_has_or_that_does_not_exist_is_a_recipe_error(tmp_path: Path) -> None:
    check_metrics(configured(tmp_path))
    with pytest.raises(RecipeError, match=r"evaluate\.metrics: .*politeness"):
        check_metrics(configured(tmp_path, metrics=["asks", "politeness"]))
    with pytest.raises(RecipeError, match=r"suites\.easy\.metrics: .*politeness"):
        check_metrics(configured(tmp_path, suites={"easy": {"items": tmp_path / "i", "metrics": ["politeness"]}}))
    with pytest.raises(RecipeError, match=r"evaluate\.metrics: 'kl' is not measured reply by reply"):
        check_metrics(configured(tmp_path, metrics=["kl"]))
    check_metrics(configured(tmp_path, gates=[{"metric": "kl", "suite": "retention", "at_most": 0.5}]))
    with pytest.raises(RecipeError, match=r"evaluate\.gates: .*politeness"):
        check_metrics(configured(tmp_path, gates=[{"metric": "politeness", "at_least": 0.5}]))


def sample(arm: str, suite: str, item: str, *, asks: bool = True, tokens: int = 10) -> Sample:
    return Sample(
        arm=arm,
        suite=suite,
        item=item,
        prompt="p",
        gold="g",
        reply="r",
        finish_reason="stop",
        prompt_tokens=tokens,
        completion_tokens=4,
        metrics={"asks": asks, "leaks": False},
    )


IDENTITY = ArmIdentity(base_model="b", adapter="", system_prompt="", system_tokens=0)
ADAPTED = IDENTITY.model_copy(update={"adapter": "a"})


def test_a_summary_pairs_the_same_items_whatever_their_order(tmp_path: Path) -> None:
    base = [sample("prompted", "easy", item, asks=item != "b", tokens=90) for item in "abc"]
    baked = [sample("baked", "easy", item, asks=item == "b") for item in "cba"]
    more = [sample("prompted", "hard", "a", tokens=90), sample("baked", "hard", "a")]
    samples = [*base, more[0], *baked, more[1]]
    suites = {"easy": tmp_path / "i", "hard": {"items": tmp_path / "j", "size": 1}}
    config = configured(tmp_path, gates=[{"metric": "asks", "at_least": 0.5}], suites=suites)
    known = {"prompted": IDENTITY, "baked": IDENTITY, "base": IDENTITY}
    summary = summarize(config, samples, known, {"easy": 3, "hard": 9}, Besides())
    assert summary.rates["prompted"]["easy"]["asks"].count == 2
    pooled = summary.rates["baked"]["all"]["asks"]
    assert (pooled.count, pooled.total) == (2, 4)
    found = {(row.suite, row.metric): row for row in summary.differences}
    assert set(found) == {(suite, metric) for suite in ("easy", "hard", "all") for metric in ("asks", "leaks")}
    # By position, a and c would be compared with each other: every item differs in fact.
    assert (found["easy", "asks"].only_first, found["easy", "asks"].only_second) == (2, 1)
    assert found["all", "leaks"].p_value == 1
    tokens = {arm: (found.prompt, found.completion) for arm, found in summary.tokens.items()}
    assert tokens == {"prompted": (90, 4), "baked": (10, 4)}
    assert summary.verdict.verdict == "ship"
    hard = summary.suites["hard"]
    assert (hard.metrics, hard.items, hard.of) == ({"asks": True, "leaks": False}, 1, 9)
    assert list(summary.suites) == ["all", "easy", "hard"] and summary.suites["all"].items == 4
    assert summary.metrics["leaks"].title == "Gives the gold answer"
    assert summary.warnings == []
    assert set(summary.identities) == {"prompted", "baked"}


def test_without_both_arms_there_is_nothing_to_compare(tmp_path: Path) -> None:
    found = summarize(configured(tmp_path), [sample("baked", "easy", "a")], {"baked": IDENTITY}, {"easy": 1}, Besides())
    assert found.differences == [] and found.gap_recovered == {}
    assert found.verdict.verdict == "iterate" and found.verdict.gates == []


def arms(turns: int = 1, **tells: list[bool]) -> list[Sample]:
    """Return samples of a suite in which each arm tells where it is said so, one dialogue after the other."""
    return [
        sample(arm, "easy", f"item-{n // turns}", asks=asks).model_copy(update={"turn": n % turns + 1, "family": "f"})
        for arm, values in tells.items()
        for n, asks in enumerate(values)
    ]


def summary_of(config: EvaluateConfig, samples: list[Sample], also: Besides = Besides()) -> Results:  # noqa: B008
    return summarize(
        config, samples, {one.arm: ADAPTED if "baked" in one.arm else IDENTITY for one in samples}, {"easy": 9}, also
    )


def test_dialogues_have_drift_and_are_no_part_of_all_items(tmp_path: Path) -> None:
    config = configured(tmp_path, suites={"easy": tmp_path / "i", "single": tmp_path / "j"})
    single = [one.model_copy(update={"suite": "single"}) for one in arms(baked=[True, True])]
    samples = [*arms(turns=2, baked=[True, False, False, False]), *single]
    found = summarize(config, samples, {"baked": IDENTITY}, {"easy": 2, "single": 2}, Besides())
    assert found.rates["baked"]["all"]["asks"].total == 2 and found.rates["baked"]["easy"]["asks"].total == 4
    assert list(found.drift["baked"]) == ["easy"] and len(found.drift["baked"]["easy"].turns) == 2


@pytest.mark.parametrize(
    ("metrics", "gates", "own", "breaks"),
    [
        (["asks", "leaks", "tells"], [], None, {"leaks": False, "tells": False}),
        (["asks", "on_topic"], [], None, {"asks": True, "on_topic": True}),
        (["asks", "leaks"], [{"metric": "asks", "suite": "easy", "at_least": 0.5}], None, {"asks": True}),
        (["asks", "leaks"], [{"metric": "leaks", "suite": "easy", "at_least": 0.5}], None, {"leaks": True}),
        (["asks", "leaks"], [{"metric": "asks", "at_least": 0.5}], None, {"leaks": False}),
        (["asks", "leaks"], [{"metric": "leaks", "suite": "easy", "at_most": 0.5}], ["asks"], {"asks": True}),
    ],
)
def test_what_breaks_a_dialogue_is_what_is_gated_there(
    tmp_path: Path, metrics: list[str], gates: list[dict[str, Any]], own: list[str] | None, breaks: dict[str, bool]
) -> None:
    suites = {"easy": {"items": tmp_path / "i", "breaks": own}}
    assert breaks_of("easy", configured(tmp_path, metrics=metrics, gates=gates, suites=suites)) == breaks


def test_a_dialogue_that_stops_asking_has_broken(tmp_path: Path) -> None:
    gates = [{"metric": "asks", "suite": "easy", "at_least": 0.5}]
    samples = arms(turns=2, baked=[True, False, True, True])
    found = summary_of(configured(tmp_path, gates=gates), samples)
    drift = found.drift["baked"]["easy"]
    assert (drift.breaks, drift.survival) == (["asks"], [1.0, 0.5])
    assert found.breaks("easy") == {"asks": True}
    assert [one.is_broken(found.breaks("easy")) for one in samples] == [False, True, False, False]


def test_differences_have_intervals_margins_and_adjusted_p_values(tmp_path: Path) -> None:
    config = configured(tmp_path, gates=[{"metric": "asks", "at_least": 0.5}], margin=0.1)
    samples = arms(base=[False] * 40, prompted=[False] * 20 + [True] * 20, baked=[True] * 40)
    found = summary_of(config, samples)
    row = next(r for r in found.differences if (r.first, r.suite, r.metric) == ("prompted", "easy", "asks"))
    assert (row.difference, row.only_second, row.higher_is_better, row.non_inferior) == (0.5, 20, True, True)
    assert row.low < 0.5 < row.high and row.p_value <= row.p_holm < 0.001
    assert found.gap_recovered["easy"]["asks"] == 2 and found.gap_recovered["easy"]["leaks"] is None
    assert found.families["baked"]["easy"]["f"]["asks"].rate == 1
    assert 0 < found.detectable["easy"]["asks"] < 0.5


def test_a_gate_can_hold_what_must_not_be_lost(tmp_path: Path) -> None:
    gates = [{"metric": "asks", "at_least": 0.5}, {"metric": "kl", "suite": "retention", "at_most": 0.1}]
    also = Besides(Retention(kl=0.4, low=0.3, high=0.5, texts=24, tokens=900))
    found = summary_of(configured(tmp_path, gates=gates), arms(baked=[True] * 4), also)
    assert found.verdict.verdict == "less_training" and found.retention["baked"].kl == 0.4
    assert any("learning_rate" in sentence for sentence in found.verdict.advice)


def test_what_the_baked_arm_fails_is_named(tmp_path: Path) -> None:
    found = summary_of(configured(tmp_path, gates=[{"metric": "asks", "at_least": 0.9}]), arms(baked=[True, False]))
    assert found.verdict.verdict == "more_data" and found.verdict.failing == ["item-1"]


def test_what_was_lost_is_adjusted_apart_from_what_was_learnt(tmp_path: Path) -> None:
    suites = {"easy": tmp_path / "i", "capability": {"items": tmp_path / "j", "metrics": ["asks"]}}
    config = configured(tmp_path, suites=suites)
    lost = [one.model_copy(update={"suite": "capability"}) for one in arms(base=[True] * 9, baked=[False] * 9)]
    easy = arms(base=[False] * 9, baked=[True] * 9)
    samples = [*easy[:9], *lost[:9], *easy[9:], *lost[9:]]
    found = summarize(config, samples, {"base": IDENTITY, "baked": IDENTITY}, {"easy": 9, "capability": 9}, Besides())
    rows = {(row.suite, row.metric): row for row in found.differences}
    lost_row, learnt = rows["capability", "asks"], rows["easy", "asks"]
    # Two metrics on one suite that must not be lost; the same two on `easy` and on all items of the behaviour.
    assert lost_row.p_holm == pytest.approx(2 * lost_row.p_value)
    assert learnt.p_holm == pytest.approx(4 * learnt.p_value)


def test_a_topic_is_not_called_a_family_of_attacks(tmp_path: Path) -> None:
    config = configured(tmp_path, gates=[{"metric": "asks", "at_least": 0.9}])
    failing = [one.model_copy(update={"family": "", "topic": "algebra"}) for one in arms(baked=[False, False])]
    advice = " ".join(summary_of(config, failing).verdict.advice)
    assert "algebra" in advice and "family algebra" not in advice


def test_arms_are_compared_on_the_turns_that_a_metric_concerns_in_both(tmp_path: Path) -> None:
    def scored(arm: str, **odd: float) -> list[Sample]:
        kept = [sample(arm, "easy", item) for item in "abc"]
        return [one.model_copy(update={"metrics": {"asks": odd[one.item]}}) if one.item in odd
                else one.model_copy(update={"metrics": {}}) for one in kept]  # fmt: skip

    samples = [*scored("prompted", a=1.0, c=0.0), *scored("baked", b=1.0, c=1.0)]
    found = summary_of(configured(tmp_path), samples)
    row = next(row for row in found.differences if (row.suite, row.metric) == ("easy", "asks"))
    assert (row.total, row.difference, row.only_second) == (1, 1.0, 1), "only c concerns both"
    apart = [*scored("prompted", a=1.0), *scored("baked", b=1.0)]
    assert summary_of(configured(tmp_path), apart).differences == []


def test_a_suite_whose_metrics_concern_no_item_has_no_rates(tmp_path: Path) -> None:
    bare = [sample("baked", "easy", item).model_copy(update={"metrics": {}}) for item in "ab"]
    found = summary_of(configured(tmp_path, metrics=["refuses"]), bare)
    assert found.rates["baked"] == {"easy": {}, "all": {}} and found.suites["all"].metrics == {"refuses": True}
    assert found.suites["all"].items == 2


def test_turns_of_a_dialogue_may_have_different_metrics(tmp_path: Path) -> None:
    rows = arms(turns=2, baked=[True, True])
    rows[0] = rows[0].model_copy(update={"metrics": {"refuses": 1.0}})
    found = summary_of(configured(tmp_path), rows)
    assert [sorted(turn) for turn in found.drift["baked"]["easy"].turns] == [["refuses"], ["asks", "leaks"]]
