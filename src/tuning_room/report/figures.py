"""The geometry of the figures, in percent of their plot, so that they stretch with the page and stay sharp.

Curves, the funnel, and forest plots: rates and differences with their intervals, on an axis where right is better.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import ceil, floor, log10
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.records import Tried
from tuning_room.report.comparison import KEPT, MAIN, Comparison
from tuning_room.report.labels import reason_title
from tuning_room.report.making import Funnel, Training
from tuning_room.report.requirements import ShownRequirement
from tuning_room.report.suites import SuiteMetric, SuiteSection
from tuning_room.results import Rate

if TYPE_CHECKING:
    from tuning_room.report.content import Report


class Tick(NamedTuple):
    """A mark on an axis."""

    position: float
    label: str


class Dot(NamedTuple):
    """A point of a curve."""

    x: float
    y: float


class Curve(NamedTuple):
    """A line through points; `place` picks its colour and mark, and a curve without `marks` is just a line."""

    place: int
    name: str
    dots: list[Dot]
    marks: list[Dot]


class Plot(NamedTuple):
    """Curves and their axes; `y` grows downwards, as SVG has it."""

    curves: list[Curve]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


class ShownBar(NamedTuple):
    """A bar of the funnel: its length in percent, and a class for its colour."""

    label: str
    dialogues: int
    length: float
    kind: str


def loss_figure(training: Training) -> Plot:
    """Return the loss curves; a training point is placed at the middle of its steps."""
    points = training.points
    valid = [(p.valid_step, p.valid_loss) for p in points if p.valid_step is not None and p.valid_loss is not None]
    last = max(points[-1].last, 2) if points else 2
    y_values = ticks(max([p.loss for p in points] + [loss for _, loss in valid], default=1.0))
    top = y_values[-1]

    def dot(step: float, loss: float) -> Dot:
        return Dot(round(100 * (step - 1) / (last - 1), 2), round(100 - 100 * loss / top, 2))

    validated = [dot(step, loss) for step, loss in valid]
    steps = [1, *(int(value) for value in ticks(last)[1:] if 1 < value <= last and value % 1 == 0)]
    return Plot(
        curves=[
            Curve(0, "training", [dot((p.first + p.last) / 2, p.loss) for p in points], []),
            Curve(2, "validation", validated, validated),
        ],
        x_ticks=[Tick(dot(step, 0).x, f"{step:,}") for step in steps],
        y_ticks=[Tick(dot(1, value).y, f"{value:g}") for value in y_values],
    )


def sweep_figure(tried: Sequence[Tried]) -> Plot:
    """Return a line for each configuration over five axes, each from its lowest value up to its highest; best first."""
    shown = [one for one in tried if not one.failed]
    axes: list[tuple[str, list[float | None]]] = [
        ("learning rate", [log10(one.learning_rate) for one in shown]),
        ("rank", [one.rank for one in shown]),
        ("epochs", [one.epochs for one in shown]),
        ("validation loss", [one.valid_loss for one in shown]),
        ("accepted", [one.accepted for one in shown]),
    ]
    heights = [_between(values) for _, values in axes]
    places = [round(100 * place / (len(axes) - 1), 2) for place in range(len(axes))]

    def curve(number: int) -> Curve:
        dots = [Dot(x, values[number]) for x, values in zip(places, heights, strict=True) if values[number] is not None]  # type: ignore[arg-type]
        return Curve(0 if number == 0 else 2, "best" if number == 0 else "others", dots, dots if number == 0 else [])

    return Plot(
        [curve(n) for n in range(len(shown))], [Tick(x, name) for x, (name, _) in zip(places, axes, strict=True)], []
    )


def _between(values: Sequence[float | None]) -> list[float | None]:
    """Return distances from the top in percent, 0 for the highest value; the middle if all are the same."""
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    return [None if v is None else 50.0 if high == low else round(100 * (high - v) / (high - low), 2) for v in values]


def survival_figure(report: "Report", suite: str) -> Plot:
    """Return for each arm the share of dialogues without a break after each turn, in steps from 100 % at the start."""
    shares = {arm: found[suite].survival for arm, found in report.drift.items() if suite in found}
    last = max(map(len, shares.values()))

    def curve(arm: str) -> Curve:
        reached = [_share(turn, last, share) for turn, share in enumerate([1.0, *shares[arm]])]
        steps = [dot for before, after in pairwise(reached) for dot in (before, Dot(after.x, before.y))]
        return Curve(report.arms.index(arm), arm, [*steps, reached[-1]], reached[1:])

    return Plot([curve(arm) for arm in shares], _turns(range(last + 1), last), SHARES)


def turn_figure(report: "Report", suite: str, metric: str) -> Plot:
    """Return for each arm the rate of a metric at each turn."""
    found = {arm: suites[suite].turns for arm, suites in report.drift.items() if suite in suites}
    last = max(map(len, found.values()))

    def curve(arm: str) -> Curve:
        dots = [_share(n, last, turn[metric].rate) for n, turn in enumerate(found[arm], start=1) if metric in turn]
        return Curve(report.arms.index(arm), arm, dots, dots)

    return Plot([curve(arm) for arm in found], _turns(range(1, last + 1), last), SHARES)


SHARES = [Tick(100 - share, f"{share}%") for share in (0, 25, 50, 75, 100)]


def _share(turn: int, last: int, share: float) -> Dot:
    return Dot(round(100 * turn / last, 2), round(100 - 100 * share, 2))


def _turns(turns: Iterable[int], last: int) -> list[Tick]:
    return [Tick(round(100 * turn / last, 2), "start" if turn == 0 else str(turn)) for turn in turns]


def ticks(highest: float, count: int = 5) -> list[float]:
    """Return round values from 0 to at least `highest`, in about `count` steps of 1, 2 or 5 times a power of ten."""
    highest = max(highest, 1e-3)  # for an axis on which everything is zero
    rough = highest / count
    power = 10 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    return [round(step * place, 10) for place in range(ceil(highest / step - 1e-9) + 1)]


def funnel_bars(data: Funnel) -> list[ShownBar]:
    """Return the bars of the funnel, in proportion to the candidates; none if generation is not recorded."""
    if not data.candidates:
        return []

    def bar(label: str, count: int | None, kind: str) -> list[ShownBar]:
        return [] if count is None else [ShownBar(label, count, round(100 * count / (data.candidates or 1), 2), kind)]

    sources = sorted(data.sources.items(), key=lambda entry: -entry[1])
    rejected = sorted(data.rejected.items(), key=lambda entry: -entry[1])
    return [
        *bar("Candidates", data.candidates, "whole"),
        *(part for name, count in sources for part in bar(f"from {name}", count, "part")),
        *(part for name, count in rejected for part in bar(f"rejected: {reason_title(name)}", count, "lost")),
        *bar("Accepted", data.accepted, "whole"),
        *bar("for training", data.train, "part"),
        *bar("for validation", data.valid, "part"),
    ]


SPANS = (0.1, 0.2, 0.5, 1.0)  # how far the axis of differences may reach to either side


class RateRow(NamedTuple):
    """A rate with its interval; `place` is the arm's, which picks colour and mark."""

    place: int
    name: str
    rate: Rate


