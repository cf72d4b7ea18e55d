"""Which items of a suite are taken, and what is refused."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.errors import DataError
from tuning_room.evaluate.suites import read_items, spread
from tuning_room.records import Item, write_jsonl

KINDS = st.lists(st.sampled_from("abcde"), min_size=1, max_size=40)


def items_of(kinds: list[str]) -> list[Item]:
    return [Item(id=f"{n}", prompt="p", family=kind) for n, kind in enumerate(kinds)]


@given(KINDS, st.integers(1, 45), st.integers(0, 9))
def test_a_suite_is_spread_over_its_kinds(kinds: list[str], size: int, seed: int) -> None:
    items = items_of(kinds)
    taken = spread(items, size, seed)
    assert len(taken) == min(size, len(items)) and taken == spread(items, size, seed)
    assert [item for item in items if item in taken] == taken, "in the file's order"
    have, got = Counter(kinds), Counter(item.family for item in taken)
    for kind in have:
        # No kind has two more than another one that has items left.
        assert all(got[kind] <= got[other] + 1 for other in have if got[other] < have[other])


def test_a_topic_of_many_types_gets_no_more_than_the_others() -> None:
    items = [Item(id=f"a{n}", prompt="p", topic="a", type=f"t{n % 4}") for n in range(20)]
    items += [Item(id=f"b{n}", prompt="p", topic="b") for n in range(20)]
    taken = spread(items, 8, 1)
    assert Counter(item.topic for item in taken) == {"a": 4, "b": 4}
    assert {item.type for item in taken if item.topic == "a"} == {"t0", "t1", "t2", "t3"}


def test_another_seed_takes_others() -> None:
    items = items_of(list("aaaaaaaaaa"))
    assert len({tuple(item.id for item in spread(items, 3, seed)) for seed in range(9)}) > 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no items"),
        ([Item(id="a", prompt="p"), Item(id="a", prompt="q")], "2 items have the id 'a'"),
        ([Item(id="a", prompt="p", choices=["x", "y"], gold="z")], "a: gold is none of the choices"),
    ],
)
def test_items_that_cannot_be_used(tmp_path: Path, rows: list[Item], said: str) -> None:
    write_jsonl(tmp_path / "i.jsonl", rows)
    with pytest.raises(DataError, match=said):
        read_items(tmp_path / "i.jsonl")
