"""The endpoint engine against a chat server on a socket of this machine.

Real here: the socket, the HTTP, aiohttp, and OpenAI's own client for streams. Not real: the server's answers, which a
script decides; it asks for waits of a millisecond, so the engine's own growing pauses are not seen here.
"""

import asyncio
import json
import logging
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tuning_room.engines import Reply, Sampling
from tuning_room.engines.asking import _back_off
from tuning_room.engines.endpoint import EndpointEngine
from tuning_room.errors import EngineError
from tuning_room.records import Message

SAMPLING = Sampling(max_tokens=8, temperature=0.5, seed=4)
KEY = "sk-very-secret-0123456789"
Script = Callable[[dict[str, Any], int], tuple[int, Any]]


class ScriptedServer(ThreadingHTTPServer):
    """Answers each request as `script(body, attempt)` says: a status and a body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: Script = lambda body, attempt: (200, completion("fine"))
        self.delay = 0.0
        self.headers = {"retry-after-ms": "1"}
        self.trickles = False
        self.lock = threading.Lock()
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.under_way = self.most_under_way = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def attempts(self, body: dict[str, Any]) -> int:
        return self.requests.count(body)


class Handler(BaseHTTPRequestHandler):
    server: ScriptedServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send(200, {"object": "list", "data": [{"id": n, "object": "model"} for n in ("tiny", "tutor")]})

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            server.requests.append(body)
            server.keys.append(self.headers["authorization"])
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
            status, answer = server.script(body, server.attempts(body))
        time.sleep(server.delay)
        with server.lock:
            server.under_way -= 1
        self._send(status, answer)

    def _send(self, status: int, answer: Any) -> None:
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        kind = "text/event-stream" if content.startswith(b"data:") else "application/json"
        self.send_response(status)
        self.send_header("content-type", "text/html" if content.startswith(b"<") else kind)
        self.send_header("content-length", str(len(content)))
        for header, value in self.server.headers.items():
            self.send_header(header, value)
        self.end_headers()
        for byte in content if self.server.trickles else b"":
            time.sleep(0.1)
            with suppress(OSError):
                self.wfile.write(bytes([byte]))
        if not self.server.trickles:
            self.wfile.write(content)

    def log_message(self, *_args: Any) -> None:
        """Keep the tests' output quiet."""


