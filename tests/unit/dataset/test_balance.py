"""How much of the dataset one value may take up. Real here: everything."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tuning_room.dataset.balance import Balancing
from tuning_room.dataset.config import Balance
from tuning_room.errors import StageError
from tuning_room.records import Candidate, Message


def rows(values: list[tuple[str, str]]) -> list[Candidate]:
    said = [Message(role="user", content="Why?")]
    return [
        Candidate(id=f"row-{n}", source="test", group="g", topic=topic, situation=situation, messages=said)
        for n, (topic, situation) in enumerate(values)
    ]


def kept(candidates: list[Candidate], seed: int = 3, **changes: Any) -> list[Candidate]:
    balancing = Balancing(Balance.model_validate(changes), seed)
    for number, candidate in enumerate(candidates):
        balancing.add(number, candidate)
    dropped = dict(balancing.surplus())
    assert all("no more than" in why for why in dropped.values())
    return [candidate for number, candidate in enumerate(candidates) if number not in dropped]


SKEWED = rows([("algebra", "plain")] * 80 + [("geometry", "plain")] * 15 + [("sums", "hurried")] * 5)


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, {"algebra": 80, "geometry": 15, "sums": 5}),
        ({"most": 10}, {"algebra": 10, "geometry": 10, "sums": 5}),
        ({"largest_share": 0.5}, {"algebra": 20, "geometry": 15, "sums": 5}),
        ({"largest_share": 0.4}, {"algebra": 10, "geometry": 10, "sums": 5}),
        ({"largest_share": 0.8}, {"algebra": 80, "geometry": 15, "sums": 5}),
        ({"largest_share": 0.5, "most": 7}, {"algebra": 7, "geometry": 7, "sums": 5}),
    ],
)
def test_the_largest_topics_are_cut_and_no_more_than_needed(changes: dict[str, Any], counts: dict[str, int]) -> None:
    assert Counter(row.topic for row in kept(SKEWED, **changes)) == counts


def test_a_share_that_no_choice_meets_is_an_error_that_says_what_would_do() -> None:
    with pytest.raises(StageError, match=r"only 3 values of 'topic'.* 0\.33"):
        kept(SKEWED, largest_share=0.2)


def test_the_seed_decides_which_rows_go_and_other_rows_do_not() -> None:
    names = {row.id for row in kept(SKEWED, most=10)}
    assert names == {row.id for row in kept(SKEWED[::-1], most=10)}
    assert names != {row.id for row in kept(SKEWED, most=10, seed=4)}


VALUES = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), min_size=1, max_size=60)


@given(VALUES, st.floats(0.5, 1), st.integers(1, 30) | st.none())
def test_every_named_field_is_within_its_bounds(values: list[tuple[str, str]], share: float, most: int | None) -> None:
    assume(len({topic for topic, _ in values}) > 1 and len({situation for _, situation in values}) > 1)
    try:
        left = kept(rows(values), by=["topic", "situation"], largest_share=share, most=most)
    except StageError:
        return  # cut by one field, the rows may all be of one value of the other
    assert left
    for field in ("topic", "situation"):
        largest = max(Counter(getattr(row, field) for row in left).values())
        assert largest <= share * len(left) + 1e-6
        assert most is None or largest <= most
