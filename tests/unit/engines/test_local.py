"""The in-process engine on a Llama of two random layers. Real here: torch, transformers, PEFT, the shared-prefix cache.

Not real: what the model says means nothing. The random weights are large, so that a wrong position, a wrong mask or
a mixed-up row changes the reply.
"""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning_room.engines import Engine, Reply, Sampling, Talk
from tuning_room.engines.decoding import SHORTEST_PREFIX
from tuning_room.engines.local import LocalEngine, even_batches
from tuning_room.errors import EngineError
from tuning_room.models import load_model
from tuning_room.records import Message
from tuning_room.rendering import prompt_ids, shared_prefix

GREEDY = Sampling(max_tokens=12)
SYSTEM = "You are a tutor who asks one question at a time."
QUESTIONS = ["Hi", "What is 3 x 4?", "Why?", "A much longer question about seven apples and nine pears", "7", "Größe?"]


@pytest.fixture(scope="module")
def engine(tiny_model: Path, adapter: Path) -> LocalEngine:
    return LocalEngine(tiny_model, base="tiny", adapters={"tutor": adapter}, batch_size=4)


def asked(question: str, system: str = SYSTEM) -> list[Message]:
    turns = [Message(role="user", content=question)]
    return [Message(role="system", content=system), *turns] if system else turns


@pytest.mark.parametrize("model", ["tiny", "tutor"])
@pytest.mark.parametrize("system", [SYSTEM, ""])
def test_a_batch_says_what_each_dialogue_says_alone(engine: LocalEngine, model: str, system: str) -> None:
    dialogues = [asked(question, system) for question in QUESTIONS]
    alone = [engine.complete(model, [dialogue], GREEDY)[0] for dialogue in dialogues]
    assert engine.complete(model, dialogues, GREEDY) == alone
    assert len({reply.text for reply in alone}) > 3
    ids = [prompt_ids(engine.tokenizer, dialogue) for dialogue in dialogues]
    assert (len(shared_prefix(ids)) >= SHORTEST_PREFIX) is (system == SYSTEM)


def test_replies_are_those_of_plain_transformers(engine: LocalEngine, tiny_model: Path) -> None:
    plain: Any = load_model(tiny_model)
    dialogues = [asked(question) for question in QUESTIONS]
    for dialogue, reply in zip(dialogues, engine.complete("tiny", dialogues, GREEDY), strict=True):
        ids = torch.tensor([prompt_ids(engine.tokenizer, dialogue)])
        with torch.inference_mode():
            said = plain.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        text = engine.tokenizer.decode(said[0, ids.shape[1] :], skip_special_tokens=True)
        assert reply.text == str(text).strip()
        assert reply.prompt_tokens == ids.shape[1]


def test_the_adapter_is_on_under_its_own_name_only(engine: LocalEngine, tiny_model: Path) -> None:
    bare = LocalEngine(tiny_model, base="tiny")
    assert (bare.models(), engine.models()) == (["tiny"], ["tiny", "tutor"])
    dialogues = [asked(question) for question in QUESTIONS]
    expected = bare.complete("tiny", dialogues, GREEDY)
    for _ in range(2):
        assert engine.complete("tiny", dialogues, GREEDY) == expected
        assert engine.complete("tutor", dialogues, GREEDY) != expected


def test_with_and_without_the_adapter_in_one_batch(engine: LocalEngine) -> None:
    talks = [
        Talk(model, asked(question, system), turns)
        for model in ("tiny", "tutor")
        for system in (SYSTEM, "")
        for question, turns in zip(QUESTIONS, [["And?", "So?"], [], ["Why not?"], [], [], []], strict=True)
    ]
    heard: list[int] = []
    found = engine.converse(talks, GREEDY, lambda place, _: heard.append(place))
    assert found == Engine.converse(engine, talks, GREEDY)  # turn by turn and model by model
    assert found == [engine.converse([talk], GREEDY)[0] for talk in talks]
    assert [len(replies) for replies in found] == [1 + len(talk.turns) for talk in talks]
    assert sorted(heard) == sorted(place for place, replies in enumerate(found) for _ in replies)
    assert found[: len(QUESTIONS)] != found[2 * len(QUESTIONS) : 3 * len(QUESTIONS)]
    with pytest.raises(EngineError, match="'other' is not served here"):
        engine.converse([*talks, Talk("other", asked("Hi"))], GREEDY)


