"""Where things lie in the figures.

Real: the geometry. Fabricated: the numbers that are drawn.
"""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import ARMS, TURNS

from tuning_room.models.lineage import AdapterLineage
from tuning_room.records import TrainingStep, Tried
from tuning_room.report.comparison import Comparison, comparisons
from tuning_room.report.content import Report
from tuning_room.report.evidence import Evidence
from tuning_room.report.figures import compared as compared_pairs
from tuning_room.report.figures import (
    effect_plot,
    funnel_bars,
    loss_figure,
    survival_figure,
    sweep_figure,
    ticks,
    turn_figure,
)
from tuning_room.report.making import POINTS, Funnel, Training, training
from tuning_room.results import Difference, Rate, Results, Verdict


@pytest.fixture(scope="module")
def report(data: dict[str, Any]) -> Report:
    return Report.model_validate(data)


losses = st.floats(0, 20, allow_nan=False)


def found(rates: dict[str, Any] | None = None, differences: list[Difference] | None = None) -> Results:
    return Results(
        identities={}, metrics={}, suites={}, rates=rates or {}, differences=differences or [], tokens={},
        verdict=Verdict(verdict="", gates=[]),
    )  # fmt: skip


def step(number: int, loss: float, valid_loss: float | None) -> TrainingStep:
    rest = {"learning_rate": 5e-4, "rows": 8, "tokens": 800, "seconds": 2.0}
    return TrainingStep(step=number, loss=loss, valid_loss=valid_loss, **rest)


def trained(steps: list[TrainingStep]) -> Training:
    return training(Evidence(found(), {}, steps, AdapterLineage.model_construct(), {}, ""))


@given(st.floats(0, 1e9, allow_nan=False))
def test_ticks_are_few_and_reach_the_highest(highest: float) -> None:
    values = ticks(highest)
    assert values[0] == 0
    assert values[-1] >= highest * 0.999999
    assert 2 <= len(values) <= 12


@given(st.lists(st.tuples(losses, st.none() | losses), max_size=400))
def test_loss_curve_is_thinned_without_losing_a_step(rows: list[tuple[float, float | None]]) -> None:
    curve = trained([step(i, loss, valid) for i, (loss, valid) in enumerate(rows, start=1)])
    assert len(curve.points) <= POINTS
    covered = [number for point in curve.points for number in range(point.first, point.last + 1)]
    assert covered == list(range(1, len(rows) + 1))


@given(st.lists(st.tuples(losses, st.none() | losses), min_size=1, max_size=200))
def test_loss_curve_stays_within_its_plot(rows: list[tuple[float, float | None]]) -> None:
    figure = loss_figure(trained([step(i, loss, valid) for i, (loss, valid) in enumerate(rows, start=1)]))
    dots = [dot for curve in figure.curves for dot in [*curve.dots, *curve.marks]]
    assert all(0 <= dot.x <= 100 and -0.01 <= dot.y <= 100 for dot in dots)
    assert all(0 <= tick.position <= 100 for tick in [*figure.x_ticks, *figure.y_ticks])


def test_loss_figure_of_no_steps_is_empty() -> None:
    figure = loss_figure(trained([]))
    assert [(curve.dots, curve.marks) for curve in figure.curves] == [([], []), ([], [])]


def compared(difference: float, low: float, high: float, *, wanted: bool) -> Comparison:
    row = Difference(
        suite="all", metric="tells", first="prompted", second="baked", higher_is_better=wanted, total=40, only_first=9,
        only_second=1, p_value=0.01, p_holm=0.02, difference=difference, low=low, high=high, margin=0.05,
        non_inferior=False,
    )  # fmt: skip
    rates = {arm: {"all": {"tells": Rate(rate=0.5, low=0.4, high=0.6, count=20, total=40)}} for arm in ARMS}
    return comparisons(found(rates, [row]))[0]


shares = st.floats(-1, 1, allow_nan=False)