def completion(text: Any, finish: str = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion", "created": 0, "choices": [choice], "usage": usage, **more}


def refused(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


def dialogue(text: str) -> list[Message]:
    return [Message(role="user", content=text)]


def said(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def engine(server: ScriptedServer) -> EndpointEngine:
    return EndpointEngine(server.address, "tiny", concurrency=3, timeout=5, retries=3)


def test_replies_stand_in_the_order_of_the_dialogues(server: ScriptedServer, engine: EndpointEngine) -> None:
    server.script = lambda body, attempt: (200, completion(f" {said(body)}! ", "length"))
    heard: dict[int, Reply] = {}
    threads: set[int] = set()

    def on_reply(index: int, reply: Reply) -> None:
        heard[index] = reply
        threads.add(threading.get_ident())

    replies = engine.complete("tiny", [dialogue(str(n)) for n in range(20)], SAMPLING, on_reply)
    assert replies == [Reply(f"{n}!", "length", 5, 2) for n in range(20)]
    assert heard == dict(enumerate(replies))
    assert threads == {threading.get_ident()}


def test_the_request_says_all_that_sampling_says(server: ScriptedServer, engine: EndpointEngine) -> None:
    engine.complete("tiny", [dialogue("Hello")], SAMPLING)
    messages = [{"role": "user", "content": "Hello"}]
    wanted = {"model": "tiny", "messages": messages, "max_tokens": 8, "temperature": 0.5, "seed": 4}
    assert server.requests == [wanted]


def test_no_more_requests_are_under_way_than_allowed(server: ScriptedServer, engine: EndpointEngine) -> None:
    server.delay = 0.05
    engine.complete("tiny", [dialogue(str(n)) for n in range(12)], SAMPLING)
    assert server.most_under_way == 3


def test_no_dialogues_are_no_requests(server: ScriptedServer, engine: EndpointEngine) -> None:
    assert engine.complete("tiny", [], SAMPLING) == []
    assert server.requests == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server: ScriptedServer, engine: EndpointEngine, status: int) -> None:
    server.script = lambda body, attempt: (200, completion("fine")) if attempt == 3 else (status, refused("busy"))
    assert engine.complete("tiny", [dialogue("Hello")], SAMPLING)[0].text == "fine"
    assert len(server.requests) == 3


def test_a_server_that_stays_busy_is_an_error(server: ScriptedServer, engine: EndpointEngine) -> None:
    server.script = lambda body, attempt: (503, refused("come back later"))
    with pytest.raises(EngineError, match=r"answered 503.*come back later"):
        engine.complete("tiny", [dialogue("Hello")], SAMPLING)
    assert len(server.requests) == 4


WAITS = [
    {"retry-after": "0"},
    {"retry-after": "-1"},
    {"retry-after": "0.0001"},
    {"retry-after": "nan"},
    {"retry-after": "NaN", "retry-after-ms": "nan"},
    {"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"},
    {"retry-after": "Sun, 06 Nov 1994 08:49:37 -0000"},
    {"retry-after": "yesterday"},
    {"retry-after-ms": "0", "retry-after": "0"},
    {},
]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("headers", WAITS, ids=str)
def test_no_wait_that_a_server_names_makes_for_retries_without_a_pause_or_an_end(
    server: ScriptedServer, headers: dict[str, str], status: int
) -> None:
    server.headers = headers
    server.script = lambda body, attempt: (status, refused("busy"))
    started = time.monotonic()
    with pytest.raises(EngineError, match=f"answered {status} \\(busy\\)"):
        EndpointEngine(server.address, "tiny", retries=1).complete("tiny", [dialogue("Hello")], SAMPLING)
    assert len(server.requests) == 2
    assert 0.25 <= time.monotonic() - started < 30


@pytest.mark.parametrize("wait", ["inf", "1e400", "99999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_server_that_wants_to_be_left_alone_is_not_asked_again(server: ScriptedServer, wait: str) -> None:
    server.headers = {"retry-after": wait}
    server.script = lambda body, attempt: (429, refused("come back next year"))
    with pytest.raises(EngineError, match="next year"):
        EndpointEngine(server.address, "tiny", retries=9).complete("tiny", [dialogue("Hello")], SAMPLING)
    assert len(server.requests) == 1


def test_any_number_of_retries_has_a_pause(server: ScriptedServer) -> None:
    assert all(0.25 <= _back_off(tries) <= 30 for tries in (0, 1, 5, 64, 5000))


@pytest.mark.parametrize(("status", "hint"), [(400, ""), (401, "API_KEY"), (404, "/v1"), (422, "")])
def test_another_refusal_is_final(server: ScriptedServer, engine: EndpointEngine, status: int, hint: str) -> None:
    server.script = lambda body, attempt: (status, refused("too long"))
    engine.key_variable = "API_KEY"
    with pytest.raises(EngineError) as caught:
        engine.complete("tiny", [dialogue("Hello")], SAMPLING)
    assert f"{server.address}: answered {status} (too long)" in str(caught.value)
    assert hint in caught.value.hint
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>a login page</html>",
        b"{broken",
        b"",
        b"null",
        b"[1]",
        b'"text"',
        {},
        {"choices": []},
        {"choices": {}},
        {"choices": "none"},
        {"choices": [None]},
        {"choices": [{"index": 0}]},
        completion(None),
        completion({"text": "no"}),
        completion("half a", "content_filter"),
    ],
)
def test_what_is_no_chat_completion_is_an_error(server: ScriptedServer, engine: EndpointEngine, answer: Any) -> None:
    server.script = lambda body, attempt: (200, answer)
    with pytest.raises(EngineError, match=server.address):
        engine.complete("tiny", [dialogue("Hello")], SAMPLING)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize(("content", "finish"), [(None, "length"), ("", "length"), ("Which?", "stop")])
def test_reasoning_beside_the_content_is_no_part_of_the_reply(
    server: ScriptedServer, engine: EndpointEngine, name: str, content: str | None, finish: str
) -> None:
    answer = completion(content, finish)
    answer["choices"][0]["message"][name] = "It is 49."
    server.script = lambda body, attempt: (200, answer)
    [reply] = engine.complete("tiny", [dialogue("Hello")], SAMPLING)
    assert (reply.text, reply.finish_reason) == (content or "", finish)


@pytest.mark.parametrize(
    ("finish", "tokens", "ended"),
    [
        ("max_tokens", 2, "length"),
        ("MAX_TOKENS", 2, "length"),
        ("FINISH_REASON_MAX_TOKENS", 2, "length"),
        ("model_length", 2, "length"),
        ("end_turn", 8, "stop"),
        ("stop", 8, "stop"),
        ("eos", 8, "stop"),
        # Where nothing is said, a reply of full length counts as cut off.
        (None, 8, "length"),
        ("", 9, "length"),
        (["x"], 2, "stop"),
        (None, 7, "stop"),
    ],
)
def test_why_a_reply_ended_is_read_as_any_server_says_it(
    server: ScriptedServer, engine: EndpointEngine, finish: Any, tokens: int, ended: str
) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": tokens}
    server.script = lambda body, attempt: (200, completion("Which?", finish, usage=usage))
    assert engine.complete("tiny", [dialogue("Hello")], SAMPLING)[0].finish_reason == ended


def calls_beside(answer: dict[str, Any]) -> None:
    answer["choices"][0]["message"]["tool_calls"] = [{"id": "c", "type": "function", "function": {"name": "f"}}]


def calls_as_reason(answer: dict[str, Any]) -> None:
    answer["choices"][0]["finish_reason"] = "tool_calls"


def error_beside(answer: dict[str, Any]) -> None:
    answer["error"] = {"message": "Internal error, try again."}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(calls_beside, "calls a tool"), (calls_as_reason, "calls a tool"), (error_beside, "Internal error, try again.")],
)
def test_a_text_beside_a_call_or_an_error_is_no_reply(
    spoil: Callable[[dict[str, Any]], None], words: str, server: ScriptedServer, engine: EndpointEngine
) -> None:
    answer = completion("Let me look that up.")
    spoil(answer)
    server.script = lambda body, attempt: (200, answer)
    with pytest.raises(EngineError, match=words):
        engine.complete("tiny", [dialogue("Hello")], SAMPLING)


