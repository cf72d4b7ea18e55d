"""Where things lie in the figures.

Real: the geometry. Fabricated: the numbers that are drawn.
"""

from hypothesis import given
from hypothesis import strategies as st

from tuning_room.report.evidence import AdapterFacts, Evidence, Results, Step, Verdict
from tuning_room.report.figures import funnel_bars, loss_figure, ticks
from tuning_room.report.funnel import Funnel
from tuning_room.report.training import POINTS, Training, training

losses = st.floats(0, 20, allow_nan=False)


def trained(steps: list[Step]) -> Training:
    results = Results(
        schema_version=1, identities={}, rates={}, differences=[], tokens={}, verdict=Verdict(verdict="", gates=[])
    )
    return training(Evidence(results, {}, steps, AdapterFacts(base_model="", adapter_digest=""), {}, ""))


@given(st.floats(0, 1e9, allow_nan=False))
def test_ticks_are_few_and_reach_the_highest(highest: float) -> None:
    values = ticks(highest)
    assert values[0] == 0
    assert values[-1] >= highest * 0.999999
    assert 2 <= len(values) <= 12


@given(st.lists(st.tuples(losses, st.none() | losses), max_size=400))
def test_loss_curve_is_thinned_without_losing_a_step(rows: list[tuple[float, float | None]]) -> None:
    curve = trained([Step(step=i, loss=loss, valid_loss=valid) for i, (loss, valid) in enumerate(rows, start=1)])
    assert len(curve.points) <= POINTS
    covered = [step for point in curve.points for step in range(point.first, point.last + 1)]
    assert covered == list(range(1, len(rows) + 1))


@given(st.lists(st.tuples(losses, st.none() | losses), min_size=1, max_size=200))
def test_loss_curve_stays_within_its_plot(rows: list[tuple[float, float | None]]) -> None:
    figure = loss_figure(
        trained([Step(step=i, loss=loss, valid_loss=valid) for i, (loss, valid) in enumerate(rows, start=1)])
    )
    assert all(0 <= dot.x <= 100 and -0.01 <= dot.y <= 100 for dot in [*figure.train, *figure.valid])
    assert all(0 <= tick.position <= 100 for tick in [*figure.x_ticks, *figure.y_ticks])


def test_loss_figure_of_no_steps_is_empty() -> None:
    figure = loss_figure(trained([]))
    assert (figure.train, figure.valid) == ([], [])


def test_funnel_bars_are_in_proportion_to_the_candidates() -> None:
    data = Funnel(candidates=200, sources={"rules": 150, "seeds": 50}, accepted=100, rejected={"duplicate": 100})
    bars = {bar.label: bar.length for bar in funnel_bars(data)}
    assert bars["Candidates"] == 100
    assert bars["from rules"] == 75
    assert bars["rejected: the same as another, or nearly"] == 50
    assert funnel_bars(Funnel()) == []
    assert funnel_bars(Funnel(candidates=0)) == []
