"""A training's steps in a file that survives a kill, and as a curve in the terminal."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_rows import taken

from tuning_room.errors import DataError
from tuning_room.train.metrics import LEVELS, WIDTH, LiveCurve, MetricsFile, curve

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
    """Keeps what it is given to show."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int, int]] = []

    def describe(self, text: str, *, done: int, total: int) -> None:
        self.said.append((text, done, total))


def test_the_last_validation_loss_stays_beside_the_curve() -> None:
    bar: Any = Bar()
    live = LiveCurve(bar)
    live.prepare("teacher", 3, 9)
    for step, valid in ((1, 2.5), (2, None)):
        live.show(taken(step, valid, loss=2.0 / step), 5)
    assert bar.said == [
        ("asking the base model (teacher)", 3, 9),
        ("▁ loss 2.000, valid 2.500", 1, 5),
        ("█▁ loss 1.000, valid 2.500", 2, 5),
    ]


def test_metrics_survive_a_cut_line(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "new" / "metrics.jsonl")
    assert file.read() == []
    for step in (1, 2, 3):
        file.append(taken(step, step / 3))
    with file.path.open("a", encoding="utf-8") as out:
        out.write('{"step": 4, "lo')
    assert [metric.step for metric in file.read()] == [1, 2, 3]
    file.keep_until(2)
    assert file.read() == [taken(step, step / 3) for step in (1, 2)]
    assert MetricsFile(file.path).read() == [taken(step, step / 3) for step in (1, 2, 3)], "until there is a new one"
    file.append(taken(3))
    assert [json.loads(line)["step"] for line in file.path.read_text(encoding="utf-8").splitlines()] == [1, 2, 3]


@pytest.mark.parametrize("kept", [0, 2, 3])
def test_an_earlier_curve_stands_until_the_new_one_has_a_step(kept: int, tmp_path: Path) -> None:
    earlier = MetricsFile(tmp_path / "metrics.jsonl")
    for step in (1, 2, 3):
        earlier.append(taken(step))
    before = earlier.path.read_bytes()
    new = MetricsFile(earlier.path)
    new.keep_until(kept)
    assert earlier.path.read_bytes() == before and len(new.read()) == kept
    new.append(taken(kept + 1, 9.0))
    assert earlier.read() == [*map(taken, range(1, kept + 1)), taken(kept + 1, 9.0)]


def test_what_is_kept_is_written_where_no_step_follows(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    for step in (1, 2, 3):
        file.append(taken(step))
    file.keep_until(2)
    file.settle()
    assert MetricsFile(file.path).read() == [taken(1), taken(2)]
    file.settle()
    file.append(taken(3))
    assert len(MetricsFile(file.path).read()) == 3


def test_a_line_that_is_no_step_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"metrics.jsonl:1: loss"):
        MetricsFile(tmp_path / "metrics.jsonl").read()
