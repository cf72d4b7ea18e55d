"""The decode loop on a Llama of two random layers, against transformers' `generate` and against itself.

Real here: torch and transformers. Not real: what the model says means nothing; its weights are large, so that a wrong
position, mask or row changes the reply.
"""

from collections import deque
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning_room.engines import Sampling
from tuning_room.engines.batch import WASTE, WIDER, Ask, alike, cut
from tuning_room.engines.decoding import SHORTEST_PREFIX, Decoder
from tuning_room.engines.kept import Kept, Known
from tuning_room.engines.lanes import install
from tuning_room.models import load_model

LONGEST = 10


@pytest.fixture(scope="module")
def plain(tiny_model: Path) -> Any:
    return load_model(tiny_model)


@pytest.fixture(scope="module")
def decoder(tiny_model: Path) -> Decoder:
    model: Any = load_model(tiny_model)
    install(model)
    return Decoder(model, {model.generation_config.eos_token_id})


def said(decoder: Decoder, prompts: list[list[int]], most: int = LONGEST) -> list[list[int]]:
    replies: list[list[int]] = [[] for _ in prompts]
    with torch.no_grad():
        for step in decoder.steps([Ask(i, "tiny", ids) for i, ids in enumerate(prompts)], Sampling(most)):
            for index, token in step:
                replies[index].append(token)
    return replies


def generated(plain: Any, prompt: list[int], ends: set[int]) -> list[int]:
    ids = torch.tensor([prompt])
    more = {"max_new_tokens": LONGEST, "do_sample": False, "eos_token_id": list(ends), "pad_token_id": 0}
    with torch.inference_mode():
        found = plain.generate(ids, attention_mask=torch.ones_like(ids), **more)
    return [int(token) for token in found[0, len(prompt) :]]


def drawn(seed: int, shared: int, count: int) -> list[list[int]]:
    torch.manual_seed(seed)
    start = torch.randint(1, 200, (shared,)).tolist()
    return [start + torch.randint(1, 200, (int(torch.randint(1, 30, ())),)).tolist() for _ in range(count)]


@pytest.mark.parametrize("shared", [0, 40])
@pytest.mark.parametrize("count", [1, 2, 9, 17])
def test_the_tokens_are_those_of_generate_for_every_batch_size(
    decoder: Decoder, plain: Any, shared: int, count: int
) -> None:
    prompts = drawn(count, shared, count)
    expected = [generated(plain, prompt, decoder.ends) for prompt in prompts]
    for _ in range(2):  # with nothing kept, and with all of it kept
        assert said(decoder, prompts) == expected


