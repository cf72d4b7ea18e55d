"""Two arms on the same items, and what the numbers allow to say of them."""

from tuning_room.report.labels import arm_title
from tuning_room.results import Difference, Results

SIGNIFICANT = 0.05
MAIN = ("prompted", "baked")
KEPT = ("base", "baked")


class Comparison(Difference):
    """A difference with the two rates, and what the numbers allow to say of it.

    `outcome` is better, worse or open (no difference shown), by the p-value that is adjusted for the number of
    comparisons; `alone` is what it would be by the p-value of this comparison alone. `detectable` is the smallest
    difference that so many items show four times in five, `gap_recovered` the share of the way from base to prompted
    that the baked arm goes, None where there is no gap.
    """

    first_rate: float
    second_rate: float
    outcome: str
    alone: str
    reading: str
    detectable: float | None
    gap_recovered: float | None


def comparisons(results: Results) -> list[Comparison]:
    """Return every comparison that the evaluation made, in its order."""
    return [_comparison(row, results) for row in results.differences]


def _comparison(row: Difference, results: Results) -> Comparison:
    first, second = (results.rates[arm][row.suite][row.metric].rate for arm in (row.first, row.second))
    gap = results.gap_recovered.get(row.suite, {}).get(row.metric)
    return Comparison(
        **dict(row),
        first_rate=first,
        second_rate=second,
        outcome=outcome(row, row.p_holm),
        alone=outcome(row, row.p_value),
        reading=reading(row),
        detectable=results.detectable.get(row.suite, {}).get(row.metric),
        gap_recovered=gap if (row.first, row.second) == MAIN else None,
    )


def outcome(row: Difference, p_value: float) -> str:
    """Return better or worse where a p-value shows it, else open."""
    if p_value >= SIGNIFICANT or row.only_first == row.only_second:
        return "open"
    return "better" if (row.difference > 0) == row.higher_is_better else "worse"


def reading(row: Difference) -> str:
    """Return in plain words what the numbers allow to say of the second arm."""
    found = outcome(row, row.p_holm)
    within = f"by {100 * row.margin:g} points or more"
    if found != "open":
        often = "higher" if row.difference > 0 else "lower"
        tail = f"; not worse {within}" if found == "worse" and row.non_inferior else ""
        return f"{arm_title(row.second).capitalize()} is {found}: its rate is {often}{tail}."
    return f"{_open(row)}; worse {within} is {'' if row.non_inferior else 'not '}ruled out."


def _open(row: Difference) -> str:
    if row.only_first == row.only_second == 0:
        return "The two agree on every item"
    alone = outcome(row, row.p_value)
    return "No difference shown" if alone == "open" else f"Would count as {alone} if it were the only comparison"
