"""The statistics of rates, of differences between arms on the same items, and of how long a behaviour holds."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from tuning_room.evaluate.power import resolvable_bound
from tuning_room.results import Drift, Rate, Spread, is_break

# 2000 bootstrap resamples settle a 95 % bound to about half a point (Efron and Tibshirani 1993, chapter 13).
RESAMPLES, SEED = 2000, 0
ROUNDING = 1e-9  # shares that differ by less differ only by rounding


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
    """Two arms on `total` dialogues: on how many only one of them is higher, the exact p-value, and the interval."""

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
    """Return the share of values (0 or 1) that are 1, with Wilson's interval; ValueError if there are no values."""
    from statsmodels.stats.proportion import proportion_confint

    if not values:
        raise ValueError("a rate needs at least one value")
    count, total = int(sum(values)), len(values)
    low, high = proportion_confint(count, total, alpha=0.05, method="wilson")
    return Rate(rate=count / total, low=max(0.0, float(low)), high=min(1.0, float(high)), count=count, total=total)


def mean_interval(values: Sequence[float], clusters: Sequence[Hashable]) -> Rate:
    """Return the mean of shares in 0..1 with its percentile bootstrap interval over clusters (dialogues).

    `count` is then the number of values that are 1, such as replies with every field right, and `total` the number of
    all values. Where all clusters have the same mean, a bootstrap interval would have no width; it is then widened by
    `resolvable_bound`, what that many clusters could have missed. ValueError if there are no values.
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
    """Return `rate` for values of 0 or 1, one per dialogue, and `mean_interval` for any others."""
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
    Where no dialogue got worse, resampling cannot tell how often one would: the interval then goes at least as far
    below the difference as Wilson's bound for no case in that many dialogues, and likewise above it where none got
    better. One dialogue alone shows nothing: -1 to 1. ValueError if there are no values, or if they differ in number.
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
    """Return the mean of grouped values (each group's sum and number), with its bootstrap interval over groups."""
    import numpy as np

    mean = sum(sums) / sum(counts)
    found = _percentiles(np.asarray(sums, dtype=float), np.asarray(counts, dtype=float), RESAMPLES, SEED)
    return mean, *(found or (mean, mean))


def paired(first: Sequence[float], second: Sequence[float], clusters: Sequence[Hashable]) -> Paired:
    """Compare two arms dialogue by dialogue: an exact sign test of the dialogues' means, and the bootstrap interval.

    Where each dialogue has one value, 0 or 1, the sign test is McNemar's exact test.
    """
    interval = bootstrap_difference(first, second, clusters)
    changes, _ = _by_cluster([b - a for a, b in zip(first, second, strict=True)], clusters)
    found = difference((changes < -ROUNDING).tolist(), (changes > ROUNDING).tolist())
    return Paired(len(changes), *found, *interval)


def non_inferior(interval: Interval, margin: float, *, higher_is_better: bool) -> bool:
    """Return whether the interval's bad end is within the margin: above -margin if higher is better, else below it."""
    return interval.low > -margin if higher_is_better else interval.high < margin


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number by Holm's step-down method (1979), in the same order."""
    from statsmodels.stats.multitest import multipletests

    return [float(value) for value in multipletests(p_values, method="holm")[1]] if p_values else []


def gap_recovered(
    base: Sequence[float], prompted: Sequence[float], baked: Sequence[float], clusters: Sequence[Hashable]
) -> float | None:
    """Return the share of the gap between base and prompted that baked closes: 0 at base, 1 at prompted, more beyond.

    None where the interval of prompted minus base includes 0: there is then no gap to close.
    """
    gap = bootstrap_difference(base, prompted, clusters)
    if gap.low <= 0 <= gap.high:
        return None
    return (sum(baked) - sum(base)) / (sum(prompted) - sum(base))


def kappa(rows: Sequence[tuple[str, str]]) -> float | None:
    """Return Cohen's kappa (1960) of two raters; None where chance alone would have them agree on everything."""
    observed = sum(one == other for one, other in rows) / len(rows)
    firsts, seconds = (Counter(row[rater] for row in rows) for rater in (0, 1))
    chance = sum(firsts[name] * seconds[name] for name in firsts) / len(rows) ** 2
    return (observed - chance) / (1 - chance) if chance < 1 - ROUNDING else None


def across_seeds(rates: Sequence[float]) -> Spread:
    """Return how a rate differs between trainings of different seeds; ValueError if there is none."""
    from statistics import fmean, stdev

    if not rates:
        raise ValueError("a spread needs at least one rate")
    deviation = stdev(rates) if len(rates) > 1 else None
    lowest, highest = min(rates), max(rates)
    return Spread(rates=list(rates), mean=fmean(rates), standard_deviation=deviation, lowest=lowest, highest=highest)


def drift(replies: Sequence[TurnScores], *, breaks: Mapping[str, bool]) -> Drift:
    """Return how well one arm holds over the turns; `breaks` says by metric whether higher is better.

    A reply breaks the behaviour where one of these metrics is on the wrong side of 0.5.
    The survival is Kaplan and Meier's (1958): a dialogue that ends without a break is right-censored at its last turn.
    Where all dialogues have the same length this is the plain share. ValueError if there are no replies, or if a
    dialogue's turns are not 1, 2, 3 and so on.
    """
    dialogues = _dialogues(replies)
    longest = max(map(len, dialogues))
    turns = []
    for turn in range(longest):
        rows = [dialogue[turn] for dialogue in dialogues if turn < len(dialogue)]
        metrics = dict.fromkeys(name for row in rows for name in row.metrics)
        concerned = {name: [row for row in rows if name in row.metrics] for name in metrics}
        turns.append(
            {name: rate_of([r.metrics[name] for r in of], [r.dialogue for r in of]) for name, of in concerned.items()}
        )
    first = [next((row.turn for row in dialogue if is_break(row.metrics, breaks)), None) for dialogue in dialogues]
    times = [turn or len(dialogue) for turn, dialogue in zip(first, dialogues, strict=True)]
    shares = survival(times, [turn is not None for turn in first], longest)
    return Drift(turns=turns, survival=shares, first=1 + sum(shares), breaks=list(breaks))


def survival(times: Sequence[int], happened: Sequence[bool], last: int) -> list[float]:
    """Return the Kaplan-Meier share without the event up to each of the turns 1 to `last`.

    `times` holds each dialogue's turn of the event where it happened, else its last turn.
    """
    from statsmodels.duration.survfunc import SurvfuncRight

    estimate = SurvfuncRight(list(times), [int(event) for event in happened])
    steps = dict(zip(map(int, estimate.surv_times), map(float, estimate.surv_prob), strict=True))
    shares, share = [], 1.0
    for turn in range(1, last + 1):
        share = steps.get(turn, share)
        shares.append(share)
    return shares


def _dialogues(replies: Sequence[TurnScores]) -> list[list[TurnScores]]:
    if not replies:
        raise ValueError("drift needs at least one reply")
    dialogues: dict[str, list[TurnScores]] = {}
    for reply in sorted(replies, key=lambda reply: reply.turn):
        dialogues.setdefault(reply.dialogue, []).append(reply)
    for name, rows in dialogues.items():
        if [row.turn for row in rows] != list(range(1, len(rows) + 1)):
            raise ValueError(f"dialogue '{name}': its turns are not 1 to {len(rows)}")
    return list(dialogues.values())


def _by_cluster(values: Sequence[float], clusters: Sequence[Hashable]) -> tuple[Any, Any]:
    """Return each cluster's sum and number of values, in order of first appearance."""
    import numpy as np

    if not values:
        raise ValueError("a difference needs at least one value")
    numbers: dict[Hashable, int] = {}
    codes = [numbers.setdefault(cluster, len(numbers)) for _, cluster in zip(values, clusters, strict=True)]
    return np.bincount(codes, weights=np.asarray(values, dtype=float)), np.bincount(codes).astype(float)


def _percentiles(sums: Any, counts: Any, resamples: int, seed: int) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of the mean over resampled clusters; None if there is only one cluster."""
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
