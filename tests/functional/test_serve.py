"""The server as its users meet it.

Real here: the embedded model, a PEFT adapter on it (drawn, not trained), uvicorn on a port, and OpenAI's own client.
The right answers come from transformers and PEFT alone, without this project's engine. Not real: a trained adapter.
"""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from drawn_adapters import write_small_run
from tuning_room.engines import Sampling, Talk
from tuning_room.engines.local import LocalEngine
from tuning_room.models import base_name
from tuning_room.models.lineage import read_lineage
from tuning_room.records import Message
from tuning_room.serve import open_engine
from tuning_room.serve.config import ServeConfig
from tuning_room.serve.server import bound_socket, create_app
from tuning_room.workspace import Workspace

MODEL = "embedded:smollm2-135m"


class Served(NamedTuple):
    """A running server, what it serves, and the right answers."""

    client: Any
    base: str
    adapter: str
    engine: LocalEngine
    right: Any

    def ask(self, model: str, **more: Any) -> Any:
        """Ask the question of a served model."""
        fields = {"messages": self.right.question, "max_tokens": self.right.tokens, "temperature": 0, **more}
        return self.client.chat.completions.create(model=model, **fields)

    def stream(self, model: str, **more: Any) -> list[str]:
        """Return the pieces of the streamed answer."""
        chunks = self.ask(model, stream=True, **more)
        return [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]


