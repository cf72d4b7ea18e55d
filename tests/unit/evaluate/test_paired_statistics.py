"""Intervals of differences and of shares, and what follows from them. Real: SciPy, statsmodels, and brute force."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tuning_room.evaluate.power import resolvable_bound
from tuning_room.evaluate.statistics import (
    Interval,
    across_seeds,
    bootstrap_difference,
    bootstrap_mean,
    difference,
    gap_recovered,
    holm,
    mean_interval,
    non_inferior,
    paired,
    rate,
    rate_of,
)

SHARES = st.sampled_from([0.0, 0.25, 0.5, 1.0])
ROWS = st.lists(st.tuples(SHARES, SHARES, st.integers(0, 5)), min_size=1, max_size=40)
ZERO_ONE = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def columns(rows: list[tuple[float, float, int]]) -> tuple[list[float], list[float], list[int]]:
    return [a for a, _, _ in rows], [b for _, b, _ in rows], [c for _, _, c in rows]


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_a_difference_of_means_and_its_interval(rows: list[tuple[float, float, int]]) -> None:
    first, second, clusters = columns(rows)
    found = bootstrap_difference(first, second, clusters)
    assert math.isclose(found.difference, np.mean(second) - np.mean(first), abs_tol=1e-12)
    assert -1 <= found.low <= found.difference + 1e-12 and found.difference - 1e-12 <= found.high <= 1
    assert found == bootstrap_difference(first, second, clusters), "it is the same every time"
    swapped = bootstrap_difference(second, first, clusters)
    assert math.isclose(swapped.difference, -found.difference, abs_tol=1e-12)
    if len(set(clusters)) == 1:
        assert (found.low, found.high) == (-1, 1)


@pytest.mark.parametrize("changes", [[1, -1, 0], [0.5, -0.5, 1, -1], [1, -1, -1]])
def test_the_bootstrap_is_that_of_all_resamples(changes: list[float]) -> None:
    # Of so few dialogues every resample can be written down; their percentiles are what the random ones estimate.
    first = [max(0.0, -change) for change in changes]
    second = [max(0.0, change) for change in changes]
    means = [np.mean(drawn) for drawn in product(changes, repeat=len(changes))]
    low, high = np.quantile(means, [0.025, 0.975], method="inverted_cdf")
    found = bootstrap_difference(first, second, range(len(changes)), resamples=20_000)
    assert math.isclose(found.low, low, abs_tol=1e-9) and math.isclose(found.high, high, abs_tol=1e-9)


def test_whole_dialogues_are_resampled() -> None:
    # Ten dialogues of eight turns, each wholly better or wholly worse: eighty turns know no more than ten dialogues.
    first, second = [0.0, 1.0] * 5, [1.0, 0.0] * 5
    alone = bootstrap_difference(first, second, range(10))
    turns = bootstrap_difference(np.repeat(first, 8).tolist(), np.repeat(second, 8).tolist(), np.repeat(range(10), 8))
    independent = bootstrap_difference(np.repeat(first, 8).tolist(), np.repeat(second, 8).tolist(), range(80))
    assert turns == alone
    assert independent.high < alone.high / 2


def test_arms_that_agree_everywhere_are_not_shown_to_be_equal() -> None:
    found = bootstrap_difference([1.0] * 20, [1.0] * 20, range(20))
    assert (found.low, found.high) == (-resolvable_bound(20), resolvable_bound(20))
    better = bootstrap_difference([0.0] + [1.0] * 19, [1.0] * 20, range(20))
    assert better.low < 0 < better.difference, "that one got better does not show that none gets worse"


@pytest.mark.parametrize(("worse", "better"), [(0.1, 0.1), (0.05, 0.25), (0.3, 0.1)])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(worse: float, better: float) -> None:
    chance = np.random.default_rng(5)
    covered, trials = 0, 200
    for trial in range(trials):
        change = chance.choice([-1.0, 0.0, 1.0], p=[worse, 1 - worse - better, better], size=60)
        found = bootstrap_difference((change < 0).tolist(), (change > 0).tolist(), range(60), resamples=500, seed=trial)
        covered += found.low <= better - worse <= found.high
    assert 0.9 <= covered / trials <= 0.99


def test_two_dialogues_are_enough_to_be_resampled() -> None:
    # A quarter of the resamples is the one twice, another quarter the other.
    found = bootstrap_difference([0.5, 0.0], [0.0, 0.5], "ab")
    assert (found.difference, found.low, found.high) == (0, -0.5, 0.5)
    mean = mean_interval([0.2, 0.8], "ab")
    assert (mean.rate, mean.low, mean.high) == pytest.approx((0.5, 0.2, 0.8))


@pytest.mark.parametrize(
    "rows", [([], [], []), ([1.0], [1.0, 0.0], [1, 2]), ([1.0], [1.0, 0.0], [1]), ([1.0, 0.0], [1.0, 0.0], [1])]
)
def test_nothing_and_unequal_numbers_are_errors(rows: tuple[list[float], list[float], list[int]]) -> None:
    with pytest.raises(ValueError, match=r"at least one|shorter|longer"):
        bootstrap_difference(*rows)


@settings(max_examples=60, deadline=None)
@given(ZERO_ONE)
def test_the_sign_test_of_zeros_and_ones_is_mcnemars(pairs: list[tuple[bool, bool]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    found = paired(first, second, range(len(pairs)))
    assert (found.only_first, found.only_second, found.p_value) == difference(first, second)
    assert found.total == len(pairs)


def test_the_sign_test_of_dialogues_counts_dialogues() -> None:
    found = paired([0, 1, 0, 1, 1, 1], [1, 1, 0, 0, 1, 0], ["a", "a", "b", "b", "c", "c"])
    assert (found.total, found.only_first, found.only_second) == (3, 2, 1)
    assert math.isclose(found.p_value, binomtest(2, 3).pvalue)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(SHARES, st.integers(0, 6)), min_size=1, max_size=40))
def test_a_mean_of_shares_has_an_interval(rows: list[tuple[float, int]]) -> None:
    values, clusters = [value for value, _ in rows], [cluster for _, cluster in rows]
    found = mean_interval(values, clusters)
    assert math.isclose(found.rate, float(np.mean(values)), abs_tol=1e-12)
    assert 0 <= found.low <= found.rate + 1e-12 and found.rate - 1e-12 <= found.high <= 1
    assert found.high > found.low, "no number of values leaves no doubt"
    assert (found.count, found.total) == (values.count(1.0), len(values))


def test_a_mean_is_near_wilsons_interval_where_both_apply() -> None:
    values = [1.0] * 70 + [0.0] * 30
    wilson, resampled = rate(values), mean_interval(values, range(100))
    assert math.isclose(wilson.low, resampled.low, abs_tol=0.02) and math.isclose(
        wilson.high, resampled.high, abs_tol=0.02
    )
    assert mean_interval([1.0] * 30, range(30)).low == 1 - resolvable_bound(30)
    middle, unseen = mean_interval([0.25] * 30, range(30)), resolvable_bound(30)
    assert (middle.low, middle.high) == pytest.approx((0.25 * (1 - unseen), 0.25 + 0.75 * unseen))
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([], [])


def test_a_mean_of_groups_is_that_of_their_values() -> None:
    values, groups = [1.0, 0.0, 0.5, 1.0, 0.25, 0.0, 0.0, 1.0], "aabbbccc"
    expected = mean_interval(values, groups)
    found = bootstrap_mean([1.0, 1.75, 1.0], [2, 3, 3])
    assert found == pytest.approx((3.75 / 8, expected.low, expected.high))
    assert bootstrap_mean([3.0], [4]) == (0.75, 0.75, 0.75), "one group says nothing about others"


def test_wilson_is_for_zeros_and_ones_of_separate_dialogues_only() -> None:
    assert rate_of([1, 0, 1], "abc") == rate([True, False, True])
    assert rate_of([1, 0] * 150, range(300)) == rate([True, False] * 150)
    assert rate_of([1, 1, 1], "abc") == rate([True, True, True])
    assert rate_of([1, 0, 1], "aab") == mean_interval([1, 0, 1], "aab")
    assert rate_of([1, 0.5, 1], "abc") == mean_interval([1, 0.5, 1], "abc")


@pytest.mark.parametrize(
    ("low", "high", "margin", "wanted", "shown"),
    [
        (-0.019, 0.3, 0.02, True, True),
        (-0.02, 0.3, 0.02, True, False),
        (-0.5, 0.019, 0.02, False, True),
        (-0.5, 0.02, 0.02, False, False),
        (0.01, 0.2, 0.0, True, True),
        (0.0, 0.2, 0.0, True, False),
    ],
)
def test_only_the_bad_end_counts_for_non_inferiority(
    low: float, high: float, margin: float, wanted: bool, shown: bool
) -> None:
    assert non_inferior(Interval(0.0, low, high), margin, higher_is_better=wanted) is shown


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_by_its_definition(values: list[float]) -> None:
    # Holm 1979: the k-th smallest of m is multiplied by m - k + 1, and none is below one before it.
    found = holm(values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=lambda index: values[index])):
        highest = max(highest, min(1.0, values[index] * (len(values) - rank)))
        assert math.isclose(found[index], highest, rel_tol=1e-9, abs_tol=1e-12)
    assert len(found) == len(values)


def test_holm_is_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    values = [0.001, 0.04, 0.03, 0.005]
    assert holm(values) == pytest.approx([0.004, 0.06, 0.06, 0.015])
    assert holm(values) == list(multipletests(values, method="holm")[1])


def test_the_recovered_gap_is_the_share_of_the_way() -> None:
    base, prompted = [0.0] * 20, [1.0] * 16 + [0.0] * 4
    baked = [1.0] * 12 + [0.0] * 8
    assert gap_recovered(base, prompted, baked, range(20)) == pytest.approx(0.75)
    assert gap_recovered(base, prompted, prompted, range(20)) == pytest.approx(1)
    assert gap_recovered(prompted, base, baked, range(20)) == pytest.approx(0.25), "less can be what is asked for"


@settings(max_examples=40, deadline=None)
@given(ZERO_ONE, st.data())
def test_no_gap_is_recovered_where_the_prompt_does_nothing(pairs: list[tuple[bool, bool]], data: st.DataObject) -> None:
    base, prompted = [a for a, _ in pairs], [b for _, b in pairs]
    baked = data.draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    found = gap_recovered(base, prompted, baked, range(len(pairs)))
    gap = bootstrap_difference(base, prompted, range(len(pairs)))
    assert (found is None) == (gap.low <= 0 <= gap.high)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_a_spread_is_that_of_the_sample(rates: list[float]) -> None:
    found = across_seeds(rates)
    assert (found.lowest, found.highest, found.rates) == (min(rates), max(rates), rates)
    assert math.isclose(found.mean, float(np.mean(rates)), abs_tol=1e-12)
    if len(rates) == 1:
        assert found.standard_deviation is None
    else:
        assert math.isclose(found.standard_deviation or 0.0, float(np.std(rates, ddof=1)), abs_tol=1e-12)


def test_a_spread_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        across_seeds([])
