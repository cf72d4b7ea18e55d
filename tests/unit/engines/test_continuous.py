"""Replies to many who ask at once, each as if it were alone.

Real here: a Llama of two random layers, an adapter drawn for it, threads. Faked: that a choice or a step fails.
"""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from drawn_adapters import write_drawn_adapter
from tuning_room.engines import Drawing, Reply, ReplyPiece, Sampling, UnfitRequestError
from tuning_room.engines.continuous import ROOM, ReplyByReply, Turns
from tuning_room.engines.drawing import RowChooser, TextSoFar
from tuning_room.engines.local import LocalEngine
from tuning_room.errors import EngineError
from tuning_room.models import load_model
from tuning_room.records import Message
from tuning_room.rendering import prompt_ids

SYSTEM = "You are a guide who asks one question at a time, and never more than one."
LONG = 3 * ROOM
TWELVE = Sampling(12)


@pytest.fixture(scope="module")
def engine(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> LocalEngine:
    adapter = tmp_path_factory.mktemp("adapter")
    write_drawn_adapter(tiny_model, adapter)
    return LocalEngine(tiny_model, base="tiny", adapters={"drawn": adapter}, batch_size=6)


def asked(question: str, system: str = SYSTEM) -> list[Message]:
    turns = [Message(role="user", content=question)]
    return [Message(role="system", content=system), *turns] if system else turns


def reply_of(source: Any) -> tuple[list[ReplyPiece], Reply]:
    pieces = []
    while True:
        try:
            pieces.append(next(source))
        except StopIteration as end:
            return pieces, end.value


def at_once(work: Sequence[Callable[[], Any]], pause: float = 0.0) -> list[Any]:
    """Return what each piece of work, in a thread of its own, returns; they begin one `pause` after another."""
    found: list[Any] = [None] * len(work)

    def run(number: int) -> None:
        try:
            found[number] = work[number]()
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(work))]
    for thread in threads:
        thread.start()
        time.sleep(pause)
    for thread in threads:
        thread.join()
    return found


CASES = [
    (model, question, system, tokens)
    for model in ("tiny", "drawn")
    for question, system, tokens in [
        ("Why?", SYSTEM, LONG),
        ("Why not?", SYSTEM, 5),
        ("What is the longest river of all, and how long is it in the end?", SYSTEM, ROOM + 1),
        ("And now?", "", 20),
        ("So?", "Another system turn that nobody else has, of some length.", 30),
    ]
]


@pytest.mark.parametrize("pause", [0.0, 0.01])
def test_every_reply_is_what_it_is_alone(engine: LocalEngine, pause: float) -> None:
    expected = [engine.complete(m, [asked(q, s)], Sampling(n))[0] for m, q, s, n in CASES]
    engine.forget()
    work = [
        lambda case=case: reply_of(engine.pieces(case[0], asked(*case[1:3]), Sampling(case[3])))[1] for case in CASES
    ]
    assert at_once(work, pause) == expected