@pytest.mark.parametrize("finish", ["error", "abort", "insufficient_system_resource", "SAFETY", "RECITATION"])
def test_a_reply_that_the_server_broke_off_is_an_error(
    server: ScriptedServer, engine: EndpointEngine, finish: str
) -> None:
    server.script = lambda body, attempt: (200, completion("Which part of", finish))
    with pytest.raises(EngineError, match=r"stopped the reply|broke the reply off"):
        engine.complete("tiny", [dialogue("Hello")], SAMPLING)


THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "It is 49."}]}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([THOUGHT, {"type": "text", "text": "Which?"}], "Which?"),
        ([{"type": "text", "text": "Which "}, {"type": "text", "text": "part?"}], "Which part?"),
        ([THOUGHT], ""),
    ],
)
def test_of_a_reply_in_parts_the_text_counts(
    server: ScriptedServer, engine: EndpointEngine, content: Any, text: str
) -> None:
    server.script = lambda body, attempt: (200, completion(content))
    [reply] = engine.complete("tiny", [dialogue("Hello")], SAMPLING)
    assert (reply.text, reply.has_reasoned) == (text, THOUGHT in content)


def test_a_server_that_does_not_count_is_understood(server: ScriptedServer, engine: EndpointEngine) -> None:
    server.script = lambda body, attempt: (200, completion("fine", usage=None))
    assert engine.complete("tiny", [dialogue("Hello")], SAMPLING) == [Reply("fine", "stop", 0, 0)]


def test_the_first_failure_ends_the_rest(server: ScriptedServer, engine: EndpointEngine) -> None:
    server.delay = 0.02
    server.script = lambda body, attempt: (400, refused("no")) if said(body) == "2" else (200, completion("fine"))
    with pytest.raises(EngineError, match="answered 400"):
        engine.complete("tiny", [dialogue(str(n)) for n in range(60)], SAMPLING)
    assert len(server.requests) < 20


def test_failures_stand_where_the_replies_would(server: ScriptedServer, engine: EndpointEngine) -> None:
    server.script = lambda body, attempt: (400, refused("odd")) if int(said(body)) % 2 else (200, completion("even"))
    found = dict(engine.outcomes("tiny", [dialogue(str(n)) for n in range(6)], [SAMPLING] * 6))
    assert [isinstance(found[n], EngineError) for n in range(6)] == [False, True] * 3


def test_an_error_in_the_callback_is_the_callers(engine: EndpointEngine) -> None:
    def on_reply(_index: int, _reply: Reply) -> None:
        raise KeyError("disk full")

    with pytest.raises(KeyError, match="disk full"):
        engine.complete("tiny", [dialogue(str(n)) for n in range(10)], SAMPLING, on_reply)


def test_it_works_inside_a_running_event_loop(engine: EndpointEngine) -> None:
    async def inside() -> list[Reply]:
        return engine.complete("tiny", [dialogue("Hello")], SAMPLING)

    assert asyncio.run(inside())[0].text == "fine"


def test_a_server_that_is_too_slow_is_an_error(server: ScriptedServer) -> None:
    server.delay = 0.5
    engine = EndpointEngine(server.address, "tiny", timeout=0.1, retries=0)
    with pytest.raises(EngineError, match=r"no answer within 0\.1 s"):
        engine.complete("tiny", [dialogue("Hello")], SAMPLING)


