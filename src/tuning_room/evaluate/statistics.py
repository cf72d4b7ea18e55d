"""The statistics of rates, of differences between arms on the same items, and of how long a behaviour holds."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from tuning_room.evaluate.power import resolvable_bound
from tuning_room.results import BREAKS, Drift, Rate, Spread

# The bootstrap; 2000 resamples settle a 95 % bound to about half a point (Efron and Tibshirani 1993, chapter 13).
RESAMPLES, SEED = 2000, 0
# Shares that differ by less than this differ by rounding.
ROUNDING = 1e-9


class McNemar(NamedTuple):
    """Two arms on the same items: how often only one of them has the property, and McNemar's exact p-value."""

    only_first: int
    only_second: int
    p_value: float


class Interval(NamedTuple):
    """A difference of means, second minus first, with its 95 % interval; -1 to 1."""

    difference: float
    low: float
    high: float


class Paired(NamedTuple):
    """Two arms on `total` dialogues: on how many only the one is higher, the exact p-value, and the interval."""

    total: int
    only_first: int
    only_second: int
    p_value: float
    difference: float
    low: float
    high: float


class TurnScores(NamedTuple):
    """A reply of a scripted dialogue: which dialogue, which turn (from 1), and its metrics in 0..1."""

    dialogue: str
    turn: int
    metrics: Mapping[str, float]


def rate(values: Sequence[float]) -> Rate:
    """Return the share of true values (0 or 1) with Wilson's interval; ValueError if there are none to count."""
    from statsmodels.stats.proportion import proportion_confint

    if not values:
        raise ValueError("a rate needs at least one value")
    count, total = int(sum(values)), len(values)
    low, high = proportion_confint(count, total, alpha=0.05, method="wilson")
    return Rate(rate=count / total, low=max(0.0, float(low)), high=min(1.0, float(high)), count=count, total=total)


def mean_interval(values: Sequence[float], clusters: Sequence[Hashable]) -> Rate:
    """Return the mean of shares in 0..1 with its percentile bootstrap interval over clusters (dialogues).

    `count` is then the number of values that are 1, such as replies with every field right, and `total` that of all
    values. Where all clusters have the same mean a bootstrap would have an interval without width; it is then widened
    by what none of so many could have shown (`resolvable_bound`). ValueError if there are no values.
    """
    if not values:
        raise ValueError("a rate needs at least one value")
    sums, counts = _by_cluster(values, clusters)
    mean = float(sums.sum() / counts.sum())
    low, high = _percentiles(sums, counts, RESAMPLES, SEED) or (0.0, 1.0)
    if high - low < ROUNDING:
        unseen = resolvable_bound(len(counts))
        low, high = low * (1 - unseen), high + (1 - high) * unseen
    full = sum(value >= 1 for value in values)
    return Rate(rate=mean, low=max(0.0, low), high=min(1.0, high), count=full, total=len(values))


def rate_of(values: Sequence[float], clusters: Sequence[Hashable]) -> Rate:
    """Return `rate` of values that are 0 or 1, one a dialogue, and `mean_interval` of any others."""
    if len(set(clusters)) == len(values) and set(values) <= {0, 1}:
        return rate(values)
    return mean_interval(values, clusters)


