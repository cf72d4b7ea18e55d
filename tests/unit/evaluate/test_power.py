"""What so many items can show. Real: statsmodels' Wilson interval and McNemar test, SciPy, and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from tuning_room.evaluate.power import detectable_difference, exact_power, items_needed, resolvable_bound, too_small
from tuning_room.gates import Gate


@given(st.integers(1, 100_000))
def test_the_bound_of_no_failure_is_wilsons(total: int) -> None:
    expected = proportion_confint(0, total, alpha=0.05, method="wilson")[1]
    assert math.isclose(resolvable_bound(total), expected, rel_tol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.001, 0.9))
def test_the_fewest_items_are_the_fewest(bound: float) -> None:
    needed = items_needed(bound)
    assert needed is not None
    assert resolvable_bound(needed) < bound
    assert needed == 1 or resolvable_bound(needed - 1) >= bound


@pytest.mark.parametrize(("rate", "bound"), [(0.05, 0.1), (0.02, 0.1), (0.3, 0.35)])
def test_the_fewest_items_at_a_rate(rate: float, bound: float) -> None:
    needed = items_needed(bound, rate=rate)
    assert needed is not None
    assert proportion_confint(rate * needed, needed, method="wilson")[1] < bound
    assert proportion_confint(rate * (needed - 1), needed - 1, method="wilson")[1] >= bound


def test_some_bounds_are_out_of_reach() -> None:
    assert items_needed(0.0) is None
    assert items_needed(0.1, rate=0.1) is None
    assert items_needed(0.05) == 73


@pytest.mark.parametrize(("total", "rate", "change"), [(40, 0.95, 0.2), (60, 0.5, 0.25), (60, 0.1, 0.2)])
def test_the_power_is_how_often_the_test_finds_the_difference(total: int, rate: float, change: float) -> None:
    chance, trials = np.random.default_rng(3), 400
    other = rate + change if rate < 0.5 else rate - change
    found = 0
    for _ in range(trials):
        first, second = chance.random(total) < rate, chance.random(total) < other
        table = [[0, int((first & ~second).sum())], [int((second & ~first).sum()), 0]]
        found += mcnemar(table, exact=True).pvalue <= 0.05
    # Three standard errors of so many trials.
    assert math.isclose(found / trials, exact_power(total, rate, change), abs_tol=3 * math.sqrt(0.25 / trials))


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 400), st.floats(0, 1))
def test_the_detectable_difference_has_the_power_it_is_asked_for(total: int, rate: float) -> None:
    found = detectable_difference(total, rate)
    assert 0 < found <= 1
    if found < 1:
        assert math.isclose(exact_power(total, rate, found), 0.8, abs_tol=1e-6)
        assert detectable_difference(2 * total, rate) < found
    assert detectable_difference(total, rate, power=0.9) >= found


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9, 1.0])
def test_many_items_come_near_connors_formula(rate: float) -> None:
    # Connor 1987: n = (z_a sqrt(s) + z_b sqrt(s - d2))2 / d2, s the share of discordant pairs.
    total = 1000
    change = detectable_difference(total, rate)
    other = rate + change if rate < 0.5 else rate - change
    discordant = rate * (1 - other) + other * (1 - rate)
    root = norm.ppf(0.975) * math.sqrt(discordant) + norm.ppf(0.8) * math.sqrt(discordant - change**2)
    # The exact test asks for more, most where few pairs differ.
    assert 0.8 <= (root / change) ** 2 / total <= 1.01


def test_too_few_items_detect_nothing() -> None:
    assert detectable_difference(3, 0.5) == 1.0
    assert exact_power(50, 0.5, 0.0) < 0.05 and exact_power(50, 1.0, 0.0) == 0.0


@pytest.mark.parametrize(
    ("gate", "total", "said"),
    [
        ({"at_most": 0.1, "by": "bound"}, 20, "at least 35 are needed"),
        ({"at_least": 0.9}, 20, "the gate checks only the rate"),
        ({"at_most": 0.1, "by": "bound"}, 35, ""),
        ({"at_most": 0.0}, 20, ""),
        ({"not_below": "prompted", "by": "bound", "margin": 0.02}, 60, "at least 189 are needed"),
        ({"not_below": "prompted", "margin": 0.02}, 60, ""),
        ({"not_below": "prompted", "by": "bound"}, 60, ""),
        ({"at_most": 1e-8}, 60, "no number of items could"),
    ],
)
def test_a_suite_that_is_too_small_for_its_gate_is_named(gate: dict[str, object], total: int, said: str) -> None:
    warning = too_small(Gate.model_validate({"metric": "asks", **gate}), total)
    assert said in warning and bool(warning) == bool(said)


def test_a_gate_on_what_is_no_share_needs_no_number_of_items() -> None:
    assert too_small(Gate(metric="kl", suite="retention", at_most=0.01), 3) == ""
