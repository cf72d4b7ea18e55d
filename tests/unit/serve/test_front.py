"""What stands before vLLM.

Real here: uvicorn on a port for both sides, aiohttp between them. Not real: vLLM, whose place an application takes
that keeps what it was asked.
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.testclient import TestClient

from tuning_room.serve.front import create_front
from tuning_room.serve.roster import Roster, ServedAdapter
from tuning_room.serve.server import bound_socket

PIECES = [b"data: one\n\n", b"data: two\n\n", b"data: [DONE]\n\n"]


class Upstream:
    """Stands for vLLM: keeps each request's path and body, and notices clients that leave."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.left = threading.Event()
        self.app = FastAPI()
        self.app.post("/{path:path}")(self.answer)
        self.app.get("/metrics")(lambda: Response("tokens 7"))

    async def answer(self, path: str, request: Request) -> Response:
        body = await request.json()
        self.asked.append((path, body))
        if body.get("stream"):
            return StreamingResponse(self.pieces(), media_type="text/event-stream")
        if body.get("slow"):
            for _ in range(100):
                await asyncio.sleep(0.1)
                if await request.is_disconnected():
                    self.left.set()
                    break
        if body.get("fails"):
            return JSONResponse({"error": {"message": "too long", "code": 400}}, 400)
        return JSONResponse({"model": body["model"], "text": "Grüße"})

    async def pieces(self) -> AsyncIterator[bytes]:
        for piece in PIECES:
            yield piece


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Upstream, str]]:
    upstream = Upstream()
    with bound_socket("127.0.0.1", 0) as bound:
        server = uvicorn.Server(uvicorn.Config(upstream.app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        # A port that nobody listens at yet refuses its first client.
        while not server.started:
            time.sleep(0.01)
        yield upstream, f"http://127.0.0.1:{bound.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture
def upstream(running: tuple[Upstream, str]) -> Upstream:
    running[0].asked.clear()
    running[0].left.clear()
    return running[0]


@pytest.fixture
def roster() -> Roster:
    good = ServedAdapter("cook-01234567", "cook", "0" * 64, short_prompt="You are a cook.", state="proven")
    bad = ServedAdapter("clerk-89abcdef", digest="8" * 64).refused("half of it is missing")
    return Roster("tiny", [good, bad])


@pytest.fixture
def client(upstream: Upstream, running: tuple[Upstream, str], roster: Roster) -> Iterator[TestClient]:
    roster.open()
    with TestClient(create_front(roster, running[1]), raise_server_exceptions=False) as opened:
        yield opened


def test_a_request_passes_as_it_is_under_the_adapters_own_name(client: TestClient, upstream: Upstream) -> None:
    body = {"model": "cook", "messages": [{"role": "user", "content": "Hi"}], "top_k": 5, "tools": [{"x": None}]}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.json() == {"model": "cook-01234567", "text": "Grüße"}
    assert upstream.asked == [("v1/chat/completions", {**body, "model": "cook-01234567"})]
    assert answer.headers["X-Tuning-Room-Model"] == "cook-01234567"
    assert "system turn" in answer.headers["X-Tuning-Room-Warning"]


def test_without_a_model_the_base_answers(client: TestClient, upstream: Upstream) -> None:
    client.post("/v1/completions", json={"prompt": "Hi"})
    assert upstream.asked == [("v1/completions", {"prompt": "Hi", "model": "tiny"})]


def test_a_stream_passes_piece_by_piece(client: TestClient) -> None:
    with client.stream("POST", "/v1/chat/completions", json={"model": "tiny", "stream": True}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert b"".join(answer.iter_raw()) == b"".join(PIECES)


def test_an_error_of_vllms_passes(client: TestClient) -> None:
    answer = client.post("/v1/chat/completions", json={"model": "tiny", "fails": True})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "too long")
    assert client.get("/metrics").text.strip('"') == "tokens 7"


@pytest.mark.parametrize(("model", "status"), [("clerk-89abcdef", 409), ("nobody", 404)])
def test_a_name_that_may_not_answer_never_reaches_vllm(
    client: TestClient, upstream: Upstream, model: str, status: int
) -> None:
    """Complaint 1 of tests/impostors.py."""
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/tokenize"):
        assert client.post(path, json={"model": model}).status_code == status
    assert upstream.asked == []


@pytest.mark.parametrize("path", ["/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/nothing", "/sleep"])
def test_nobody_changes_what_vllm_has_loaded(client: TestClient, upstream: Upstream, path: str) -> None:
    """Complaint 3: a name would be used again for other weights."""
    assert client.post(path, json={"lora_name": "cook-01234567", "lora_path": "/tmp"}).status_code == 404
    assert upstream.asked == []


def test_before_the_proof_nothing_passes(upstream: Upstream, running: tuple[Upstream, str], roster: Roster) -> None:
    """Complaint 4."""
    with TestClient(create_front(roster, running[1])) as early:
        answer = early.post("/v1/chat/completions", json={"model": "tiny"})
    assert (answer.status_code, upstream.asked) == (503, [])


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 5000, b'"text"', b'{"n": ' + b"9" * 5000 + b"}"]
)
def test_a_body_that_is_no_object_is_the_clients_error(client: TestClient, upstream: Upstream, body: bytes) -> None:
    answer = client.post("/v1/chat/completions", content=body)
    assert (answer.status_code, upstream.asked) == (400, [])
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("messages", ["text", [1], [{"role": "system"}], [{"role": "system", "content": [{"t": 1}]}]])
def test_odd_messages_are_vllms_to_judge(client: TestClient, upstream: Upstream, messages: Any) -> None:
    assert client.post("/v1/chat/completions", json={"model": "cook", "messages": messages}).status_code == 200
    assert upstream.asked[0][1]["messages"] == messages


def test_half_of_a_surrogate_pair_is_no_crash(client: TestClient) -> None:
    body = b'{"model": "cook", "messages": [{"role": "system", "content": "\\ud83d"}]}'
    assert client.post("/v1/chat/completions", content=body).status_code == 200


def test_the_short_prompt_in_parts_or_from_a_developer_is_the_short_prompt(client: TestClient) -> None:
    parts = [{"type": "text", "text": "You are "}, {"type": "text", "text": "a cook."}]
    for turn in ({"role": "system", "content": parts}, {"role": "developer", "content": "You are a cook."}):
        answer = client.post("/v1/chat/completions", json={"model": "cook", "messages": [turn]})
        assert "X-Tuning-Room-Warning" not in answer.headers


def test_vllm_that_is_gone_is_an_error_in_openais_shape(roster: Roster) -> None:
    roster.open()
    with TestClient(create_front(roster, "http://127.0.0.1:9")) as client:
        answer = client.post("/v1/chat/completions", json={"model": "tiny"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (502, "server_error")


def test_a_client_that_leaves_takes_its_request_with_it(
    upstream: Upstream, running: tuple[Upstream, str], roster: Roster
) -> None:
    import httpx

    roster.open()
    with bound_socket("127.0.0.1", 0) as bound:
        front = uvicorn.Server(uvicorn.Config(create_front(roster, running[1]), log_level="warning"))
        thread = threading.Thread(target=front.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{bound.getsockname()[1]}/v1/chat/completions"
        with pytest.raises(httpx.TimeoutException):
            httpx.post(address, content=json.dumps({"model": "tiny", "slow": True}), timeout=1.5)
        started = time.monotonic()
        assert upstream.left.wait(5)
        assert time.monotonic() - started < 2
        front.should_exit = True
        thread.join(timeout=10)
