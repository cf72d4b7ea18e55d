"""Forest plots: rates with their intervals, and differences with theirs, on an axis on which right is better."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tuning_room.report.comparison import KEPT, MAIN, Comparison
from tuning_room.report.content import Report
from tuning_room.report.figures import Tick
from tuning_room.report.suites import SuiteMetric, SuiteSection
from tuning_room.results import Rate

SPANS = (0.1, 0.2, 0.5, 1.0)  # what the axis of differences may reach to either side


class RateRow(NamedTuple):
    """A rate with its interval; `place` is the arm's, which picks colour and mark."""

    place: int
    name: str
    rate: Rate


class RateGroup(NamedTuple):
    """The rows of a metric."""

    metric: SuiteMetric
    rows: list[RateRow]


class Effect(NamedTuple):
    """A difference as drawn: positions in percent of the plot; more to the right is better for the second arm.

    `gain`, `low` and `high` are shares, turned round for a metric of which less is better.
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

    `alone` says that some of them would count if they were the only comparison.
    """

    groups: list[EffectGroup]
    ticks: list[Tick]
    zero: float
    margin: float
    margin_at: float
    alone: bool


class ComparedPair(NamedTuple):
    """The comparisons of two arms."""

    first: str
    second: str
    rows: list[Comparison]


class Compared(NamedTuple):
    """The comparisons by what they are for: baked against prompted, what was kept, and all others."""

    main: list[Comparison]
    kept: list[Comparison]
    others: list[ComparedPair]


def compared(report: Report) -> Compared:
    """Return every comparison once, under what it is for."""
    suites = {suite.name for suite in report.suites if suite.kept}
    order = [suite.name for suite in report.suites]
    differences = sorted(report.differences, key=lambda row: order.index(row.suite))
    main = [row for row in differences if (row.first, row.second) == MAIN and row.suite not in suites]
    kept = [row for row in differences if (row.first, row.second) == KEPT and row.suite in suites]
    others = [row for row in differences if row not in main and row not in kept]
    pairs = dict.fromkeys((row.first, row.second) for row in others)
    return Compared(
        main, kept, [ComparedPair(*pair, [row for row in others if (row.first, row.second) == pair]) for pair in pairs]
    )


def rate_groups(report: Report, suite: SuiteSection) -> list[RateGroup]:
    """Return the rates of a suite by metric and arm."""
    return [RateGroup(metric, _rate_rows(report, suite, metric.name)) for metric in suite.metrics]


def _rate_rows(report: Report, suite: SuiteSection, metric: str) -> list[RateRow]:
    return [
        RateRow(report.arms.index(arm), arm, report.rates[arm][suite.name][metric])
        for arm in suite.arms
        if metric in report.rates[arm][suite.name]
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
