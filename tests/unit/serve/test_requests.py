"""Requests as clients send them, against an engine whose answers are fixed or whose prompts are counted.

Real here: routing, validation, the table of fields, streams, headers. Not proved here: what a model does with the
settings (tests/unit/engines/test_continuous.py), and what sockets do (tests/functional/test_serve_load.py).
"""

import json
from collections.abc import Generator, Sequence
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning_room.engines import Drawing, Engine, Reply, ReplyPiece, Sampling, ScoredToken
from tuning_room.records import Message
from tuning_room.serve.connection import LARGEST_BODY
from tuning_room.serve.fields import CHAT, COMPLETIONS, FIELDS, WARNING_HEADER
from tuning_room.serve.server import ServerSettings, create_app

WORDS = ["One ", "two ", "three ", "four"]
HELLO = [{"role": "user", "content": "Hello"}]
CONTEXT = 100


class CountingEngine(Engine):
    """Says four words, one token each, and counts a prompt's characters as its tokens."""

    def __init__(self) -> None:
        self.asked: list[tuple[Sequence[Message] | str, Sampling, Drawing]] = []
        self.context = CONTEXT

    def models(self) -> list[str]:
        return ["base", "small-0123abcd"]

    def complete(self, *_args: Any, **_more: Any) -> list[Reply]:
        raise AssertionError("the server reads every reply in pieces")

    @property
    def context_length(self) -> int:
        return self.context

    def prompt_tokens(self, prompt: Sequence[Message] | str) -> int:
        return len(prompt) if isinstance(prompt, str) else sum(len(turn.content) for turn in prompt)

    def pieces(
        self, model: str, prompt: Sequence[Message] | str, sampling: Sampling, drawing: Drawing | None = None
    ) -> Generator[ReplyPiece, None, Reply]:
        assert drawing is not None
        self.asked.append((prompt, sampling, drawing))
        said = WORDS[: sampling.max_tokens]
        for word in said:
            score = ScoredToken(word, -0.5, ((word, -0.5), ("other", float("-inf"))))
            yield ReplyPiece(word, 1, (score,) if drawing.logprobs is not None else ())
        finish = "stop" if len(said) == len(WORDS) else "length"
        return Reply("".join(said).strip(), finish, self.prompt_tokens(prompt), len(said))


@pytest.fixture
def engine() -> CountingEngine:
    return CountingEngine()


@pytest.fixture
def client(engine: CountingEngine) -> TestClient:
    return TestClient(create_app(engine, ServerSettings(longest=64, places=8)), raise_server_exceptions=False)


def ask(client: TestClient, **fields: Any) -> Any:
    return client.post("/v1/chat/completions", json={"model": "base", "messages": HELLO, **fields})


def complete(client: TestClient, **fields: Any) -> Any:
    return client.post("/v1/completions", json={"model": "base", "prompt": "Count:", **fields})


def error_of(answer: Any, status: int) -> Any:
    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    return answer.json()["error"]


def chunks_of(answer: Any) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}


def test_a_history_with_tool_calls_is_read_as_text(client: TestClient, engine: CountingEngine) -> None:
    turns = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "wet"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "cold"}]},
    ]
    engine.context = 10 * CONTEXT
    assert ask(client, messages=turns).status_code == 200
    prompt = engine.asked[0][0]
    assert not isinstance(prompt, str)
    assert [turn.role for turn in prompt] == ["system", "user", "assistant", "user"]
    assert '{"name": "weather", "arguments": {"city": "Oslo"}}' in prompt[2].content
    assert prompt[3].content == "<tool_response>\nwet\n</tool_response>\n<tool_response>\ncold\n</tool_response>"


@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant", "tool"])
def test_a_text_may_be_empty(client: TestClient, engine: CountingEngine, role: str) -> None:
    assert ask(client, messages=[{"role": role, "content": ""}, *HELLO]).status_code == 200
    assert isinstance(engine.asked[0][0], list)