@pytest.fixture(scope="module")
def served(small_run: Path, peft_answers: Any) -> Iterator[Served]:
    """Serve the small run on a free port, in a thread."""
    import uvicorn
    from openai import OpenAI

    engine = open_engine(ServeConfig(model=MODEL, recipe="small"), Workspace(small_run))
    assert isinstance(engine, LocalEngine)
    with bound_socket("127.0.0.1", 0) as bound:
        server = uvicorn.Server(uvicorn.Config(create_app(engine), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        with OpenAI(base_url=f"http://127.0.0.1:{bound.getsockname()[1]}/v1", api_key="none") as client:
            base, adapter = engine.models()
            yield Served(client, base, adapter, engine, peft_answers)
        server.should_exit = True
        thread.join(timeout=20)


def test_lists_the_base_and_the_adapter_under_their_names(served: Served, small_run: Path) -> None:
    names = [model.id for model in served.client.models.list()]
    assert names == [base_name(MODEL), read_lineage(small_run / "adapter").name]


def test_the_two_models_give_the_answers_that_peft_gives(served: Served) -> None:
    assert served.ask(served.base).choices[0].message.content == served.right.base
    assert served.ask(served.adapter).choices[0].message.content == served.right.adapter
    assert served.right.base != served.right.adapter


def test_two_recipes_adapters_are_served_from_one_base_model(
    small_run: Path, embedded_model: Path, peft_answers: Any, tmp_path: Path
) -> None:
    other = Workspace(write_small_run(embedded_model, tmp_path / "other", "other", seed=4))
    engine = open_engine(ServeConfig(model=MODEL, recipe="small"), Workspace(small_run), other)
    base, small, second = engine.models()
    assert (base, small.split("-")[0], second.split("-")[0]) == (base_name(MODEL), "small", "other")
    question = [Message.model_validate(turn) for turn in peft_answers.question]
    talks = [Talk(name, question) for name in (second, base, small)]
    said = [replies[0].text for replies in engine.converse(talks, Sampling(max_tokens=peft_answers.tokens))]
    assert said[1:] == [peft_answers.base, peft_answers.adapter] and said[0] not in said[1:]


def test_counts_tokens_as_the_tokenizer_does(served: Served) -> None:
    usage = served.ask(served.base).usage
    prompt: Any = served.engine.tokenizer.apply_chat_template(served.right.question, add_generation_prompt=True)
    assert usage.prompt_tokens == len(prompt["input_ids"])
    assert 0 < usage.completion_tokens <= served.right.tokens


@pytest.mark.parametrize("which", ["base", "adapter"])
def test_a_streamed_answer_is_the_whole_one_in_pieces(served: Served, which: str) -> None:
    model = getattr(served, which)
    whole = served.ask(model)
    chunks = list(served.ask(model, stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert "".join(pieces).strip() == getattr(served.right, which)
    assert len(pieces) > 2
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage


def test_a_stop_text_ends_the_answer(served: Served) -> None:
    word = served.right.base.split()[2]
    whole = served.ask(served.base, stop=word).choices[0]
    assert whole.message.content == served.right.base.partition(word)[0]
    assert whole.finish_reason == "stop"
    assert "".join(served.stream(served.base, stop=[word])) == whole.message.content


def test_usage_is_there_when_a_stop_text_fires(served: Served) -> None:
    word = served.right.base.split()[2]
    whole, full = served.ask(served.base, stop=word).usage, served.ask(served.base).usage
    assert whole.prompt_tokens == full.prompt_tokens
    assert 0 < whole.completion_tokens < full.completion_tokens
    last = list(served.ask(served.base, stop=word, stream=True, stream_options={"include_usage": True}))[-1]
    assert last.usage == whole


def test_choices_and_scores_come_as_the_client_knows_them(served: Served) -> None:
    answer = served.ask(served.base, n=2, logprobs=True, top_logprobs=2, temperature=0)
    assert [choice.message.content for choice in answer.choices] == [served.right.base] * 2
    scores = answer.choices[0].logprobs.content
    assert "".join(score.token for score in scores).strip() == served.right.base
    # Greedy: the chosen token is the likeliest.
    assert all(score.logprob == score.top_logprobs[0].logprob <= 0 for score in scores)
    drawn = [
        {choice.message.content for choice in served.ask(served.base, n=3, temperature=1.5, seed=1).choices}
        for _ in "ab"
    ]
    assert drawn[0] == drawn[1] and len(drawn[0]) == 3


def test_a_dialogue_with_tools_in_its_history_is_answered(served: Served) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "capital", "arguments": '{"of": "France"}'}}
    turns = [
        {"role": "developer", "content": "Be brief."},
        *served.right.question,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Paris"},
        {"role": "user", "content": ""},
    ]
    assert served.ask(served.base, messages=turns).usage.completion_tokens > 0


def test_models_and_plain_completions(served: Served) -> None:
    assert served.client.models.retrieve(served.adapter).id == served.adapter
    answer = served.client.completions.create(model=served.base, prompt="One, two, three,", max_tokens=6, logprobs=1)
    assert answer.choices[0].text.strip() and answer.usage.completion_tokens == 6
    assert "".join(answer.choices[0].logprobs.tokens) == answer.choices[0].text


def test_a_prompt_beyond_the_context_costs_nothing(served: Served) -> None:
    from openai import BadRequestError

    started = time.monotonic()
    with pytest.raises(BadRequestError) as caught:
        served.ask(served.base, messages=[{"role": "user", "content": "word " * 19_800}])
    assert caught.value.code == "context_length_exceeded"
    assert "maximum context length is 8192 tokens" in caught.value.message
    assert time.monotonic() - started < 10


def test_an_unknown_model_is_the_clients_not_found(served: Served) -> None:
    from openai import NotFoundError

    with pytest.raises(NotFoundError) as caught:
        served.ask("gpt-4")
    assert served.adapter in caught.value.message


@pytest.mark.parametrize("stream", [True, False])
def test_a_reader_who_leaves_does_not_hold_the_model(served: Served, stream: bool) -> None:
    from openai import APITimeoutError

    story = {"messages": [{"role": "user", "content": "Write a long story about the sea."}], "max_tokens": 2000}
    if stream:
        long = served.ask(served.base, stream=True, **story)
        next(iter(long))
        long.close()
    else:
        hasty = served._replace(client=served.client.with_options(max_retries=0, timeout=1))
        with pytest.raises(APITimeoutError):
            hasty.ask(served.base, **story)
    started = time.monotonic()
    served.ask(served.base)
    # 2000 tokens take more than half a minute on two cores.
    assert time.monotonic() - started < 15


def test_a_stream_whose_model_fails_ends_with_an_error(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from openai import APIStatusError

    def fail(*_args: Any, **_more: Any) -> Any:
        raise MemoryError("no room for the cache")

    monkeypatch.setattr(served.engine._decoder, "advance", fail)
    impatient = served._replace(client=served.client.with_options(max_retries=0))
    with pytest.raises(APIStatusError, match="no room for the cache"):
        impatient.stream(served.base)