@given(st.lists(shares, min_size=3, max_size=3), st.booleans())
def test_difference_is_drawn_with_better_to_the_right(bounds: list[float], wanted: bool) -> None:
    low, middle, high = sorted(bounds)
    plot = effect_plot([compared(middle, low, high, wanted=wanted)])
    effect = plot.groups[0].effects[0]
    assert 0 <= effect.begin <= effect.middle <= effect.end <= 100
    good = middle if wanted else -middle
    assert (effect.middle - plot.zero) * good >= 0
    assert plot.margin_at < plot.zero == 50


def test_survival_goes_down_in_steps_from_all(report: Report) -> None:
    plot = survival_figure(report, "drift")
    for curve in plot.curves:
        assert (curve.dots[0].x, curve.dots[0].y) == (0, 0)
        assert len(curve.marks) == TURNS
        assert all(a.x == b.x or a.y == b.y for a, b in pairwise(curve.dots))
        assert all(a.y <= b.y for a, b in pairwise(curve.dots))
    assert [tick.label for tick in plot.x_ticks] == ["start", *(str(turn) for turn in range(1, TURNS + 1))]


def test_rates_by_turn_are_those_of_the_evaluation(report: Report) -> None:
    plot = turn_figure(report, "drift", "tells")
    drawn = {curve.name: [round(1 - dot.y / 100, 3) for dot in curve.dots] for curve in plot.curves}
    turns = report.drift["baked"]["drift"].turns
    assert drawn["baked"] == [round(turn["tells"].rate, 3) for turn in turns]


def test_every_comparison_is_drawn_once(report: Report) -> None:
    found = compared_pairs(report)
    rows = [*found.main, *found.kept, *(row for _, _, rows in found.others for row in rows)]
    assert len(rows) == len(report.differences)
    assert {row.suite for row in found.kept} == {"capability", "safety"}
    assert {(row.first, row.second) for row in found.main} == {("prompted", "baked")}
    assert found.main[0].suite == "all"


def test_funnel_bars_are_in_proportion_to_the_candidates() -> None:
    data = Funnel(candidates=200, sources={"rules": 150, "seeds": 50}, accepted=100, rejected={"duplicate": 100})
    bars = {bar.label: bar.length for bar in funnel_bars(data)}
    assert bars["Candidates"] == 100
    assert bars["from rules"] == 75
    assert bars["rejected: the same as another, or nearly so"] == 50
    assert funnel_bars(Funnel()) == []
    assert funnel_bars(Funnel(candidates=0)) == []


def tried(**changes: Any) -> Tried:
    values = {"learning_rate": 1e-3, "rank": 8, "epochs": 1, "steps": 9, "replies": 4, "seconds": 1.0}
    return Tried.model_validate({**values, "valid_loss": 1.0, "accepted": 0.5, **changes})


@given(st.lists(st.tuples(st.floats(1e-5, 1), st.integers(1, 64), st.none() | losses), min_size=1, max_size=9))
def test_every_choice_of_a_sweep_is_a_line_over_its_axes(choices: list[tuple[float, int, float | None]]) -> None:
    found = [tried(learning_rate=rate, rank=rank, valid_loss=loss) for rate, rank, loss in choices]
    plot = sweep_figure([*found, tried(failed="the loss is nan", valid_loss=None)])
    assert len(plot.curves) == len(choices) and plot.x_ticks[0].label == "learning rate"
    for curve, (_, _, loss) in zip(plot.curves, choices, strict=True):
        assert [dot.x for dot in curve.dots] == [0, 25, 50, *([75] if loss is not None else []), 100]
        assert all(0 <= dot.y <= 100 for dot in curve.dots)
    assert plot.curves[0].marks and not any(curve.marks for curve in plot.curves[1:])


def test_a_higher_value_stands_higher() -> None:
    low, high = sweep_figure([tried(rank=4), tried(rank=16)]).curves
    assert (low.dots[1].y, high.dots[1].y) == (100, 0)
    assert low.dots[0].y == high.dots[0].y == 50