def test_a_server_that_trickles_is_an_error(server: ScriptedServer) -> None:
    server.trickles = True
    started = time.monotonic()
    with pytest.raises(EngineError, match=r"no whole answer within 2 s"):
        EndpointEngine(server.address, "tiny", timeout=2, retries=0).complete("tiny", [dialogue("Hi")], SAMPLING)
    for attempt in (
        lambda: EndpointEngine(server.address, timeout=2, retries=0).models(),
        lambda: list(EndpointEngine(server.address, "tiny", timeout=2).stream("tiny", dialogue("Hi"), SAMPLING)),
    ):
        with pytest.raises(EngineError, match=r"no whole answer within 2 s"):
            attempt()
    assert time.monotonic() - started < 60


def test_nobody_at_the_address_is_an_error() -> None:
    engine = EndpointEngine("http://127.0.0.1:9/v1", "tiny", retries=0)
    for attempt in (
        lambda: engine.complete("tiny", [dialogue("Hello")], SAMPLING),
        lambda: list(engine.stream("tiny", dialogue("Hello"), SAMPLING)),
        lambda: EndpointEngine("http://127.0.0.1:9/v1", retries=0).models(),
    ):
        with pytest.raises(EngineError, match=r"127\.0\.0\.1:9/v1: cannot be reached"):
            attempt()


NO_ADDRESSES = ["", "localhost:8000/v1", "ftp://host/v1", "http://", "http://[::1/v1", "http://host:port/v1"]


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(EngineError, match="not an http address"):
        EndpointEngine(address)


def test_the_key_comes_from_its_variable_and_is_never_said(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    server.script = lambda body, attempt: (401, refused(f"the key {KEY} is wrong"))
    engine = EndpointEngine(server.address, "tiny", key_variable="MY_KEY")
    with pytest.raises(EngineError) as caught:
        engine.complete("tiny", [dialogue("Hello")], SAMPLING)
    assert server.keys == [f"Bearer {KEY}"]
    assert KEY not in str(caught.value)
    assert KEY not in repr(vars(engine))
    assert KEY not in caplog.text


def test_a_password_in_the_address_is_never_said() -> None:
    engine = EndpointEngine("http://ada:geheim@127.0.0.1:9/v1", "tiny", retries=0)
    with pytest.raises(EngineError) as caught:
        engine.complete("tiny", [dialogue("Hello")], SAMPLING)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("address", ["ftp://ada:geheim@host/v1", "ada:geheim@host/v1", "http://ada:ge/heim@host/v1"])
def test_a_password_in_an_address_that_is_none_is_never_said(address: str) -> None:
    with pytest.raises(EngineError, match="not an http address") as caught:
        EndpointEngine(address)
    assert "heim" not in str(caught.value)


def test_a_password_that_the_server_repeats_is_never_said(server: ScriptedServer) -> None:
    server.script = lambda body, attempt: (403, refused(f"no: {server.keys[-1]}, ada:ge%20heim, ge heim"))
    engine = EndpointEngine(server.address.replace("//", "//ada:ge%20heim@"), "tiny")
    with pytest.raises(EngineError) as caught:
        engine.complete("tiny", [dialogue("Hello")], SAMPLING)
    assert server.keys == ["Basic " + b64encode(b"ada:ge heim").decode()]
    assert caught.value.args[0].endswith("answered 403 (no: Basic ***, ***, ***)")


def test_models_are_those_given_or_those_the_server_lists(server: ScriptedServer, engine: EndpointEngine) -> None:
    assert engine.models() == ["tiny"]
    assert EndpointEngine(server.address).models() == ["tiny", "tutor"]


def streamed(*pieces: str) -> bytes:
    deltas = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    return b"".join(b"data: " + json.dumps(delta).encode() + b"\n\n" for delta in [*deltas, {"choices": []}])


def test_a_stream_comes_in_pieces(server: ScriptedServer, engine: EndpointEngine) -> None:
    server.script = lambda body, attempt: (200, streamed("What ", "", "now?") + b"data: [DONE]\n\n")
    assert list(engine.stream("tiny", dialogue("Hello"), SAMPLING)) == ["What ", "now?"]
    assert server.requests[0]["stream"] is True


@pytest.mark.parametrize(
    "answer",
    [
        streamed("What ") + b'data: {"error": {"message": "out of memory"}}\n\n',
        streamed("What ") + b"data: {broken\n\n",
        b"<html>a login page</html>",
    ],
)
def test_a_stream_that_breaks_is_an_error(server: ScriptedServer, engine: EndpointEngine, answer: bytes) -> None:
    server.script = lambda body, attempt: (200, answer)
    with pytest.raises(EngineError, match=server.address):
        list(engine.stream("tiny", dialogue("Hello"), SAMPLING))