def test_several_system_messages_are_joined_and_the_answer_says_so(client: TestClient, engine: CountingEngine) -> None:
    systems = [
        {"role": role, "content": text} for role, text in (("system", "A."), ("developer", "B."), ("system", "C."))
    ]
    answer = ask(client, messages=[*systems, *HELLO])
    assert "3 system messages joined into one" in answer.headers[WARNING_HEADER]
    prompt = engine.asked[0][0]
    assert not isinstance(prompt, str)
    assert [(turn.role, turn.content) for turn in prompt] == [("system", "A.\n\nB.\n\nC."), ("user", "Hello")]
    later = ask(client, messages=[systems[0], *HELLO, systems[1], *HELLO])
    assert WARNING_HEADER not in later.headers


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file"])
def test_what_is_no_text_is_refused_by_its_place(client: TestClient, kind: str) -> None:
    parts = [{"type": "text", "text": "Look:"}, {"type": kind, kind: {"url": "data:image/png;base64,AAAA"}}]
    error = error_of(ask(client, messages=[{"role": "user", "content": parts}]), 400)
    assert error["param"] == "messages.0.content" and kind in error["message"]


def test_each_choice_has_a_seed_of_its_own(client: TestClient, engine: CountingEngine) -> None:
    answer = ask(client, n=3, seed=2**63 - 2, temperature=1).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert len({sampling.seed for _, sampling, _ in engine.asked}) == 3
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 12, "total_tokens": 17}


