"""The server against clients that are slow, greedy, silent or gone, and against the signal to stop.

Real here: a process of its own with uvicorn, sockets, signals and a small random model with a drawn adapter. Not real:
knowledge; the model says nothing that means anything, and takes at least 5 ms for a token. Timeouts are 2 s.
"""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

PROGRAM = """
import sys
import time
from tuning_room.engines.local import LocalEngine
from tuning_room.serve import connection
from tuning_room.serve.server import ServerSettings, bound_socket, serve

connection.HEAD_TIMEOUT = connection.BODY_TIMEOUT = connection.UNREAD_TIMEOUT = 2.0
engine = LocalEngine(sys.argv[1], base="tiny", adapters={"drawn": sys.argv[2]}, batch_size=4)
engine.model.config.max_position_embeddings = 40_000
advance = engine._decoder.advance
engine._decoder.advance = lambda *args: (time.sleep(0.005), advance(*args))[1]
bound = bound_socket("127.0.0.1", 0)
print(bound.getsockname()[1], flush=True)
serve(engine, bound=bound, settings=ServerSettings(longest=100_000, places=4, waiting=3, grace=float(sys.argv[3])))
"""
HELLO = [{"role": "user", "content": "Hello"}]
ENDLESS = {"model": "tiny", "messages": HELLO, "logit_bias": {"257": -100}}  # its end of turn