class RateGroup(NamedTuple):
    """The rows of a metric."""

    metric: SuiteMetric
    rows: list[RateRow]


class RequirementRow(NamedTuple):
    """A requirement as drawn: the rates of prompted and baked, and its own bound in percent, None without one."""

    requirement: ShownRequirement
    rates: list[RateRow]
    bound: float | None


class Effect(NamedTuple):
    """A difference as drawn: positions in percent of the plot; further right is better for the second arm.

    `gain`, `low` and `high` are shares, with the sign reversed for a metric of which lower is better.
    """

    row: Comparison
    gain: float
    low: float
    high: float
    middle: float
    begin: float
    end: float


class EffectGroup(NamedTuple):
    """The differences of a suite."""

    suite: str
    total: int
    effects: list[Effect]


class EffectPlot(NamedTuple):
    """Differences of one pair of arms; the band is where the second is worse by less than the margin.

    `alone` is true if some of them would count if they were the only comparison.
    """

    groups: list[EffectGroup]
    ticks: list[Tick]
    zero: float
    margin: float
    margin_at: float
    alone: bool


class Compared(NamedTuple):
    """The comparisons by purpose: baked against prompted, what was kept, and the others by pair of arms."""

    main: list[Comparison]
    kept: list[Comparison]
    others: list[tuple[str, str, list[Comparison]]]