def test_choices_are_streamed_together_and_counted_once(client: TestClient) -> None:
    chunks = chunks_of(ask(client, n=2, stream=True, stream_options={"include_usage": True}))
    *parts, last = chunks
    for index in range(2):
        mine = [chunk["choices"][0] for chunk in parts if chunk["choices"][0]["index"] == index]
        assert mine[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(choice["delta"].get("content", "") for choice in mine) == "".join(WORDS)
        assert [choice["finish_reason"] for choice in mine][-1] == "stop"
    assert all(chunk["usage"] is None for chunk in parts)
    assert last["choices"] == [] and last["usage"]["completion_tokens"] == 8


def test_more_choices_than_places_are_refused(client: TestClient) -> None:
    assert error_of(ask(client, n=9), 400)["param"] == "n"


@pytest.mark.parametrize("stream", [False, True])
def test_usage_is_there_when_a_stop_text_fires(client: TestClient, stream: bool) -> None:
    answer = ask(client, stop="three", stream=stream, stream_options={"include_usage": True})
    usage = chunks_of(answer)[-1]["usage"] if stream else answer.json()["usage"]
    assert usage == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


def test_scores_come_with_the_text_and_are_json(client: TestClient) -> None:
    whole = ask(client, logprobs=True, top_logprobs=2).json()["choices"][0]["logprobs"]["content"]
    assert [one["token"] for one in whole] == WORDS
    assert whole[0]["bytes"] == [*b"One "]
    assert [one["logprob"] for one in whole[0]["top_logprobs"]] == [-0.5, -9999.0]
    chunks = chunks_of(ask(client, logprobs=True, stream=True))
    streamed = [choice["logprobs"] for chunk in chunks for choice in chunk["choices"] if choice["logprobs"]]
    assert [one["token"] for scores in streamed for one in scores["content"]] == WORDS
    cut = ask(client, logprobs=True, stop="wo").json()["choices"][0]
    assert (cut["message"]["content"], [one["token"] for one in cut["logprobs"]["content"]]) == ("One t", WORDS[:2])
    assert ask(client).json()["choices"][0]["logprobs"] is None
    assert error_of(ask(client, top_logprobs=2), 400)["param"] == "top_logprobs"


def test_settings_reach_the_engine(client: TestClient, engine: CountingEngine) -> None:
    given = {"top_p": 0.5, "presence_penalty": 1, "frequency_penalty": -1, "logit_bias": {"7": -100}, "top_k": 3}
    more = {"min_p": 0.1, "repetition_penalty": 1.1, "stop_token_ids": [4]}
    assert WARNING_HEADER not in ask(client, **given, **more).headers
    expected = Drawing(0.5, 3, 0.1, 1.1, 1, -1, ((7, -100.0),), (4,), None)
    assert engine.asked[0][2] == expected


def test_a_prompt_that_fills_the_context_is_refused_before_anything_is_computed(
    client: TestClient, engine: CountingEngine
) -> None:
    error = error_of(ask(client, messages=[{"role": "user", "content": "x" * CONTEXT}]), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    assert error["message"].startswith(
        f"This model's maximum context length is {CONTEXT} tokens. However, your messages"
    )
    assert error_of(complete(client, prompt="x" * 200), 400)["param"] == "prompt"
    assert engine.asked == []


def test_a_reply_that_would_not_fit_is_shortened_and_the_answer_says_so(
    client: TestClient, engine: CountingEngine
) -> None:
    nearly = [{"role": "user", "content": "x" * (CONTEXT - 3)}]
    answer = ask(client, messages=nearly, max_completion_tokens=50)
    assert engine.asked[0][1].max_tokens == 3
    assert answer.json()["choices"][0]["finish_reason"] == "length"
    assert "replies are cut to 3 tokens" in answer.headers[WARNING_HEADER]
    assert WARNING_HEADER not in ask(client, messages=nearly).headers


def sample(name: str) -> Any:
    """Return a value that a client would send in a field, and that is not harmless."""
    return {"tool_choice": "required", "function_call": {"name": "f"}, "response_format": {"type": "json_object"}}.get(
        name, [{"type": "function"}]
    )


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("field", [f for f in FIELDS if f.kind == "refused"], ids=lambda f: f.name)
def test_a_refused_field_is_named_and_its_harmless_values_pass(client: TestClient, path: str, field: Any) -> None:
    send = ask if path == CHAT else complete
    if path not in field.paths:
        assert field.name in send(client, **{field.name: sample(field.name)}).headers[WARNING_HEADER]
        return
    error = error_of(send(client, **{field.name: sample(field.name)}), 400)
    assert (error["param"], error["code"]) == (field.name, "unsupported_parameter")
    for value in (None, *field.harmless):
        assert send(client, **{field.name: value}).status_code == 200


def test_unknown_fields_are_ignored_and_named(client: TestClient) -> None:
    answer = ask(client, colour="red", service_tier="auto", user="ada", metadata={"a": "b"})
    assert answer.headers[WARNING_HEADER] == "ignored: colour, service_tier"
    assert WARNING_HEADER not in ask(client).headers


@settings(max_examples=50, deadline=None)
@given(name=st.text(min_size=1, max_size=300), value=st.none() | st.booleans() | st.integers() | st.text(max_size=5))
def test_any_name_of_a_field_may_be_sent(name: str, value: Any) -> None:
    client = TestClient(create_app(CountingEngine()), raise_server_exceptions=False)
    body = {"model": "base", "messages": HELLO, name: value}
    answer = client.post("/v1/chat/completions", content=json.dumps(body))
    assert answer.status_code in (200, 400), answer.text
    assert "\n" not in answer.headers.get(WARNING_HEADER, "")
    if answer.status_code == 400:
        error_of(answer, 400)


def test_tools_that_may_not_be_called_are_no_obstacle(client: TestClient) -> None:
    tools = [{"type": "function", "function": {"name": "weather"}}]
    assert ask(client, tools=tools, tool_choice="none").status_code == 200
    assert "tools" in error_of(ask(client, tools=tools), 400)["message"]


def test_plain_completions(client: TestClient, engine: CountingEngine) -> None:
    answer = complete(client, prompt=["Count:", "Again:"], n=2, logprobs=1).json()
    assert answer["object"] == "text_completion"
    assert [choice["text"] for choice in answer["choices"]] == ["".join(WORDS)] * 4
    assert sorted(prompt for prompt, _, _ in engine.asked) == ["Again:", "Again:", "Count:", "Count:"]
    scores = answer["choices"][0]["logprobs"]
    assert scores["tokens"] == WORDS and scores["text_offset"] == [0, 4, 8, 14]
    assert answer["usage"]["prompt_tokens"] == 12
    chunks = chunks_of(complete(client, stream=True, max_tokens=2))
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "One two "
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("prompt", ["", [], [1, 2], [[1, 2]], None, 7, ["x"] * 17, [""], ["x", ""]])
def test_what_is_no_text_to_be_continued_is_refused(client: TestClient, prompt: Any) -> None:
    assert error_of(complete(client, prompt=prompt), 400)["param"].startswith("prompt")


def test_one_model_is_described(client: TestClient) -> None:
    assert client.get("/v1/models/small-0123abcd").json()["parent"] == "base"
    assert error_of(client.get("/v1/models/gpt-4"), 404)["code"] == "model_not_found"


def test_head_is_answered_without_a_body(client: TestClient) -> None:
    for path in ("/health", "/v1/models", "/metrics"):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


def test_metrics_count_requests_and_tokens(client: TestClient) -> None:
    ask(client, n=2)
    ask(client, top_p=7)
    text = client.get("/metrics").text
    assert 'tuning_room_requests_total{path="/v1/chat/completions",status="200"} 1' in text
    assert 'tuning_room_requests_total{path="/v1/chat/completions",status="400"} 1' in text
    assert 'tuning_room_tokens_total{model="base",kind="completion"} 8' in text
    assert "tuning_room_replies_running 0" in text
    assert 'tuning_room_request_seconds_bucket{le="+Inf"} 1' in text


def test_a_body_that_is_too_large_is_refused(client: TestClient) -> None:
    body = json.dumps({"model": "base", "messages": [{"role": "user", "content": "x" * LARGEST_BODY}]})
    assert error_of(client.post("/v1/chat/completions", content=body), 413)["code"] == "request_too_large"


def test_keys_guard_what_answers_and_are_never_repeated(engine: CountingEngine) -> None:
    client = TestClient(create_app(engine, ServerSettings(keys=["first-key", "second-key"])))
    for headers in ({}, {"Authorization": "Bearer wrong-key"}, {"Authorization": "first-key"}):
        answer = client.post("/v1/chat/completions", json={}, headers=headers)
        error = error_of(answer, 401)
        assert error["code"] == "invalid_api_key" and "wrong" not in error["message"]
        for path in ("/v1/models", "/tokenize", "/version", "/load", "/"):
            assert client.get(path, headers=headers).status_code == 401, path
    assert client.get("/v1/models", headers={"Authorization": "Bearer second-key"}).status_code == 200
    assert client.get("/health").status_code == 200


def test_a_wrong_field_is_named_whatever_its_name_begins_with(client: TestClient) -> None:
    body = {"model": "base", "messages": [{"role": "user", "content": "x"}], "stream": "perhaps"}
    assert error_of(client.post("/v1/chat/completions", json=body), 400)["param"] == "stream"


def test_pages_of_named_origins_may_ask(engine: CountingEngine) -> None:
    client = TestClient(create_app(engine, ServerSettings(keys=["first-key"], origins=["https://chat.example.org"])))
    asks = {"Origin": "https://chat.example.org", "Access-Control-Request-Method": "POST"}
    first = client.options("/v1/chat/completions", headers={**asks, "Access-Control-Request-Headers": "authorization"})
    assert first.status_code == 200
    assert first.headers["access-control-allow-origin"] == "https://chat.example.org"
    refused = client.post("/v1/chat/completions", json={}, headers={"Origin": "https://chat.example.org"})
    assert refused.status_code == 401 and "access-control-allow-origin" in refused.headers
    other = client.options("/v1/chat/completions", headers={**asks, "Origin": "https://evil.example.org"})
    assert "access-control-allow-origin" not in other.headers
