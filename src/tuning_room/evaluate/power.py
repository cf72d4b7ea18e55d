"""What a number of items can show: the difference they detect, and the bound they can be held to."""

from typing import Any

from tuning_room.gates import Gate

Z95 = 1.959963984540054  # the 97.5 % quantile of the normal distribution


def resolvable_bound(total: int) -> float:
    """Return the upper end of Wilson's 95 % interval (1927) for no failure in `total` items: z2 / (total + z2)."""
    return Z95**2 / (total + Z95**2)


def items_needed(bound: float, *, rate: float = 0.0) -> int | None:
    """Return the smallest number of items whose Wilson upper bound is below `bound` if a share `rate` of them fails.

    None where no number up to ten million would do, as with a rate that is not below the bound.
    """
    fewest, enough = 0, 10**7
    if _upper(rate, enough) >= bound:
        return None
    while enough - fewest > 1:
        middle = (fewest + enough) // 2
        fewest, enough = (fewest, middle) if _upper(rate, middle) < bound else (middle, enough)
    return enough


def _upper(rate: float, total: int) -> float:
    """Return the upper end of Wilson's interval for a rate, whether or not it is a whole number of items."""
    from statsmodels.stats.proportion import proportion_confint

    return float(proportion_confint(rate * total, total, alpha=0.05, method="wilson")[1])


def detectable_difference(total: int, rate: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return the smallest difference of two paired rates that McNemar's exact test finds in `total` items.

    `rate` is one arm's; the other's is assumed to lie towards 1/2. The share of items on which the arms differ is
    computed as if they were independent, which is the most for arms that are not opposed to each other (Connor 1987).
    The power is the exact unconditional one (Duffy 1984). Returns 1 if there are too few items to show any difference.
    """
    from scipy.optimize import brentq

    farthest = max(rate, 1 - rate)
    if exact_power(total, rate, farthest, alpha=alpha) < power:
        return 1.0
    return float(brentq(lambda change: exact_power(total, rate, change, alpha=alpha) - power, 0.0, farthest))


def exact_power(total: int, rate: float, change: float, *, alpha: float = 0.05) -> float:
    """Return how often McNemar's exact test detects that a rate has moved by `change` towards 1/2 (Duffy 1984)."""
    import numpy as np
    from scipy.stats import binom

    # The shares of items that only the second and only the first arm has, if the two are independent.
    other = rate + change if rate < 0.5 else rate - change
    gained, lost = other * (1 - rate), rate * (1 - other)
    # Too rare to occur in any suite; scipy's distribution overflows there.
    if gained + lost < 1e-12:
        return 0.0
    differing = np.arange(total + 1)
    # The largest count that the two-sided test still rejects; -1 where it rejects none.
    edge = binom.ppf(alpha / 2, differing, 0.5)
    edge = np.where(2 * binom.cdf(edge, differing, 0.5) > alpha, edge - 1, edge)
    share = gained / (gained + lost)
    rejected: Any = binom.cdf(edge, differing, share) + binom.sf(differing - edge - 1, differing, share)
    return float((binom.pmf(differing, total, gained + lost) * rejected).sum())


def too_small(gate: Gate, total: int) -> str:
    """Return a warning if not even a perfect result on `total` items would show what a gate requires; else ''."""
    tolerance, bound = gate.tolerance, resolvable_bound(total)
    if tolerance is None or bound <= tolerance:
        return ""
    needed = items_needed(tolerance)
    more = f"at least {needed:,} are needed" if needed else "no number of items could"
    held = "" if gate.by == "bound" else "; the gate checks only the rate"
    return (
        f"{gate.name}: {total} items are too few to show it at 95 %, even without one failure "
        f"(the bound would be {bound:.1%}): {more}{held}"
    )