@pytest.mark.parametrize("shared", [0, 40])
def test_rows_that_end_leave_and_the_others_go_on(
    decoder: Decoder, plain: Any, shared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = drawn(3, shared, 12)
    # Half of the alphabet ends a turn, so that replies end at different steps.
    monkeypatch.setattr(decoder, "ends", {*range(0, 300, 8)})
    decoder.kept.clear()
    sizes = rows_read(decoder, monkeypatch)
    replies = said(decoder, prompts)
    assert replies == [generated(plain, prompt, decoder.ends) for prompt in prompts]
    lengths = {len(reply) for reply in replies}
    assert len(lengths) > 3 and min(sizes[1:]) < len(prompts) == max(sizes)


def rows_read(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the rows of each forward pass."""
    sizes: list[int] = []
    forward = decoder._forward

    def counted(batch: Any, new: list[list[int]], logits: int = 1) -> Any:
        sizes.append(len(new))
        return forward(batch, new, logits)

    monkeypatch.setattr(decoder, "_forward", counted)
    return sizes


def tokens_read(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the tokens a row of each forward pass, padding included."""
    widths: list[int] = []
    forward = decoder._forward

    def counted(batch: Any, new: list[list[int]], logits: int = 1) -> Any:
        widths.append(max(map(len, new)))
        return forward(batch, new, logits)

    monkeypatch.setattr(decoder, "_forward", counted)
    return widths


def test_who_waits_takes_the_place_of_who_has_ended(
    decoder: Decoder, plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = {"a": drawn(3, 40, 9), "b": drawn(4, 60, 7), "c": drawn(5, 0, 8)}
    prompts = [ids for group in groups.values() for ids in group]
    monkeypatch.setattr(decoder, "ends", {*range(0, 300, 8)})
    monkeypatch.setattr(decoder, "most", 8)
    decoder.kept.clear()
    sizes = rows_read(decoder, monkeypatch)
    named = [(name, ids) for name, group in groups.items() for ids in group]
    waiting = deque(Ask(place, "tiny", ids, name) for place, (name, ids) in enumerate(named))
    replies: dict[int, list[int]] = {place: [] for place in range(len(prompts))}
    follow = {0: [*range(20, 30)], 1: [*range(30, 60)]}  # what is asked in addition when these have ended
    with torch.no_grad():
        for step in decoder.steps(waiting, Sampling(LONGEST)):
            for place, token in step:
                replies.setdefault(place, []).append(token)
                if place in follow and not decoder.goes_on(replies[place], Sampling(LONGEST)):
                    more = [*prompts[place], *replies[place], *follow.pop(place)]
                    prompts.append(more)
                    waiting.appendleft(Ask(len(prompts) - 1, "tiny", more, "a"))
    assert len(prompts) == 26 and max(sizes) == 8
    assert replies == {i: generated(plain, prompt, decoder.ends) for i, prompt in enumerate(prompts)}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 99)), max_size=30).map(sorted))
def test_lanes_hold_rows_of_one_prefix_and_about_one_width(rows: list[tuple[int, int]]) -> None:
    prefixes, widths = [prefix for prefix, _ in rows], [width for _, width in rows]
    lanes = cut(prefixes, widths)
    assert [i for start, stop in lanes for i in range(start, stop)] == list(range(len(rows)))
    for start, stop in lanes:
        assert len({*prefixes[start:stop]}) == 1 and max(widths[start:stop]) <= WIDER * widths[start]


@pytest.mark.parametrize(
    ("prefixes", "widths", "lanes"),
    [
        ([], [], []),
        ([7], [10], [(0, 1)]),
        ([7, 7, 7], [10, 20, 21], [(0, 2), (2, 3)]),  # twice as wide as the first is the most
        ([7, 7, 7], [10, 20, 40], [(0, 2), (2, 3)]),  # as the lane's first, not as the row before
        ([7, 7, 9, 9], [10, 15, 12, 12], [(0, 2), (2, 4)]),
    ],
)
def test_a_lane_is_cut_where_it_must_be_and_nowhere_else(
    prefixes: list[int], widths: list[int], lanes: list[tuple[int, int]]
) -> None:
    assert cut(prefixes, widths) == lanes


