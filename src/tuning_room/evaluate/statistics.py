"""The statistics of rates and of differences between arms on the same items."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Rate:
    """A rate with its 95 % Wilson interval (Wilson 1927) and the counts behind it."""

    rate: float
    low: float
    high: float
    count: int
    total: int


class Difference(NamedTuple):
    """Two arms on the same items: how often only one of them has the property, and McNemar's exact p-value."""

    only_first: int
    only_second: int
    p_value: float


def rate(values: Sequence[bool]) -> Rate:
    """Return the share of true values; ValueError if there are none to count."""
    from statsmodels.stats.proportion import proportion_confint

    if not values:
        raise ValueError("a rate needs at least one value")
    count, total = sum(values), len(values)
    low, high = proportion_confint(count, total, alpha=0.05, method="wilson")
    return Rate(count / total, max(0.0, float(low)), min(1.0, float(high)), count, total)


def difference(first: Sequence[bool], second: Sequence[bool]) -> Difference:
    """Compare two arms item by item by McNemar's exact test (1947); ValueError if the items differ in number."""
    from statsmodels.stats.contingency_tables import mcnemar

    pairs = list(zip(first, second, strict=True))
    only_first = sum(a and not b for a, b in pairs)
    only_second = sum(b and not a for a, b in pairs)
    both = sum(a and b for a, b in pairs)
    table = [[both, only_first], [only_second, len(pairs) - both - only_first - only_second]]
    return Difference(only_first, only_second, float(mcnemar(table, exact=True).pvalue))
