"""The metrics against replies that were read and labelled one by one. Real: the labels of tests/unit/checks/labelled.

`python benchmarks/metrics.py` prints the figures; docs/metrics.md says how they came about.
"""

import sys
from pathlib import Path

import pytest

from tuning_room.checks import Case

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import metrics as figures

# Precision and recall that a change of the rules must not go below.
FLOORS = {
    "acknowledges": (0.95, 0.90),
    "asks": (0.94, 0.90),
    "closes": (0.95, 0.90),
    "confirms": (0.97, 0.90),
    "endorses": (0.95, 0.90),
    "explains": (0.94, 0.83),
    "judges": (0.97, 0.88),
    "refuses": (0.98, 0.97),
    "repeats_itself": (0.97, 0.90),
    "steps_down": (0.90, 0.97),
    "tells": (0.88, 0.82),
}


def test_every_labelled_metric_has_a_floor_and_enough_labels() -> None:
    assert set(FLOORS) == {path.stem for path in figures.LABELLED.glob("*.jsonl")}
    for name in FLOORS:
        rows = figures.rows_of(name)
        assert len(rows) >= 60
        assert 0.3 < sum(row["label"] for row in rows) / len(rows) < 0.7
        assert {row["metric"] for row in rows} == {name}
        assert all(row["why"] for row in rows)


@pytest.mark.parametrize("name", FLOORS)
def test_a_metric_agrees_with_a_reader(name: str) -> None:
    found = figures.on_labels()[name]
    precision, recall = FLOORS[name]
    assert found.precision >= precision
    assert found.recall >= recall


def test_agreement_is_counted() -> None:
    pairs = [(True, True), (True, False), (False, True), (False, False), (True, True)]
    assert figures.agreement(pairs) == figures.Agreement(5, 3, 2 / 3, 2 / 3)
    assert figures.agreement([(False, False)]) == figures.Agreement(1, 0, 1, 1)


def test_the_turns_of_a_teacher_are_read(tmp_path: Path) -> None:
    file = tmp_path / "talks.jsonl"
    talk = "Teacher: (generic)Hi, how?|EOM|Student: I got\\n54|EOM|Teacher: (telling)No, it is 56"
    file.write_text(f'{{"question": "7 x 8?", "ground_truth": "7 x 8 = 56\\n $56", "conversation": "{talk}"}}\n')
    (first, hi, _), (move, words, case) = figures.teacher_turns(file)
    assert (first, hi, move, words) == ("generic", "Hi, how?", "telling", "No, it is 56")
    assert case == Case("7 x 8?\nI got 54", "56", latest="I got 54", previous=["Hi, how?"])
    measured = figures.on_mathdial(file, 1)
    assert measured["turns"] == 2
    assert measured["tells"] == {"replies": 2, "positive": 1, "precision": 1, "recall": 1}
    assert (measured["wrong_results"], measured["endorses"]) == (1, 0)