def test_where_rows_cannot_be_mixed_the_models_take_turns(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [engine.complete(m, [asked(q, s)], Sampling(n))[0] for m, q, s, n in CASES]
    monkeypatch.setattr(engine._decoder, "adapted", None)
    monkeypatch.setattr(engine._live, "_mixes", False)
    work = [
        lambda case=case: reply_of(engine.pieces(case[0], asked(*case[1:3]), Sampling(case[3])))[1] for case in CASES
    ]
    assert at_once(work) == expected


def test_where_rows_cannot_come_and_go_the_replies_take_turns(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [engine.complete(m, [asked(q, s)], Sampling(n))[0] for m, q, s, n in CASES]
    monkeypatch.setattr(engine, "_live", ReplyByReply(engine._steps))
    work = [
        lambda case=case: reply_of(engine.pieces(case[0], asked(*case[1:3]), Sampling(case[3])))[1] for case in CASES
    ]
    assert at_once(work) == expected
    source = engine.pieces("tiny", asked("Why?"), Sampling(1500))
    next(source)
    source.close()
    with pytest.raises(UnfitRequestError, match="temperature and seed alone"):
        next(engine.pieces("tiny", asked("Why?"), Sampling(3), Drawing(top_p=0.5)))


def test_drawn_replies_depend_on_their_seed_and_not_on_their_company(engine: LocalEngine) -> None:
    def drawn(seed: int) -> str:
        return reply_of(engine.pieces("tiny", asked("Why?"), Sampling(30, 1.0, seed)))[1].text

    alone = [drawn(seed) for seed in range(5)]
    assert len(set(alone)) == 5
    assert at_once([lambda seed=seed: drawn(seed) for seed in range(5)]) == alone


def test_one_that_leaves_or_fails_does_not_disturb_the_others(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (expected,) = engine.complete("drawn", [asked("Why?")], Sampling(LONG))
    choose = RowChooser.__call__

    def failing(self: RowChooser, row: Any, scores: Any, likeliest: int) -> Any:
        if self.presence == 1.5 and len(row.reply) == 3:
            raise ValueError("no such choice")
        return choose(self, row, scores, likeliest)

    monkeypatch.setattr(RowChooser, "__call__", failing)

    def leave() -> None:
        source = engine.pieces("tiny", asked("Why?"), Sampling(2000))
        next(source)
        source.close()

    stays, _, failed = at_once(
        [
            lambda: reply_of(engine.pieces("drawn", asked("Why?"), Sampling(LONG)))[1],
            leave,
            lambda: reply_of(engine.pieces("tiny", asked("Why?"), Sampling(50), Drawing(presence_penalty=1.5))),
        ]
    )
    assert stays == expected
    assert isinstance(failed, EngineError) and "no such choice" in str(failed)


def test_an_error_of_the_forward_pass_reaches_all_and_the_engine_goes_on(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:

        def fail(*_args: Any) -> Any:
            raise MemoryError("no room")

        patched.setattr(engine._decoder, "advance", fail)
        work = [lambda: reply_of(engine.pieces("tiny", asked("Why?"), Sampling(5)))] * 3
        assert all("no room" in str(error) for error in at_once(work))
    assert reply_of(engine.pieces("tiny", asked("Why?"), Sampling(5)))[1].completion_tokens == 5


def test_the_thread_ends_when_there_is_nothing_to_do(engine: LocalEngine) -> None:
    reply_of(engine.pieces("tiny", asked("Why?"), Sampling(3)))
    deadline = time.monotonic() + 5
    while any(thread.name == "continuous-batch" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_whoever_needs_the_model_for_something_else_gets_it_between_two_tokens(engine: LocalEngine) -> None:
    source = engine.pieces("tiny", asked("Why?"), Sampling(1500))
    next(source)
    assert engine.complete("drawn", [asked("Why?")], Sampling(1))
    assert any(thread.name == "continuous-batch" for thread in threading.enumerate())
    source.close()


def test_turns_are_taken_in_order() -> None:
    turns, order = Turns(), list[int]()

    def take(number: int) -> None:
        with turns:
            order.append(number)

    with turns:
        threads = [threading.Thread(target=take, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
            time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert order == list(range(6))


def test_scores_are_those_of_plain_transformers(engine: LocalEngine, tiny_model: Path) -> None:
    pieces, reply = reply_of(engine.pieces("tiny", asked("Why?"), Sampling(8), Drawing(logprobs=3)))
    scored = [one for piece in pieces for one in piece.scored]
    ids = torch.tensor([prompt_ids(engine.tokenizer, asked("Why?"))])
    plain: Any = load_model(tiny_model)
    with torch.inference_mode():
        said = plain.generate(ids, max_new_tokens=8, do_sample=False)
        logprobs = plain(said).logits[0, ids.shape[1] - 1 : -1].log_softmax(-1)
    expected = [float(row[token]) for row, token in zip(logprobs, said[0, ids.shape[1] :], strict=True)]
    assert [one.logprob for one in scored] == pytest.approx(expected[: len(scored)], abs=1e-4)
    assert len(scored) == reply.completion_tokens
    assert [value for _, value in scored[0].likeliest] == pytest.approx(logprobs[0].topk(3).values.tolist(), abs=1e-4)


def tokens_of(engine: LocalEngine, drawing: Drawing, sampling: Sampling = TWELVE) -> list[int]:
    ask, start = engine._live_ask("tiny", asked("Why?"))
    return [chosen.token for chosen in engine._live.answer(ask, start, sampling, drawing)]


def test_biases_penalties_and_cuts_change_what_is_chosen(engine: LocalEngine) -> None:
    greedy = tokens_of(engine, Drawing())
    assert tokens_of(engine, Drawing(biases=((65, 100.0),))) == [65] * 12
    assert greedy[0] not in tokens_of(engine, Drawing(biases=((greedy[0], -100.0),)))
    assert len({*tokens_of(engine, Drawing(presence_penalty=2.0, frequency_penalty=2.0))}) > len({*greedy}) - 1
    hot = Sampling(12, 2.0, 1)
    for cut in (Drawing(top_k=1), Drawing(top_p=1e-6), Drawing(min_p=1.0)):
        assert tokens_of(engine, cut, hot) == greedy
    assert tokens_of(engine, Drawing(), hot) != greedy
    assert tokens_of(engine, Drawing(stop_tokens=(greedy[0],))) == greedy[:1]
    _, reply = reply_of(engine.pieces("tiny", asked("Why?"), Sampling(12), Drawing(stop_tokens=(greedy[0],))))
    assert (reply.text, reply.finish_reason, reply.completion_tokens) == ("", "stop", 0)
    with pytest.raises(UnfitRequestError, match="no token 99999"):
        next(engine.pieces("tiny", asked("Why?"), Sampling(2), Drawing(biases=((99999, 1.0),))))


def test_a_text_is_continued_without_a_template(engine: LocalEngine) -> None:
    assert engine.prompt_tokens("Hello") < engine.prompt_tokens(asked("Hello", ""))
    _, reply = reply_of(engine.pieces("tiny", "Hello", Sampling(4)))
    assert reply.prompt_tokens == engine.prompt_tokens("Hello")


def test_a_character_of_several_tokens_comes_whole(engine: LocalEngine) -> None:
    tokens = engine.tokenizer("Grüße 🎓!", add_special_tokens=False)["input_ids"]
    text = TextSoFar(engine.tokenizer)
    pieces = [text.add(token) for token in tokens]
    assert "".join(pieces) == "Grüße 🎓!" and not any("\ufffd" in piece for piece in pieces)
    cut = TextSoFar(engine.tokenizer)
    assert "".join([*(cut.add(token) for token in tokens[:-2]), cut.rest()]).startswith("Grüße ")