def difference(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """Compare two arms item by item by McNemar's exact test (1947); ValueError if the items differ in number."""
    from statsmodels.stats.contingency_tables import mcnemar

    pairs = list(zip(first, second, strict=True))
    only_first = sum(a and not b for a, b in pairs)
    only_second = sum(b and not a for a, b in pairs)
    both = sum(a and b for a, b in pairs)
    table = [[both, only_first], [only_second, len(pairs) - both - only_first - only_second]]
    return McNemar(only_first, only_second, float(mcnemar(table, exact=True).pvalue))


def bootstrap_difference(
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval:
    """Return second minus first, values in 0..1 on the same items, with a paired percentile bootstrap over dialogues.

    Whole dialogues (`clusters`, a name for each value) are drawn with replacement (Efron 1979; Field and Welsh 2007).
    Where no dialogue got worse, resampling cannot know how often one does: the interval then goes at least as far below
    the difference as Wilson's bound for none of so many dialogues; and likewise above where none got better. One
    dialogue alone shows nothing: -1 to 1. ValueError if there are no values, or if they differ in number.
    """
    changes, counts = _by_cluster([b - a for a, b in zip(first, second, strict=True)], clusters)
    found = float(changes.sum() / counts.sum())
    low, high = _percentiles(changes, counts, resamples, seed) or (-1.0, 1.0)
    unseen = resolvable_bound(len(counts))
    if not (changes < -ROUNDING).any():
        low = min(low, found - unseen)
    if not (changes > ROUNDING).any():
        high = max(high, found + unseen)
    return Interval(found, max(-1.0, low), min(1.0, high))


def bootstrap_mean(sums: Sequence[float], counts: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of values that come in groups (each group's sum and number), with its bootstrap interval."""
    import numpy as np

    mean = sum(sums) / sum(counts)
    found = _percentiles(np.asarray(sums, dtype=float), np.asarray(counts, dtype=float), RESAMPLES, SEED)
    return mean, *(found or (mean, mean))


def paired(first: Sequence[float], second: Sequence[float], clusters: Sequence[Hashable]) -> Paired:
    """Compare two arms dialogue by dialogue: an exact sign test of the dialogues' means, and the bootstrap interval.

    Where a dialogue has one value, 0 or 1, the sign test is McNemar's exact test.
    """
    interval = bootstrap_difference(first, second, clusters)
    changes, _ = _by_cluster([b - a for a, b in zip(first, second, strict=True)], clusters)
    found = difference((changes < -ROUNDING).tolist(), (changes > ROUNDING).tolist())
    return Paired(len(changes), *found, *interval)


def non_inferior(interval: Interval, margin: float, *, higher_is_better: bool) -> bool:
    """Return whether the interval's bad end stays within the margin: above -margin if more is better, else below it."""
    return interval.low > -margin if higher_is_better else interval.high < margin


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number by Holm's step-down method (1979), in the same order."""
    from statsmodels.stats.multitest import multipletests

    return [float(value) for value in multipletests(p_values, method="holm")[1]] if p_values else []


def gap_recovered(
    base: Sequence[float], prompted: Sequence[float], baked: Sequence[float], clusters: Sequence[Hashable]
) -> float | None:
    """Return the share of the way from base to prompted that baked goes: 0 at base, 1 at prompted, more beyond.

    None where the interval of prompted minus base includes 0: there is then no gap to recover.
    """
    gap = bootstrap_difference(base, prompted, clusters)
    if gap.low <= 0 <= gap.high:
        return None
    return (sum(baked) - sum(base)) / (sum(prompted) - sum(base))


def across_seeds(rates: Sequence[float]) -> Spread:
    """Return how a rate differs between trainings of different seeds; ValueError if there is none."""
    from statistics import fmean, stdev

    if not rates:
        raise ValueError("a spread needs at least one rate")
    deviation = stdev(rates) if len(rates) > 1 else None
    return Spread(
        rates=list(rates),
        mean=fmean(rates),
        standard_deviation=deviation,
        lowest=min(rates),
        highest=max(rates),
    )


def drift(replies: Sequence[TurnScores], *, events: Sequence[str] = BREAKS) -> Drift:
    """Return how one arm holds over the turns; an event is a metric of `events` at 0.5 or more.

    The survival is Kaplan and Meier's (1958): a dialogue that ends without an event is right-censored at its last turn.
    Where all dialogues have the same length this is the plain share. ValueError if there are no replies, or if a
    dialogue's turns are not 1, 2, 3 and so on.
    """
    dialogues = _dialogues(replies)
    longest = max(len(rows) for rows in dialogues.values())
    turns = [_turn_rates([rows[turn] for rows in dialogues.values() if turn < len(rows)]) for turn in range(longest)]
    times = [_first(rows, events) for rows in dialogues.values()]
    shares = survival([time or len(rows) for time, rows in zip(times, dialogues.values(), strict=True)],
                      [time is not None for time in times], longest)  # fmt: skip
    return Drift(turns=turns, survival=shares, first=1 + sum(shares))


def survival(times: Sequence[int], happened: Sequence[bool], last: int) -> list[float]:
    """Return the Kaplan-Meier share without the event up to each of the turns 1 to `last`.

    `times` are the turn of the event where it happened, else the last turn that was seen.
    """
    from statsmodels.duration.survfunc import SurvfuncRight

    estimate = SurvfuncRight(list(times), [int(event) for event in happened])
    steps = dict(zip(map(int, estimate.surv_times), map(float, estimate.surv_prob), strict=True))
    shares, share = [], 1.0
    for turn in range(1, last + 1):
        share = steps.get(turn, share)
        shares.append(share)
    return shares


def _dialogues(replies: Sequence[TurnScores]) -> dict[str, list[TurnScores]]:
    if not replies:
        raise ValueError("drift needs at least one reply")
    dialogues: dict[str, list[TurnScores]] = {}
    for reply in sorted(replies, key=lambda reply: reply.turn):
        dialogues.setdefault(reply.dialogue, []).append(reply)
    for name, rows in dialogues.items():
        if [row.turn for row in rows] != list(range(1, len(rows) + 1)):
            raise ValueError(f"dialogue '{name}': its turns are not 1 to {len(rows)}")
    return dialogues


def _turn_rates(rows: Sequence[TurnScores]) -> dict[str, Rate]:
    names = [row.dialogue for row in rows]
    return {metric: rate_of([row.metrics[metric] for row in rows], names) for metric in rows[0].metrics}


def _first(rows: Sequence[TurnScores], events: Sequence[str]) -> int | None:
    """Return the first turn with an event, if there is one."""
    return next((row.turn for row in rows if any(row.metrics.get(event, 0.0) >= 0.5 for event in events)), None)


def _by_cluster(values: Sequence[float], clusters: Sequence[Hashable]) -> tuple[Any, Any]:
    """Return each cluster's sum and number of values, in the order in which the clusters first come."""
    import numpy as np

    if not values:
        raise ValueError("a difference needs at least one value")
    numbers: dict[Hashable, int] = {}
    codes = [numbers.setdefault(cluster, len(numbers)) for _, cluster in zip(values, clusters, strict=True)]
    return np.bincount(codes, weights=np.asarray(values, dtype=float)), np.bincount(codes).astype(float)


def _percentiles(sums: Any, counts: Any, resamples: int, seed: int) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of the mean over resampled clusters; None if there is one cluster only."""
    import numpy as np
    from scipy.stats import bootstrap

    if len(counts) < 2:
        return None
    found = bootstrap(
        (sums, counts),
        lambda total, number, axis: total.sum(axis) / number.sum(axis),
        paired=True,
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)
