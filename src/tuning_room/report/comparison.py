"""Two arms on the same items, and what the numbers show."""

from tuning_room.report.labels import arm_title
from tuning_room.results import Difference, Results

MAIN = ("prompted", "baked")
KEPT = ("base", "baked")


class Comparison(Difference):
    """A difference with the two rates, and what the numbers show.

    `outcome` is better, worse or open (no difference shown), by the p-value adjusted for the number of comparisons;
    `alone` is what it would be by the p-value of this comparison alone. `detectable` is the smallest difference that
    the items can detect with 80 % power, `gap_recovered` the share of the gap between base and prompted that the baked
    arm closes, None where there is no gap.
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
    found = []
    for row in results.differences:
        gap = results.gap_recovered.get(row.suite, {}).get(row.metric)
        comparison = Comparison(
            **dict(row),
            first_rate=results.rates[row.first][row.suite][row.metric].rate,
            second_rate=results.rates[row.second][row.suite][row.metric].rate,
            outcome=outcome(row, row.p_holm),
            alone=outcome(row, row.p_value),
            reading=reading(row),
            detectable=results.detectable.get(row.suite, {}).get(row.metric),
            gap_recovered=gap if (row.first, row.second) == MAIN else None,
        )
        found.append(comparison)
    return found


def outcome(row: Difference, p_value: float) -> str:
    """Return better or worse where the p-value shows it, else open."""
    if p_value >= 0.05 or row.only_first == row.only_second:
        return "open"
    return "better" if (row.difference > 0) == row.higher_is_better else "worse"


def reading(row: Difference) -> str:
    """Return in plain words what the numbers show about the second arm."""
    found = outcome(row, row.p_holm)
    within = f"by {100 * row.margin:g} points or more"
    if found != "open":
        often = "higher" if row.difference > 0 else "lower"
        tail = f"; not worse {within}" if found == "worse" and row.non_inferior else ""
        return f"{arm_title(row.second).capitalize()} is {found}: its rate is {often}{tail}."
    alone = outcome(row, row.p_value)
    shown = "No difference shown" if alone == "open" else f"Would count as {alone} if it were the only comparison"
    if row.only_first == row.only_second == 0:
        shown = "The two agree on every item"
    return f"{shown}; worse {within} is {'' if row.non_inferior else 'not '}ruled out."
