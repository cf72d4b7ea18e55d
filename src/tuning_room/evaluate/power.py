"""What so many items can show: the difference they detect, and the bound they can be held to."""

from typing import Any

from tuning_room.gates import Gate

Z95 = 1.959963984540054  # the 97.5 % quantile of the normal distribution
MOST_ITEMS = 10**7
SELDOM = 1e-12


def resolvable_bound(total: int) -> float:
    """Return the upper end of Wilson's 95 % interval (1927) for no failure in `total` items: z2 / (total + z2)."""
    return Z95**2 / (total + Z95**2)


def items_needed(bound: float, *, rate: float = 0.0) -> int | None:
    """Return the fewest items whose Wilson upper bound is below `bound` if `rate` of them fail, none by default.

    None where no number of items (up to ten million) would do, as at a rate that is not below the bound.
    """
    fewest, enough = 0, MOST_ITEMS
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

    `rate` is that of the one arm; the other's is taken to lie towards 1/2. The share of items on which the arms differ
    is taken as if they were independent, the most for arms that are not opposed to each other (Connor 1987). The power
    is the exact unconditional one (Duffy 1984). 1 if so few items cannot show any difference.
    """
    from scipy.optimize import brentq

    farthest = max(rate, 1 - rate)
    if exact_power(total, rate, farthest, alpha=alpha) < power:
        return 1.0
    return float(brentq(lambda change: exact_power(total, rate, change, alpha=alpha) - power, 0.0, farthest))


def exact_power(total: int, rate: float, change: float, *, alpha: float = 0.05) -> float:
    """Return how often McNemar's exact test finds that a rate is changed by `change` towards 1/2 (Duffy 1984)."""
    import numpy as np
    from scipy.stats import binom

    gained, lost = _discordant(rate, change)
    # So few differ that none does in any suite; the distribution's own function overflows there.
    if gained + lost < SELDOM:
        return 0.0
    differing = np.arange(total + 1)
    # The largest count that the two-sided test still rejects; -1 where it rejects none.
    edge = binom.ppf(alpha / 2, differing, 0.5)
    edge = np.where(2 * binom.cdf(edge, differing, 0.5) > alpha, edge - 1, edge)
    share = gained / (gained + lost)
    rejected: Any = binom.cdf(edge, differing, share) + binom.sf(differing - edge - 1, differing, share)
    return float((binom.pmf(differing, total, gained + lost) * rejected).sum())


def _discordant(rate: float, change: float) -> tuple[float, float]:
    """Return how many items only the second, and only the first arm has, if the two are independent."""
    other = rate + change if rate < 0.5 else rate - change
    return other * (1 - rate), rate * (1 - other)


def too_small(gate: Gate, total: int) -> str:
    """Return a warning if not even a perfect result on `total` items would show what a gate asks for; else ''."""
    asked = gate.tolerance
    if asked is None or resolvable_bound(total) <= asked:
        return ""
    needed = items_needed(asked)
    more = f"at least {needed:,} are needed" if needed else "no number of items shows it"
    found = f"{gate.name}: {total} items are too few to show it at 95 %, even without one failure"
    held = "" if gate.by == "bound" else "; the gate looks at the rate alone"
    return f"{found} (the bound would be {resolvable_bound(total):.1%}): {more}{held}"