@pytest.mark.parametrize(("shared", "count"), [(0, 1), (0, 4), (40, 1), (40, 4)])
def test_dialogues_that_go_on_are_not_read_again(
    decoder: Decoder, plain: Any, shared: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder.kept.clear()
    prompts = drawn(7, shared, count)
    widths = tokens_read(decoder, monkeypatch)
    for turn in range(4):
        widths.clear()
        replies = said(decoder, prompts)
        assert replies == [generated(plain, prompt, decoder.ends) for prompt in prompts]
        # A reply's last token and the three behind it are new.
        assert turn == 0 or widths[0] <= 4
        prompts = [
            [*prompt, *reply, 5, 6 + turn, 7 + i]
            for i, (prompt, reply) in enumerate(zip(prompts, replies, strict=True))
        ]


def test_a_kept_prefix_is_not_read_again(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder.kept.clear()
    prompts = drawn(11, 100, 6)
    widths = tokens_read(decoder, monkeypatch)
    said(decoder, prompts[:3])
    assert max(widths) >= 100
    widths.clear()
    alone, together = said(decoder, prompts[3:4]), said(decoder, prompts[3:])
    assert max(widths) < 60 and together[0] == alone[0]


def test_what_is_kept_of_one_model_is_not_taken_for_another() -> None:
    kept = Kept()
    kept.add(Known("base", [1, 2, 3], 0, torch.zeros(1, 2, 1, 3, 4)))
    assert kept.prefix("base", [1, 2, 9])[0] == 2
    assert kept.prefix("adapter", [1, 2, 9]) == (0, None)
    assert kept.row("adapter", [1, 2, 3, 4], 0, 3) is None


def test_the_oldest_goes_when_there_is_no_more_room_and_one_always_stays() -> None:
    states = torch.zeros(1, 2, 1, 3, 4)
    kept = Kept(most_bytes=2 * states.nbytes)
    for first in range(3):
        kept.add(Known("base", [first, 2, 3], 0, states))
    assert [kept.prefix("base", [first, 2])[0] for first in range(3)] == [0, 2, 2]
    kept.most_bytes = 1
    kept.add(Known("base", [9, 2, 3], 0, states))
    assert [kept.prefix("base", [first, 2])[0] for first in (2, 9)] == [0, 2]


TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=9)


@settings(max_examples=200, deadline=None)
@given(TOKENS, TOKENS, st.integers(0, 8), st.integers(0, 8))
def test_kept_states_are_those_of_the_tokens_that_agree(
    tokens: list[int], asked: list[int], first: int, start: int
) -> None:
    first = min(first, len(tokens) - 1)
    # A token's states are its place here, so that what comes back says where it is from.
    states = torch.arange(first, len(tokens), dtype=torch.float)[None, None, None, :, None].expand(1, 2, 1, -1, 1)
    kept = Kept()
    kept.add(Known("base", tokens, first, states))
    same = next((i for i, pair in enumerate(zip(tokens, asked, strict=False)) if pair[0] != pair[1]), None)
    same = min(len(tokens), len(asked)) if same is None else same
    found = kept.row("base", asked, start, len(asked))
    if first <= start < same:
        assert found[0, 0, 0, :, 0].tolist() == list(range(start, same))
    else:
        assert found is None
    assert kept.prefix("base", asked)[0] == (same if first == 0 else 0)


def test_a_repetition_penalty_counts_as_in_generate(
    decoder: Decoder, plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = drawn(13, 40, 3)
    without = said(decoder, prompts)
    for model in (decoder.model, plain):
        monkeypatch.setattr(model.generation_config, "repetition_penalty", 3.0)
    assert said(decoder, prompts) == [generated(plain, prompt, decoder.ends) for prompt in prompts] != without


def test_short_beginnings_are_computed_for_each(decoder: Decoder) -> None:
    decoder.kept.clear()
    with torch.no_grad():
        batch, _ = decoder.read("tiny", drawn(1, SHORTEST_PREFIX - 1, 3), [[]] * 3, 0)
        assert len(batch.rows[0].prefix) in (0, SHORTEST_PREFIX)
        assert len(decoder.read("tiny", drawn(1, 30, 3), [[]] * 3, 0)[0].rows[0].prefix) >= 30


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60))
def test_rows_are_read_beside_rows_of_about_their_length(lengths: list[int]) -> None:
    groups = alike(lengths)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert max(lengths[i] for i in group) * len(group) <= WASTE * sum(lengths[i] for i in group) + 1e-9


@pytest.mark.parametrize(
    ("lengths", "groups"),
    [
        ([], []),
        ([10, 50, 11, 48], [[0, 2], [3, 1]]),
        ([10, 6], [[1, 0]]),  # 2 x 10 is a quarter more than 16
        ([10, 5], [[1], [0]]),  # and more than a quarter more than 15
        ([10, 5, 10, 10], [[1], [0, 2, 3]]),  # what was read apart does not count again
        ([6, 10, 10], [[0, 1, 2]]),
    ],
)
def test_a_group_is_as_large_as_its_waste_allows(lengths: list[int], groups: list[list[int]]) -> None:
    assert alike(lengths) == groups
