"""Log-likelihoods, divergence and timing on a Llama of two random layers, against transformers and PEFT alone."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tuning_room.engines import Sampling
from tuning_room.engines.batch import DecodeBatch
from tuning_room.engines.local import LocalEngine
from tuning_room.engines.timing import QUESTIONS, batch_rate, prompt_length, timed
from tuning_room.errors import EngineError, RenderingError
from tuning_room.models import load_adapter, load_model
from tuning_room.records import Message
from tuning_room.rendering import prompt_ids, shared_prefix

SYSTEM = "You are a tutor who asks one question at a time."
PAIRS = [("Hi", "Yes"), ("What is 3 x 4?", "12"), ("What is 3 x 4?", "It is eleven."), ("Why?", "7"), ("Größe?", "ä")]
TEXTS = ["The quick brown fox.", "Snow fell all night " * 60, "", "x"]


@pytest.fixture(scope="module")
def engine(tiny_model: Path, adapter: Path) -> LocalEngine:
    return LocalEngine(tiny_model, base="tiny", adapters={"tutor": adapter}, batch_size=3)


@pytest.fixture(scope="module")
def plain(tiny_model: Path, adapter: Path) -> Any:
    return load_adapter(load_model(tiny_model), adapter)


def scores(plain: Any, model: str, ids: list[int]) -> torch.Tensor:
    """Return log-probabilities, (tokens, vocabulary), by transformers and PEFT without our code."""
    with torch.inference_mode():
        if model == "tutor":
            found = plain(input_ids=torch.tensor([ids])).logits
        else:
            with plain.disable_adapter():
                found = plain(input_ids=torch.tensor([ids])).logits
    return torch.as_tensor(found[0].log_softmax(-1))


def asked(question: str, system: str) -> list[Message]:
    turns = [Message(role="user", content=question)]
    return [Message(role="system", content=system), *turns] if system else turns


@pytest.mark.parametrize("model", ["tiny", "tutor"])
@pytest.mark.parametrize("system", [SYSTEM, ""])
def test_log_likelihoods_are_those_of_a_direct_computation(
    engine: LocalEngine, plain: Any, model: str, system: str
) -> None:
    dialogues = [asked(question, system) for question, _ in PAIRS]
    engine.forget()
    for _ in range(2):  # with nothing kept, and with the prompts kept
        found = engine.log_likelihoods(model, dialogues, [answer for _, answer in PAIRS])
        for score, dialogue, (_, answer) in zip(found, dialogues, PAIRS, strict=True):
            prompt = prompt_ids(engine.tokenizer, dialogue)
            said: list[int] = list(engine.tokenizer(answer, add_special_tokens=False)["input_ids"])  # type: ignore[arg-type]
            each = scores(plain, model, prompt + said)[len(prompt) - 1 : -1]
            expected = sum(float(each[i, token]) for i, token in enumerate(said))
            assert score.total == pytest.approx(expected, abs=1e-3)
            assert score.tokens == len(said)
            assert score.is_greedy is (each.argmax(-1).tolist() == said)
        engine.complete(model, dialogues, Sampling(max_tokens=2))


def test_a_question_with_several_answers_is_read_once(
    tiny_model: Path, adapter: Path, plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LocalEngine(tiny_model, base="tiny", adapters={"tutor": adapter}, batch_size=9)
    decoder, read = engine._decoder, 0
    forward = decoder._forward

    def counted(batch: DecodeBatch, new: list[list[int]], logits: int = 1) -> torch.Tensor:
        nonlocal read
        read += sum(map(len, new))
        return forward(batch, new, logits)

    monkeypatch.setattr(decoder, "_forward", counted)
    questions, answers = ["Why is it so, and since when?", "Hi", "What?"], ["Yes", "No, not at all.", "So"]
    dialogues = [asked(question, SYSTEM) for question in questions for _ in answers]
    found = engine.log_likelihoods("tutor", dialogues, answers * len(questions))
    prompts = [prompt_ids(engine.tokenizer, dialogue) for dialogue in dialogues]
    said: list[list[int]] = [list(engine.tokenizer(a, add_special_tokens=False)["input_ids"]) for a in answers]  # type: ignore[arg-type]
    for score, prompt, answer in zip(found, prompts, said * len(questions), strict=True):
        each = scores(plain, "tutor", prompt + answer)[len(prompt) - 1 : -1]
        assert score.total == pytest.approx(sum(float(each[i, token]) for i, token in enumerate(answer)), abs=1e-3)
    # Each prompt once, and for each of its answers its last token and what is asked of the answer.
    assert read <= sum(map(len, prompts[:: len(answers)])) + len(questions) * sum(map(len, said))


def test_what_is_said_greedily_is_found_greedy(engine: LocalEngine) -> None:
    for question in ("Why?", "Hi"):
        reply = engine.complete("tiny", [asked(question, SYSTEM)], Sampling(max_tokens=3))[0].text
        if reply and engine.tokenizer.decode(engine.tokenizer(reply)["input_ids"]) == reply:
            break
    else:
        pytest.fail("no reply that is text again")
    right, wrong = engine.log_likelihoods("tiny", [asked(question, SYSTEM)] * 2, [reply[:1], "#" + reply[1:]])
    assert right.is_greedy and not wrong.is_greedy and right.total > wrong.total


def test_an_answer_without_tokens_is_refused(engine: LocalEngine) -> None:
    with pytest.raises(RenderingError, match="no tokens of its own"):
        engine.log_likelihoods("tiny", [asked("Hi", "")], [""])
    with pytest.raises(EngineError, match="'other' is not served"):
        engine.log_likelihoods("other", [asked("Hi", "")], ["Yes"])
    assert engine.log_likelihoods("tiny", [], []) == []


def test_divergence_is_that_of_a_direct_computation(engine: LocalEngine, plain: Any) -> None:
    short = [text for text in TEXTS if len(text) < 100]
    found = engine.divergence(short, "tutor", "tiny")
    expected, tokens = 0.0, 0
    for text in short:
        ids: list[int] = list(engine.tokenizer(text)["input_ids"])  # type: ignore[arg-type]
        if len(ids) > 1:
            first, second = (scores(plain, model, ids)[:-1] for model in ("tutor", "tiny"))
            expected += float(torch.nn.functional.kl_div(second, first, reduction="sum", log_target=True))
            tokens += len(ids) - 1
    assert found.tokens == tokens > 10
    assert found.mean == pytest.approx(expected / tokens, rel=1e-4) and found.mean > 0.01


def test_divergence_of_long_texts_and_of_none(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuning_room.engines.scoring.WINDOW", 100)
    lengths = [len(engine.tokenizer(text)["input_ids"]) for text in TEXTS]  # type: ignore[arg-type]
    assert engine.divergence(TEXTS, "tutor", "tiny").tokens == sum(max(length - 1, 0) for length in lengths)
    assert engine.divergence(TEXTS[:1], "tiny", "tiny").mean == pytest.approx(0, abs=1e-6)
    assert engine.divergence([], "tutor", "tiny") == (0.0, 0)


def test_a_timed_request_finds_the_cache_as_it_says(engine: LocalEngine) -> None:
    first, second = (prompt_ids(engine.tokenizer, asked(QUESTIONS[number], SYSTEM)) for number in (0, 1))
    system = len(shared_prefix([first, second]))
    kept = engine._decoder.kept
    timed(engine, "tutor", SYSTEM, 0, cached=False, max_tokens=4)
    # What the next request finds: the system prompt, but not its own question.
    assert system > len(SYSTEM) // 4 and kept.prefix("tutor", second)[0] == system < len(second) - 1
    timed(engine, "tutor", SYSTEM, 1, cached=True, max_tokens=4)
    assert kept.prefix("tutor", first)[0] >= len(first) - 1
    timed(engine, "tutor", SYSTEM, 1, cached=False, max_tokens=4)
    assert kept.prefix("tutor", first)[0] == system


def test_timing_measures_seconds_and_rates(engine: LocalEngine) -> None:
    found = timed(engine, "tutor", SYSTEM, 0, cached=False, max_tokens=4)
    assert 0 < found.first_token_seconds < 60 and found.tokens_per_second > 0
    assert timed(engine, "tutor", SYSTEM, 0, cached=False, max_tokens=1).tokens_per_second == 0
    assert batch_rate(engine, "tutor", SYSTEM, 4) > 0
    assert prompt_length(engine, SYSTEM) == len(prompt_ids(engine.tokenizer, asked(QUESTIONS[0], SYSTEM)))
