"""Which side a dialogue stands on. Real here: everything."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.dataset.config import DatasetConfig
from tuning_room.dataset.split import Split, problem_of
from tuning_room.records import Candidate, Message


def candidate(said: str, group: str, gold: str | None = None) -> Candidate:
    messages = [Message(role="user", content=said), Message(role="assistant", content="Why?")]
    return Candidate(id=group, source="test", group=group, gold=gold, messages=messages)


def sides(rows: list[Candidate], **changes: Any) -> list[bool]:
    split = Split(DatasetConfig.model_validate({"recipe": "r", "short_prompt": "s", "valid_fraction": 0.4, **changes}))
    for row in rows:
        split.add(row)
    return [bool(side) for side in split.valid()]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("What is 34 x 26?", "884"), ("A hall has 34 rows of 26 seats. How many?", "884"), True),
        (("Solve 6(x + 8) = 102.", "x = 9"), ("6 times x and 8 is 102, please", "9"), True),
        (("Three quarters of 1,200?", "0.9e3"), ("3/4 of 1200", "900"), True),
        (("What is 34 x 26?", "884"), ("What is 34 + 26?", "60"), False),
        (("Derive (2x + 1)^5.", "10(2x + 1)^4"), ("Derive (2x - 1)^5.", "10(2x - 1)^4"), False),
        (("What is 34 x 26?", "884"), ("What is 34 x 26? I got 12.", "884"), False),
    ],
)
def test_a_problem_is_its_numbers_and_its_answer(one: tuple[str, str], other: tuple[str, str], same: bool) -> None:
    first, second = (problem_of(candidate(said, "g", gold)) for said, gold in (one, other))
    assert first and second
    assert (first == second) is same


@pytest.mark.parametrize(("said", "gold"), [("Hello", "5"), ("What is 5?", "5"), ("What is 2 + 3?", None)])
def test_too_little_to_tell_problems_apart_is_no_problem(said: str, gold: str | None) -> None:
    assert problem_of(candidate(said, "g", gold)) == ""


def test_a_problem_from_two_sources_stands_on_one_side() -> None:
    pairs = []
    for n in range(40):
        pairs.append(candidate(f"What is {n} + 77?", f"family {n}", str(n + 77)))
        pairs.append(candidate(f"A shelf holds {n} books and 77 more. How many?", f"section {n}", str(n + 77)))
    by_problem, by_group = sides(pairs), sides(pairs, split_by="group")
    assert by_problem[::2] == by_problem[1::2] and 0 < sum(by_problem) < len(pairs)
    assert by_group[::2] != by_group[1::2]


ROWS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), min_size=1, max_size=30)


@given(ROWS, st.integers(0, 50))
def test_neither_a_group_nor_a_problem_is_on_both_sides(drawn: list[tuple[int, int]], seed: int) -> None:
    rows = [candidate(f"What is {n} + 77?", f"group {group}", str(n + 77)) for group, n in drawn]
    where = sides(rows, seed=seed)
    for key in (lambda row: row.group, problem_of):
        held: dict[str, bool] = {}
        assert all(held.setdefault(key(row), side) == side for row, side in zip(rows, where, strict=True))
    # The order of the rows decides nothing.
    assert sides(rows[::-1], seed=seed) == where[::-1]


@given(st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=30), st.integers(0, 50))
def test_without_a_shared_problem_both_ways_agree(groups: list[str], seed: int) -> None:
    rows = [candidate("Hello", group) for group in groups]
    assert sides(rows, seed=seed) == sides(rows, seed=seed, split_by="group")
