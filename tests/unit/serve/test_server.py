"""The HTTP server over an engine whose answers are fixed.

Real here: FastAPI's routing and validation, the streaming, the error shapes. Not proved here: that a model answers,
that a socket listens, that OpenAI's client understands it; tests/functional/test_serve.py does that.
"""

import json
from collections.abc import Generator, Sequence
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tuning_room.engines import Engine, OnReply, Reply, ReplyPiece, Sampling
from tuning_room.errors import EngineError, RenderingError
from tuning_room.records import Message
from tuning_room.serve.answers import UNEXPECTED
from tuning_room.serve.server import ServerSettings, create_app
from tuning_room.serve.stream import Pieces, possible_stop

PIECES = ["What ", "do you ", "know ", "so far?"]
HELLO = [{"role": "user", "content": "Hello"}]


class FixedEngine(Engine):
    """Answers every dialogue with the same pieces, or with an error after some of them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[Message], Sampling]] = []
        self.error: Exception | None = None
        self.pieces_before_error = 0
        self.closed = False

    def models(self) -> list[str]:
        return ["tiny", "tutor-0123abcd"]

    def complete(
        self,
        model: str,
        dialogues: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_reply: OnReply | None = None,
    ) -> list[Reply]:
        if self.error:
            raise self.error
        self.asked.append((model, list(dialogues[0]), sampling))
        return [self._reply()]

    def stream(self, model: str, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, Reply]:
        self.asked.append((model, list(messages), sampling))
        try:
            yield from PIECES[: self.pieces_before_error] if self.error else PIECES
        finally:
            self.closed = True
        if self.error:
            raise self.error
        return self._reply()

    def _reply(self) -> Reply:
        return Reply("".join(PIECES), "length", 9, 4)


@pytest.fixture
def engine() -> FixedEngine:
    return FixedEngine()


@pytest.fixture
def client(engine: FixedEngine) -> TestClient:
    return TestClient(create_app(engine, ServerSettings(longest=512)), raise_server_exceptions=False)


def ask(client: TestClient, **fields: Any) -> Any:
    return client.post("/v1/chat/completions", json={"model": "tiny", "messages": HELLO, **fields})


def sent_events(answer: Any) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def text_of(events: list[Any]) -> str:
    return "".join(e["choices"][0]["delta"].get("content", "") for e in events if e["choices"])


def refusal(answer: Any, status: int) -> Any:
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "Traceback" not in answer.text
    return error


def test_health_and_models(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    models = client.get("/v1/models").json()
    assert [(m["id"], m["parent"]) for m in models["data"]] == [("tiny", None), ("tutor-0123abcd", "tiny")]


def test_a_whole_answer(client: TestClient, engine: FixedEngine) -> None:
    answer = ask(client, model="tutor-0123abcd", max_tokens=7, temperature=0.5, seed=3).json()
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "tutor-0123abcd"
    choice = answer["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "What do you know so far?", "refusal": None}
    assert choice["finish_reason"] == "length"
    assert answer["usage"] == {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    assert engine.asked == [("tutor-0123abcd", [Message(role="user", content="Hello")], Sampling(7, 0.5, 3))]


def test_a_streamed_answer(client: TestClient) -> None:
    answer = ask(client, stream=True, stream_options={"include_usage": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = sent_events(answer)
    assert text_of(events) == "".join(PIECES)
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert events[-2]["choices"][0]["finish_reason"] == "length"
    assert events[-1]["usage"]["total_tokens"] == 13
    assert len({event["id"] for event in events}) == 1


def test_a_streamed_answer_is_counted_only_if_asked(client: TestClient) -> None:
    assert all("usage" not in event for event in sent_events(ask(client, stream=True)))


@pytest.mark.parametrize(
    ("fields", "sampling"),
    [
        ({"seed": 1}, Sampling(512, 0.0, 1)),
        ({"seed": 1, "max_completion_tokens": 5, "max_tokens": 6}, Sampling(5, 0.0, 1)),
        ({"seed": 1, "max_tokens": 10**9}, Sampling(512, 0.0, 1)),
        ({"seed": 1, "temperature": 1e-9}, Sampling(512, 0.0, 1)),
        ({"seed": 1, "temperature": None, "stop": None, "stream": None}, Sampling(512, 0.0, 1)),
    ],
)
def test_how_a_reply_is_drawn(
    client: TestClient, engine: FixedEngine, fields: dict[str, Any], sampling: Sampling
) -> None:
    assert ask(client, **fields).status_code == 200
    assert engine.asked[0][2] == sampling


def test_without_a_seed_two_replies_are_drawn_apart(client: TestClient, engine: FixedEngine) -> None:
    ask(client, temperature=1)
    ask(client, temperature=1)
    assert engine.asked[0][2].seed != engine.asked[1][2].seed


@pytest.mark.parametrize(
    ("stop", "text"), [("know", "What do you "), (["absent", " so"], "What do you know"), ("", None)]
)
def test_the_reply_ends_before_a_stop_text(
    client: TestClient, engine: FixedEngine, stop: Any, text: str | None
) -> None:
    text = "".join(PIECES) if text is None else text
    whole = ask(client, stop=stop).json()["choices"][0]
    events = sent_events(ask(client, stop=stop, stream=True))
    assert whole["message"]["content"] == text
    assert text_of(events) == text
    assert events[-1]["choices"][0]["finish_reason"] == whole["finish_reason"]
    assert engine.closed


def said(*texts: str) -> Generator[ReplyPiece, None, None]:
    yield from (ReplyPiece(text, 1) for text in texts)


def test_a_stop_text_that_is_spread_over_pieces_is_found() -> None:
    pieces = Pieces(said("one t", "w", "o three"), ["two"])
    assert "".join(piece.text for piece in pieces) == "one "
    assert pieces.stopped


def test_the_beginning_of_a_stop_text_that_is_none_is_given_back() -> None:
    assert "".join(piece.text for piece in Pieces(said("one t", "en"), ["two"])) == "one ten"
    assert possible_stop("one tw", ["two", "wolf"]) == 2


def test_content_may_come_in_text_parts_and_messages_may_have_names(client: TestClient, engine: FixedEngine) -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    assert ask(client, messages=[{"role": "user", "name": "Ada", "content": parts}]).status_code == 200
    assert engine.asked[0][1] == [Message(role="user", content="Hello")]


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_model_is_not_found(client: TestClient, stream: bool) -> None:
    error = refusal(ask(client, model="gpt-4", stream=stream), 404)
    assert error["code"] == "model_not_found"
    assert "tutor-0123abcd" in error["message"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [{"role": "wizard", "content": "Hello"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "messages.0.content"),
        ({"messages": [{"content": "Hello"}]}, "messages.0.role"),
        ({"model": None}, "model"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": 2.5}, "temperature"),
        ({"seed": 2**63}, "seed"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"top_p": 0}, "top_p"),
    ],
)
def test_a_bad_request_names_its_field(client: TestClient, fields: dict[str, Any], param: str | None) -> None:
    error = refusal(ask(client, **fields), 400)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert error["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"model": "tiny", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "temperature": NaN}',
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_request_is_refused(client: TestClient, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    refusal(client.post("/v1/chat/completions", content=body, headers=headers), 400)


def test_options_that_change_nothing_are_accepted(client: TestClient) -> None:
    fields = {"n": 1, "top_p": 1.0, "presence_penalty": 0, "tools": [], "logprobs": False, "user": "ada"}
    assert ask(client, **fields).status_code == 200


def test_unknown_paths_and_methods_have_the_same_shape(client: TestClient) -> None:
    refusal(client.get("/v1/embeddings"), 404)
    refusal(client.get("/v1/chat/completions"), 405)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (RenderingError("the template refuses it"), 400, "the template refuses it"),
        (EngineError("no answer", hint="start it"), 502, "no answer; start it"),
        (KeyError("secret"), 500, UNEXPECTED),
    ],
)
def test_an_engine_that_fails_at_once(
    client: TestClient, engine: FixedEngine, error: Exception, status: int, message: str, stream: bool
) -> None:
    engine.error = error
    assert refusal(ask(client, stream=stream), status)["message"] == message


@pytest.mark.parametrize(("error", "said"), [(EngineError("no answer"), "no answer"), (KeyError("secret"), "log")])
def test_an_engine_that_fails_on_the_way_says_so_in_the_stream(
    client: TestClient, engine: FixedEngine, error: Exception, said: str
) -> None:
    engine.error, engine.pieces_before_error = error, 2
    events = sent_events(ask(client, stream=True))
    assert text_of(events[:-1]) == "What do you "
    assert said in events[-1]["error"]["message"]
    assert "secret" not in json.dumps(events)


def test_an_engine_that_cannot_stream_answers_in_one_piece(engine: FixedEngine) -> None:
    class Whole(FixedEngine):
        stream = Engine.stream  # type: ignore[assignment]

    events = sent_events(ask(TestClient(create_app(Whole())), stream=True))
    assert text_of(events) == "".join(PIECES)
    assert events[-1]["choices"][0]["finish_reason"] == "length"
