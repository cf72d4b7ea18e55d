"""The curve in the terminal, and what stands beside it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tuning_room.train.live import LEVELS, WIDTH, LiveCurve, curve
from tuning_room.train.metrics import Metric

values = st.lists(st.floats(0, 1e6), max_size=200)


@given(values)
def test_a_curve_is_as_wide_as_there_is_to_show(found: list[float]) -> None:
    assert len(curve(found)) == min(WIDTH, len(found)) and set(curve(found)) <= set(LEVELS)


@given(st.lists(st.floats(0, 9), min_size=2, max_size=WIDTH, unique=True))
def test_the_largest_value_is_highest_and_the_smallest_lowest(found: list[float]) -> None:
    line = curve(found)
    if max(found) - min(found) > 1e-9:
        assert line[found.index(max(found))] == LEVELS[-1] and line[found.index(min(found))] == LEVELS[0]


def test_a_falling_loss_is_a_falling_curve() -> None:
    assert curve([8, 7, 6, 5, 4, 3, 2, 1]) == LEVELS[::-1]
    assert curve([2.0, 2.0]) == LEVELS[0] * 2 and curve([]) == ""


class Bar:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int, int]] = []

    def describe(self, text: str, *, done: int, total: int) -> None:
        self.said.append((text, done, total))


def test_the_last_validation_loss_stays_beside_the_curve() -> None:
    bar: Any = Bar()
    live = LiveCurve(bar)
    live.prepare("teacher", 3, 9)
    for step, valid in ((1, 2.5), (2, None)):
        live.show(Metric(step, 2.0 / step, valid, 1e-3, 4, 100, 0.1), 5)
    assert bar.said == [
        ("asking the base model (teacher)", 3, 9),
        ("▁ loss 2.000, valid 2.500", 1, 5),
        ("█▁ loss 1.000, valid 2.500", 2, 5),
    ]