class Process(NamedTuple):
    """A server in a process of its own."""

    process: "subprocess.Popen[str]"
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, **fields: Any) -> httpx.Response:
        body = {**ENDLESS, **fields}
        return httpx.post(f"{self.address}/v1/chat/completions", json=body, timeout=60)

    def metric(self, name: str) -> int:
        lines = httpx.get(f"{self.address}/metrics", timeout=30).text.splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))

    def wait_for(self, name: str, value: int) -> None:
        deadline = time.monotonic() + 20
        while self.metric(name) != value:
            assert time.monotonic() < deadline, f"{name} is {self.metric(name)}, not {value}"
            time.sleep(0.05)

    def memory(self) -> int:
        """Return the resident memory in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) // 1024


def started(model: Path, adapter: Path, grace: float) -> Process:
    line = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(model), str(adapter), str(grace)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = Process(process, int(process.stdout.readline()))
    deadline = time.monotonic() + 60
    while True:
        try:
            assert httpx.get(f"{found.address}/health", timeout=5).status_code == 200
            return found
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def stopped(found: Process, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
    """Stop a server and return its exit code and what it wrote."""
    found.process.send_signal(number)
    _, written = found.process.communicate(timeout=60)
    return found.process.returncode, written


@pytest.fixture(scope="module")
def server(tiny_model: Path, drawn_adapter: Path) -> Iterator[Process]:
    found = started(tiny_model, drawn_adapter, grace=5)
    yield found
    code, written = stopped(found)
    assert (code, written.replace("WARNING:  Invalid HTTP request received.\n", "")) == (0, "")


def opened(server: Process) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def request(body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (size, body)


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_all_at_once_get_what_each_gets_alone(server: Process) -> None:
    asks = [
        {"model": model, "max_tokens": 40, "seed": n, "temperature": n % 2}
        for n in range(3)
        for model in ("tiny", "drawn")
    ]
    alone = [server.ask(**one).json()["choices"] for one in asks]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda one: server.ask(**one).json()["choices"], asks)) == alone


def test_a_body_that_trickles_in_is_given_up(server: Process) -> None:
    with opened(server) as connection:
        connection.sendall(request(b'{"model": ', length=1000))
        answer = read_all(connection)
    assert b" 408 " in answer.splitlines()[0]
    assert b'"code":"request_timeout"' in answer


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea"])
def test_a_head_that_never_ends_costs_a_connection_for_a_while_only(server: Process, sent: bytes) -> None:
    with opened(server) as connection:
        connection.sendall(sent)
        started_at = time.monotonic()
        with suppress(ConnectionResetError):
            read_all(connection)
        assert time.monotonic() - started_at < 10


def test_what_is_no_http_is_refused_in_the_same_form(server: Process) -> None:
    with opened(server) as connection:
        connection.sendall(b"BOGUS\r\n\r\n")
        answer = read_all(connection)
    assert b" 400 " in answer.splitlines()[0]
    assert json.loads(answer.split(b"\r\n\r\n")[1])["error"]["type"] == "invalid_request_error"


def test_a_client_that_reads_nothing_is_cut_off_and_its_place_is_free_again(server: Process) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        body = {**ENDLESS, "stream": True, "n": 4}
        connection.sendall(request(json.dumps({**body, "logprobs": True, "top_logprobs": 20}).encode()))
        server.wait_for("tuning_room_replies_running", 4)
        server.wait_for("tuning_room_replies_running", 0)


@pytest.mark.parametrize("stream", [True, False])
def test_the_reply_to_a_client_that_leaves_is_given_up(server: Process, stream: bool) -> None:
    with opened(server) as connection:
        connection.sendall(request(json.dumps({**ENDLESS, "stream": stream}).encode()))
        server.wait_for("tuning_room_replies_running", 1)
    left = time.monotonic()
    server.wait_for("tuning_room_replies_running", 0)
    assert time.monotonic() - left < 2


def test_the_line_is_bounded_and_whoever_leaves_it_makes_room(server: Process) -> None:
    connections = []
    for name, most in (("tuning_room_replies_running", 4), ("tuning_room_requests_waiting", 3)):
        for number in range(most):
            connections.append(opened(server))
            connections[-1].sendall(request(json.dumps(ENDLESS).encode()))
            server.wait_for(name, number + 1)
    refused = server.ask()
    assert refused.status_code == 429 and int(refused.headers["Retry-After"]) >= 1
    assert refused.json()["error"]["type"] == "rate_limit_error"
    connections.pop().close()
    server.wait_for("tuning_room_requests_waiting", 2)
    for connection in connections:
        connection.close()
    server.wait_for("tuning_room_requests_waiting", 0)
    server.wait_for("tuning_room_replies_running", 0)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"no json", 400),
        (b'{"model": "tiny", "messages": [{"role": "user", "content": "%s"}]}' % (b"x" * 10_000_000), 413),
        (b'{"model": "tiny", "messages": [{"role": "user", "content": "%s"}]}' % (b"word " * 20_000), 400),
        (b"[" * 200_000, 400),
    ],
)
def test_hard_bodies_are_refused_in_words_and_cost_no_memory(server: Process, body: bytes, status: int) -> None:
    url, before = f"{server.address}/v1/chat/completions", server.memory()
    for _ in range(3):
        answer = httpx.post(url, content=body, timeout=60)
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert server.memory() - before < 60


def test_memory_is_flat_over_many_requests(server: Process) -> None:
    def ask_some(start: int) -> None:
        with ThreadPoolExecutor(6) as pool:
            turns = [[{"role": "user", "content": f"Question {n} " * 20}] for n in range(start, start + 60)]
            assert {
                answer.status_code for answer in pool.map(lambda m: server.ask(messages=m, max_tokens=20), turns)
            } == {200}

    ask_some(0)
    before = server.memory()
    ask_some(100)
    assert server.memory() - before < 40


@pytest.mark.parametrize(("grace", "finishes"), [(30.0, True), (1.0, False)])
def test_told_to_stop_it_refuses_who_waits_and_finishes_what_it_can(
    tiny_model: Path, drawn_adapter: Path, grace: float, finishes: bool
) -> None:
    server = started(tiny_model, drawn_adapter, grace)
    with ThreadPoolExecutor(6) as pool:
        tokens = 300 if finishes else 30_000
        under_way = [pool.submit(server.ask, n=2, max_tokens=tokens, stream=stream) for stream in (True, False)]
        server.wait_for("tuning_room_replies_running", 4)
        waiting = [pool.submit(server.ask, stream=stream) for stream in (True, False)]
        server.wait_for("tuning_room_requests_waiting", 2)
        assert stopped(server) == (0, "")
        for refused in (future.result() for future in waiting):
            assert refused.status_code == 503
            assert refused.json()["error"]["message"] == "the server is shutting down"
        streamed, whole = (future.result() for future in under_way)
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert ("shutting down" in streamed.text) is not finishes
    assert whole.status_code == (200 if finishes else 503)


def test_ctrl_c_does_not_wait(tiny_model: Path, drawn_adapter: Path) -> None:
    server = started(tiny_model, drawn_adapter, 60.0)
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(server.ask)
        server.wait_for("tuning_room_replies_running", 1)
        began = time.monotonic()
        assert stopped(server, signal.SIGINT) == (0, "")
        assert time.monotonic() - began < 10
        assert under_way.result().status_code == 503