def compared(report: "Report") -> Compared:
    """Return every comparison once, under its purpose."""
    suites = {suite.name for suite in report.suites if suite.kept}
    order = [suite.name for suite in report.suites]
    differences = sorted(report.differences, key=lambda row: order.index(row.suite))
    main = [row for row in differences if (row.first, row.second) == MAIN and row.suite not in suites]
    kept = [row for row in differences if (row.first, row.second) == KEPT and row.suite in suites]
    others = [row for row in differences if row not in main and row not in kept]
    pairs = dict.fromkeys((row.first, row.second) for row in others)
    return Compared(main, kept, [(*pair, [row for row in others if (row.first, row.second) == pair]) for pair in pairs])


def rate_groups(report: "Report", suite: SuiteSection) -> list[RateGroup]:
    """Return the rates of a suite by metric and arm."""
    groups = []
    for metric in suite.metrics:
        rates = {arm: report.rates[arm][suite.name].get(metric.name) for arm in suite.arms}
        rows = [RateRow(report.arms.index(arm), arm, rate) for arm, rate in rates.items() if rate]
        groups.append(RateGroup(metric, rows))
    return groups


def requirement_rows(report: "Report") -> list[RequirementRow]:
    """Return a row for each requirement that was tested, in the order of the table."""
    return [
        RequirementRow(
            requirement=one,
            rates=[RateRow(report.arms.index(arm), arm, one.rates[arm]) for arm in MAIN if arm in one.rates],
            bound=round(100 * one.gate.at_least, 2) if one.gate else None,
        )
        for one in (report.requirements.requirements if report.requirements else ())
        if set(MAIN) & set(one.rates)
    ]


def effect_plot(rows: Iterable[Comparison]) -> EffectPlot:
    """Return the forest plot of comparisons of one pair; the axis is as wide as their intervals need."""
    rows = list(rows)
    reach = max((abs(bound) for row in rows for bound in (row.low, row.high)), default=0.0)
    span = next((span for span in SPANS if span >= max(reach, 2 * _margin(rows))), SPANS[-1])

    def at(gain: float) -> float:
        return round(50 + 50 * max(-span, min(span, gain)) / span, 2)

    suites = dict.fromkeys(row.suite for row in rows)
    groups = [[_effect(row, at) for row in rows if row.suite == suite] for suite in suites]
    return EffectPlot(
        groups=[EffectGroup(found[0].row.suite, max(e.row.total for e in found), found) for found in groups],
        ticks=[Tick(at(part * span), f"{100 * part * span:+g}" if part else "0") for part in (-1, -0.5, 0, 0.5, 1)],
        zero=at(0),
        margin=_margin(rows),
        margin_at=at(-_margin(rows)),
        alone=any(row.alone != row.outcome for row in rows),
    )


def _margin(rows: Iterable[Comparison]) -> float:
    return max((row.margin for row in rows), default=0.0)


def _effect(row: Comparison, at: Callable[[float], float]) -> Effect:
    gain, low, high = (
        (row.difference, row.low, row.high) if row.higher_is_better else (-row.difference, -row.high, -row.low)
    )
    return Effect(row, gain, low, high, at(gain), at(low), at(high))