@pytest.mark.parametrize("kind", ["narrow_adapter", "dora_adapter"])
def test_two_adapters_of_one_base_say_what_each_says_alone(
    engine: LocalEngine, tiny_model: Path, adapter: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    other: Path = request.getfixturevalue(kind)
    both = LocalEngine(tiny_model, base="tiny", adapters={"tutor-0.2": adapter, "narrow": other}, batch_size=4)
    assert both.models() == ["tiny", "tutor-0.2", "narrow"]
    assert bool(both._decoder.adapted) == (kind == "narrow_adapter"), "in one batch, or one after the other"
    alone = LocalEngine(tiny_model, base="tiny", adapters={"narrow": other}, batch_size=4)
    dialogues = [asked(question) for question in QUESTIONS]
    expected = {
        "tiny": engine.complete("tiny", dialogues, GREEDY),
        "tutor-0.2": engine.complete("tutor", dialogues, GREEDY),
        "narrow": alone.complete("narrow", dialogues, GREEDY),
    }
    assert len({tuple(reply.text for reply in replies) for replies in expected.values()}) == 3
    talks = [Talk(name, dialogue) for dialogue in dialogues for name in expected]
    found = [replies[0] for replies in both.converse(talks, GREEDY)]
    assert {name: found[place::3] for place, name in enumerate(expected)} == expected
    for name in ("narrow", "tiny", "tutor-0.2", "narrow"):
        assert both.complete(name, dialogues, GREEDY) == expected[name]
    answers = ["Four apples.", "Why not?"]
    likely = [[score.total for score in e.log_likelihoods("narrow", dialogues[:2], answers)] for e in (both, alone)]
    assert likely[0] == pytest.approx(likely[1], rel=1e-4)
    moved = alone.divergence(["Seven apples and nine pears."], "narrow", "tiny")
    assert both.divergence(["Seven apples and nine pears."], "narrow", "tiny").mean == pytest.approx(moved.mean)


def test_an_adapter_of_another_kind_is_not_mixed_with_the_base(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    talks = [Talk(model, asked(question)) for question in QUESTIONS for model in ("tiny", "tutor")]
    expected = engine.converse(talks, GREEDY)
    monkeypatch.setattr(engine._decoder, "adapted", None)
    ready: list[str] = []
    hold = engine._ready
    monkeypatch.setattr(engine, "_ready", lambda model: (ready.append(model), hold(model))[1])
    assert engine.converse(talks, GREEDY) == expected and ready == ["tiny", "tutor"]


def test_an_unknown_name_is_refused(engine: LocalEngine) -> None:
    with pytest.raises(EngineError, match="'other' is not served here; name one of tiny, tutor"):
        engine.complete("other", [asked("Hi")], GREEDY)
    with pytest.raises(EngineError, match="'other'"):
        list(engine.stream("other", asked("Hi"), GREEDY))
    # A refusal leaves the engine usable.
    assert engine.complete("tiny", [asked("Hi")], GREEDY)


def test_replies_are_heard_of_once_each_and_come_in_order(engine: LocalEngine) -> None:
    heard: dict[int, Reply] = {}
    replies = engine.complete("tiny", [asked(q) for q in QUESTIONS], GREEDY, heard.__setitem__)
    assert heard == dict(enumerate(replies)) and len(replies) == len(QUESTIONS)
    assert engine.complete("tiny", [], GREEDY) == []


def test_a_reply_ends_at_its_limit_or_at_the_end_of_its_turn(engine: LocalEngine) -> None:
    (short,) = engine.complete("tiny", [asked("Why?")], Sampling(max_tokens=3))
    assert (short.completion_tokens, short.finish_reason) == (3, "length")
    end, filler = engine.tokenizer.eos_token_id, engine.tokenizer.pad_token_id
    said = engine.tokenizer("So?", add_special_tokens=False)["input_ids"]
    assert engine._reply([*said, end, filler, filler], 9) == Reply("So?", "stop", 9, len(said))
    assert engine._reply(said, 9) == Reply("So?", "length", 9, len(said))
    assert engine._reply([end], 9) == Reply("", "stop", 9, 0)


def test_drawn_replies_depend_on_their_seed(engine: LocalEngine) -> None:
    def drawn(seed: int) -> str:
        return engine.complete("tiny", [asked("Why?")], Sampling(24, 1.0, seed))[0].text

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(4)}) > 1


def test_a_stream_holds_the_whole_reply(engine: LocalEngine) -> None:
    for model in ("tiny", "tutor"):
        (whole,) = engine.complete(model, [asked("Why?")], GREEDY)
        stream = engine.stream(model, asked("Why?"), GREEDY)
        pieces = []
        while True:
            try:
                pieces.append(next(stream))
            except StopIteration as end:
                assert end.value == whole
                break
        assert "".join(pieces).strip() == whole.text


def test_a_reader_that_leaves_stops_the_model(engine: LocalEngine) -> None:
    before = threading.active_count()
    stream = engine.stream("tiny", asked("Why?"), Sampling(max_tokens=400))
    next(stream)
    stream.close()
    # The engine is free again at once, though the reply had hundreds of tokens to go.
    assert engine.complete("tiny", [asked("Hi")], Sampling(max_tokens=1))
    assert threading.active_count() <= before + 1


def test_threads_wait_for_each_other(engine: LocalEngine) -> None:
    expected = {model: engine.complete(model, [asked("Why?")], GREEDY) for model in ("tiny", "tutor")}
    found: list[bool] = []

    def ask(model: str) -> None:
        found.append(engine.complete(model, [asked("Why?")], GREEDY) == expected[model])

    threads = [threading.Thread(target=ask, args=(model,)) for model in ("tiny", "tutor") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8


PROMPTS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=1, max_size=6)


@settings(max_examples=300, deadline=None)
@given(PROMPTS, st.lists(st.integers(0, 3), max_size=6))
def test_the_shared_prefix_is_the_longest_that_leaves_each_a_token(ends: list[list[int]], start: list[int]) -> None:
    prompts = [start + end for end in ends]
    prefix = shared_prefix(prompts)
    length = len(prefix)
    assert all(ids[:length] == prefix and len(ids) > length for ids in prompts)
    is_spent = any(len(ids) == length + 1 for ids in prompts)
    assert is_spent or len({ids[length] for ids in prompts}) > 1
    assert length >= len(start) or is_spent


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 9), max_size=40), st.integers(1, 12))
def test_batches_are_even_and_sorted_by_length(lengths: list[int], most: int) -> None:
    batches = even_batches(lengths, most)
    order = [i for batch in batches for i in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[i] for i in order] == sorted(lengths)
    sizes = [len(batch) for batch in batches]
    assert len(sizes) == -(-len(lengths) // most) and max(sizes, default=0) - min(sizes, default=0) <= 1
