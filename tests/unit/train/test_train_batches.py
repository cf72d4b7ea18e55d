"""Rows drawn, ordered and packed: every token that is read, every label, and what rows share once."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_rows import dialogue

from tuning_room.errors import DataError
from tuning_room.models import load_tokenizer
from tuning_room.records import Dialogue, write_jsonl
from tuning_room.rendering import Rendered
from tuning_room.train.batches import (
    IGNORED,
    POOL,
    collate,
    computed_length,
    epoch_order,
    load_rows,
    read_length,
    shared_length,
    spread,
)


@st.composite
def rendered(draw: st.DrawFn) -> Rendered:
    ids = draw(st.lists(st.integers(0, 300), min_size=1, max_size=12))
    return Rendered(ids, draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids))))


@st.composite
def batches(draw: st.DrawFn) -> list[Rendered]:
    beginning = draw(st.lists(st.integers(0, 300), max_size=5))
    rests = draw(st.lists(rendered(), min_size=1, max_size=5))
    return [Rendered(beginning + ids, [False] * len(beginning) + learned) for ids, learned in rests]


@settings(max_examples=200, deadline=None)
@given(batches())
def test_packed_rows_hold_every_token_that_is_read_and_every_label(batch_rows: list[Rendered]) -> None:
    batch = collate(batch_rows)
    for number, row in enumerate(batch_rows):
        own = batch.packing.places[number, : read_length(row)]
        assert batch.input_ids[0, own].tolist() == row.input_ids[: len(own)]
        assert batch.position_ids[0, own].tolist() == list(range(len(own)))
        expected = [t if learn else IGNORED for t, learn in zip(row.input_ids, row.learned, strict=True)]
        assert batch.labels[0, own].tolist() == [*expected[1:], IGNORED][: len(own)]
        assert not any(row.learned[len(own) + 1 :])  # nothing is learned of what is not read


@settings(max_examples=200, deadline=None)
@given(batches())
def test_the_shared_beginning_is_packed_once(batch_rows: list[Rendered]) -> None:
    batch, shared = collate(batch_rows), shared_length(batch_rows)
    count = shared + sum(read_length(row) - shared for row in batch_rows)
    assert count == computed_length(batch_rows)
    width = max(map(read_length, batch_rows))
    assert batch.input_ids.shape == batch.labels.shape == batch.position_ids.shape == (1, count)
    assert batch.packing.places.shape == (len(batch_rows), width)
    # Scattering the rows and gathering them again ends at every packed place.
    assert batch.packing.places.flatten()[batch.packing.back].tolist() == list(range(count))
    # No token that is to be learned is shared: its loss would count once instead of once a row.
    assert not any(any(row.learned[: shared + 1]) for row in batch_rows) or shared == 0


def test_rows_that_begin_alike_share_that_but_for_one_token() -> None:
    rows = [Rendered([7, 8, 9, n], [False, False, False, True]) for n in (1, 2)]
    assert shared_length(rows) == 2
    assert shared_length(rows[:1]) == 0
    assert collate(rows).input_ids.tolist() == [[7, 8, 9, 9]]  # of what is learned the last token need not be read


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 99), min_size=1, max_size=200), st.integers(1, 9), st.integers(0, 9), st.integers(0, 3))
def test_an_epoch_has_every_row_once(lengths: list[int], size: int, seed: int, epoch: int) -> None:
    batches = epoch_order(lengths, size, seed, epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in batches)
    assert len(batches) == -(-len(lengths) // size)
    assert batches == epoch_order(lengths, size, seed, epoch)


def test_epochs_differ_and_rows_of_similar_length_stand_together() -> None:
    lengths = [(n * 37) % 101 + 1 for n in range(4 * POOL)]
    assert epoch_order(lengths, 4, 1, 0) != epoch_order(lengths, 4, 1, 1)
    spread = [
        max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in epoch_order(lengths, 4, 1, 0)
    ]
    assert max(spread) < 20


def test_rows_that_cannot_be_trained_on_are_named(tiny_model: Path, rows: tuple[Path, Path], tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    longest = max(len(row.input_ids) for row in load_rows(rows[0], tokenizer, 500).rendered)
    assert len(load_rows(rows[0], tokenizer, longest).rendered) == 14
    with pytest.raises(DataError, match=rf"row 'r\d+' has {longest} tokens, more than {longest - 1}"):
        load_rows(rows[0], tokenizer, longest - 1)
    (tmp_path / "none.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="no rows"):
        load_rows(tmp_path / "none.jsonl", tokenizer, 500)


def test_rows_that_are_left_out_are_counted(tiny_model: Path, rows: tuple[Path, Path]) -> None:
    tokenizer = load_tokenizer(tiny_model)
    whole = load_rows(rows[0], tokenizer, 500)
    lengths = sorted(len(row.input_ids) for row in whole.rendered)
    assert whole.left_out == 0
    found = load_rows(rows[0], tokenizer, lengths[5], leave_out=True)
    fitting = [number for number, row in enumerate(whole.rendered) if len(row.input_ids) <= lengths[5]]
    assert found.rendered == [whole.rendered[number] for number in fitting]
    assert found.dialogues == [whole.dialogues[number] for number in fitting]
    assert found.left_out == 14 - len(fitting) > 0
    with pytest.raises(DataError, match="no rows of at most 1 tokens"):
        load_rows(rows[0], tokenizer, 1, leave_out=True)


def test_a_row_without_a_reply_is_named_even_if_it_is_too_long(tiny_model: Path, tmp_path: Path) -> None:
    row = dialogue(1)
    write_jsonl(tmp_path / "rows.jsonl", [row.model_copy(update={"messages": row.messages[:-1]})])
    for longest in (1, 500):
        with pytest.raises(DataError, match=f"row '{row.id}' has no assistant turn"):
            load_rows(tmp_path / "rows.jsonl", load_tokenizer(tiny_model), longest, leave_out=True)


def test_the_rows_of_a_pool_are_cut_into_batches_by_length() -> None:
    lengths = [(n * 37) % 101 + 1 for n in range(3 * POOL)]
    batches = epoch_order(lengths, 3, 1, 0)
    by_length = sorted(batches, key=lambda batch: [lengths[row] for row in batch])
    assert [lengths[row] for batch in by_length for row in batch] == sorted(lengths)
    assert by_length != batches, "the batches come in no order of their length"
    # Another seed is another order.
    assert epoch_order([5] * 60, 3, 1, 0) != epoch_order([5] * 60, 3, 2, 0)


# --- rows drawn over the sources


def from_source(source: str, number: int) -> Dialogue:
    return dialogue(number).model_copy(update={"id": f"{source}-{number}", "source": f"{source}:{number}"})


def kinds_of(rows: list[Dialogue]) -> Counter[str]:
    return Counter(row.source.partition(":")[0] for row in rows)


sizes = st.dictionaries(st.sampled_from(["seeds", "family", "document", "teacher"]), st.integers(1, 40), min_size=1)


@given(sizes, st.integers(1, 60))
def test_the_first_rows_are_spread_evenly_over_the_sources(counts: dict[str, int], most: int) -> None:
    # File order: all of one source, then all of the next.
    rows = [from_source(kind, n) for kind, count in counts.items() for n in range(count)]
    found = spread(rows)
    assert sorted(row.id for row in found) == sorted(row.id for row in rows)
    first, total = kinds_of(found[:most]), sum(counts.values())
    for kind, count in counts.items():
        share = count / total
        assert abs(first[kind] - share * min(most, total)) <= 1.5 + share * len(counts) / 2
    assert found == spread(rows)


def test_of_nine_and_three_the_first_four_are_three_and_one() -> None:
    rows = [from_source("seeds", n) for n in range(3)] + [from_source("family", n) for n in range(9)]
    for most in (4, 8, 12):
        assert kinds_of(spread(rows)[:most]) == {"seeds": most // 4, "family": most * 3 // 4}


def test_of_a_file_as_many_rows_as_asked_for_come_from_all_sources(tiny_model: Path, tmp_path: Path) -> None:
    written = [from_source("seeds", n) for n in range(20)] + [from_source("family", n) for n in range(20, 40)]
    write_jsonl(tmp_path / "rows.jsonl", written)
    tokenizer = load_tokenizer(tiny_model)
    row_of = {row.messages[1].content: row for row in written}
    drawn = load_rows(tmp_path / "rows.jsonl", tokenizer, 500, most=6)
    assert kinds_of([row_of[turns[1].content] for turns in drawn.dialogues]) == {"family": 3, "seeds": 3}
    assert drawn == load_rows(tmp_path / "rows.jsonl", tokenizer, 500, most=6)
    # The rows that are trained on keep the order of the file.
    whole = load_rows(tmp_path / "rows.jsonl", tokenizer, 500)
    assert whole.dialogues == [row.messages for row in written]


def test_rows_that_are_left_out_make_room_for_others(tiny_model: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", [from_source("seeds", n) for n in range(14)])
    tokenizer = load_tokenizer(tiny_model)
    lengths = sorted(len(row.input_ids) for row in load_rows(tmp_path / "rows.jsonl", tokenizer, 500).rendered)
    drawn = load_rows(tmp_path / "rows.jsonl", tokenizer, lengths[5], leave_out=True, most=6)
    assert sorted(len(row.input_ids) for row in drawn.rendered) == lengths[:6]
