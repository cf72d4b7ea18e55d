"""Twins among dialogues. Real here: MinHash, the bands, the comparison in full."""

import random

import pytest
from datasketch import MinHash
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh32_intdigest

from tuning_room.dataset.duplicates import PERMUTATIONS, RECALL, SAME, Duplicates, Twin, banding
from tuning_room.dataset.rare import COMPARED
from tuning_room.dataset.words import shingles, words


def twins(texts: list[str], threshold: float) -> dict[int, Twin]:
    found = [words(text) for text in texts]
    duplicates = Duplicates(threshold)
    for number, row in enumerate(found):
        duplicates.add(number, row)
    return dict(duplicates.twins(lambda number: found[number]))


def compared(texts: list[str], threshold: float) -> tuple[int, int]:
    """Return how many rows are dropped and how many pairs are compared in full for it."""
    found = [words(text) for text in texts]
    duplicates = Duplicates(threshold)
    for number, row in enumerate(found):
        duplicates.add(number, row)
    return len(list(duplicates.twins(lambda number: found[number]))), duplicates.compared


def jaccard(one: list[str], other: list[str]) -> float:
    mine, theirs = set(shingles(one)), set(shingles(other))
    return len(mine & theirs) / len(mine | theirs)


LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"


def test_twins_are_found_and_named() -> None:
    texts = [LONG, f"{LONG.upper()}!", f"{LONG} more", " ".join(reversed(LONG.split()))]
    found = twins(texts, 0.6)
    assert found == {1: Twin(0, SAME), 2: Twin(0, pytest.approx(14 / 15))}


def test_every_language_has_words() -> None:
    texts = ["Сколько будет семь плюс восемь?", "Где находится библиотека в городе?", "СКОЛЬКО будет семь плюс восемь"]
    assert twins(texts, 0.9) == {2: Twin(0, SAME)}


def test_a_threshold_of_one_leaves_all_that_differ() -> None:
    assert not twins([LONG, LONG.replace("nine", "other")], 1.0)


def test_a_twin_of_a_dropped_row_alone_is_kept() -> None:
    # The third is near the second and not near the first: the second is no row that it could repeat.
    texts = [LONG, f"{LONG} more", f"{LONG} more and much more"]
    found = [words(text) for text in texts]
    assert jaccard(found[1], found[2]) > 0.8 > jaccard(found[0], found[2])
    assert list(twins(texts, 0.8)) == [1]


@given(st.floats(0.05, 1))
def test_bands_find_the_stated_share_of_the_pairs_at_the_threshold(threshold: float) -> None:
    chosen = banding(threshold)
    assert chosen.bands * chosen.rows <= PERMUTATIONS
    assert chosen.found(threshold) >= RECALL
    # One more row a band would find too few, or the bands would compare more pairs than they need to.
    assert chosen.rows == PERMUTATIONS or banding_of(chosen.rows + 1, threshold) < RECALL


def banding_of(rows: int, similarity: float) -> float:
    return float(1 - (1 - similarity**rows) ** (PERMUTATIONS // rows))


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9])
def test_pairs_at_the_threshold_are_found_that_often(threshold: float) -> None:
    # Pairs of 90 words of which a run at the end differs: their similarity is just above the threshold.
    draw = random.Random(5)
    texts = []
    for _ in range(300):
        first = [f"{''.join(draw.choices('abcdefghij', k=6))}" for _ in range(90)]
        changed = next(n for n in range(90, 0, -1) if (88 - n) / (88 + n) >= threshold)
        texts += [" ".join(first), " ".join([*first[: 90 - changed], *reversed_tail(first, changed)])]
    pairs = [jaccard(words(texts[n]), words(texts[n + 1])) for n in range(0, len(texts), 2)]
    assert min(pairs) >= threshold
    assert len(twins(texts, threshold)) >= (RECALL - 0.02) * len(pairs)


def reversed_tail(text: list[str], count: int) -> list[str]:
    return [word[::-1] for word in text[len(text) - count :]]


TEXTS = st.lists(st.lists(st.sampled_from("ab ba cc 7 12 + why".split()), max_size=9).map(" ".join), max_size=12)


@given(TEXTS, st.sampled_from([0.3, 0.5, 0.9, 1.0]))
def test_what_is_dropped_has_a_kept_twin_before_it(texts: list[str], threshold: float) -> None:
    found = twins(texts, threshold)
    rows = [words(text) for text in texts]
    for number, twin in found.items():
        assert twin.row < number and twin.row not in found
        if twin.similarity == SAME:
            assert rows[number] == rows[twin.row]
        else:
            assert threshold <= twin.similarity == jaccard(rows[number], rows[twin.row])
    kept = [" ".join(row) for number, row in enumerate(rows) if number not in found]
    assert len(set(kept)) == len(kept)


STORY = (
    "A theatre in the old part of the town has {a} rows of seats and each of these rows has {b} seats in it, so the "
    "owner wants to know how many people can sit there. What would you get for {b} times ten, and then for {a}?"
)


def drawn(count: int, template: str, most: int) -> list[str]:
    draw = random.Random(8)
    return [template.format(a=draw.randint(2, most), b=draw.randint(2, most)) for _ in range(count)]


@pytest.mark.parametrize("most", [20, 100, 1000])
def test_rows_of_one_template_are_compared_with_a_few_others_and_not_with_all(most: int) -> None:
    # All share bands with each other, and with so few numbers many of the rare runs as well.
    rows = drawn(2000, STORY, most)
    dropped, pairs = compared(rows, 0.9)
    assert dropped == len(rows) - len(set(rows))
    assert pairs <= 4 * len(rows)


def test_a_row_that_repeats_the_common_words_of_many_is_compared_with_a_bounded_number() -> None:
    # Any two differ in one run that is no rarer than the others: nothing tells them apart before the text is read.
    rows = [f"{STORY} {first} {second}" for first in "abcdefghijklmnopqrstuvwxyz" for second in "abcdefghijklmnopq"]
    dropped, pairs = compared(rows, 1.0)
    assert dropped == 0
    assert pairs <= COMPARED * len(rows)


NUMBERS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)), min_size=2, max_size=40)


@given(NUMBERS, st.sampled_from([0.6, 0.75, 0.8, 0.9]))
def test_rare_runs_hide_no_twin(numbers: list[tuple[int, int, int]], threshold: float) -> None:
    texts = [f"{LONG} {a} apples and {b} pears and {c} plums how many {LONG}" for a, b, c in numbers]
    rows = [words(text) for text in texts]
    found = twins(texts, threshold)
    kept: list[int] = []
    for number, row in enumerate(rows):
        near = [other for other in kept if jaccard(row, rows[other]) >= threshold]
        # Bands miss one in a hundred at the threshold: a row is dropped if bands have it at all, and for the first.
        assert number not in found or found[number].row in near
        if number not in found:
            kept.append(number)
            assert not [other for other in near if shares_a_band(row, rows[other], threshold)]


def shares_a_band(one: list[str], other: list[str], threshold: float) -> bool:
    values = []
    for row in (one, other):
        sketch = MinHash(num_perm=PERMUTATIONS, hashfunc=xxh32_intdigest)
        sketch.update_batch([run.encode() for run in shingles(row)])
        values.append(sketch.hashvalues)
    bands, rows = banding(threshold)
    same = (values[0] == values[1])[: bands * rows].reshape(bands, rows)
    return bool(same.all(axis=1).any())
