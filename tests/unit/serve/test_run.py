"""Running a server until it is told to end.

Real here: the processes, the signals, uvicorn. Not real: vLLM, whose place a process that only sleeps takes, and the
model, whose place an engine takes that never comes to an end.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tuning_room import serve
from tuning_room.engines import Engine, Reply, Sampling
from tuning_room.engines.vllm import Settings, VllmServer, free_port
from tuning_room.errors import EngineError
from tuning_room.records import Message
from tuning_room.serve.config import ServeConfig
from tuning_room.serve.preparing import ServedModels
from tuning_room.serve.server import serve as serve_engine
from tuning_room.workspace import Workspace

CONFIG = ServeConfig(model="embedded:tiny", recipe="tutor", engine="vllm")


@pytest.fixture(autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """Take SIGINT for Ctrl-C also where the tests run in a shell's background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class SleepingServer(VllmServer):
    """A server that is ready at once and answers nothing."""

    def __init__(self, *command: str) -> None:
        super().__init__(Path("/model"), "tiny", {}, Settings(port=81), lambda _text: None)
        self._command = command
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        self.process = self._process = subprocess.Popen(self._command, start_new_session=True)


class EndlessEngine(Engine):
    """Says the same word for ever."""

    def models(self) -> list[str]:
        return ["endless"]

    def complete(self, *_args: Any, **_more: Any) -> list[Reply]:
        raise AssertionError("the server reads every reply as a stream")

    def stream(self, model: str, messages: Sequence[Message], sampling: Sampling) -> Iterator[str]:
        while True:
            time.sleep(0.01)
            yield "again "


def until(is_so: Callable[[], bool]) -> None:
    """Wait, at most half a minute, until something is so."""
    deadline = time.monotonic() + 30
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)


def is_listening(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health").is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("stream", [True, False])
def test_a_reply_under_way_does_not_hold_up_the_end(stream: bool) -> None:
    port = free_port("127.0.0.1")
    answers: list[str] = []

    def ask_and_interrupt() -> None:
        address = f"http://127.0.0.1:{port}/v1/chat/completions"
        body = {"model": "endless", "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
        until(lambda: is_listening(port))
        threading.Timer(1, interrupt).start()
        with httpx.Client() as client, client.stream("POST", address, json=body) as answer:
            answers.extend(answer.iter_text())

    interrupted: list[float] = []

    def interrupt() -> None:
        interrupted.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=ask_and_interrupt)
    thread.start()
    serve_engine(EndlessEngine(), port=port)
    thread.join()
    assert time.monotonic() - interrupted[0] < 5
    assert "the server is shutting down" in "".join(answers)


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let a process of the given command stand for vLLM, and nothing be prepared for it."""
    command: list[str] = []
    nothing = ServedModels(Path("/model"), "tiny", [], "", [])
    monkeypatch.setattr("tuning_room.serve.preparing.prepare", lambda *_args, **_more: nothing)
    servers: list[SleepingServer] = []

    def made(*_args: Any) -> SleepingServer:
        servers.append(SleepingServer(*command))
        return servers[-1]

    monkeypatch.setattr(serve, "_vllm_server", made)
    yield command
    for server in servers:
        assert server.process is not None
        assert server.process.poll() is not None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_vllm_ends_with_the_command(number: signal.Signals, tmp_path: Path, vllm: list[str]) -> None:
    vllm += ["sleep", "600"]
    said: list[str] = []
    before = signal.getsignal(signal.SIGTERM)

    def interrupt() -> None:
        until(lambda: any(line.startswith("serving") for line in said))
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt).start()
    serve.run_server(CONFIG.model_copy(update={"port": 0}), Workspace(tmp_path), tell=said.append)
    assert said[-1] == "vLLM has been stopped"
    assert any(line.startswith("serving tiny at http://127.0.0.1:") for line in said)
    assert signal.getsignal(signal.SIGTERM) is before


def test_vllm_that_dies_is_an_error(tmp_path: Path, vllm: list[str]) -> None:
    vllm += ["false"]
    with pytest.raises(EngineError, match="stopped with status 1"):
        serve.run_server(CONFIG.model_copy(update={"port": 0}), Workspace(tmp_path), tell=lambda _text: None)


def test_while_vllm_starts_clients_are_asked_to_wait(
    tmp_path: Path, vllm: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Complaint 4 of tests/impostors.py: nobody gets an answer that is not proven."""
    vllm += ["sleep", "600"]
    port, answers = free_port("127.0.0.1"), list[httpx.Response]()
    launch = SleepingServer.launch
    monkeypatch.setattr(SleepingServer, "launch", lambda server: (launch(server), time.sleep(2)))

    def ask_and_interrupt() -> None:
        with httpx.Client(transport=httpx.HTTPTransport(retries=5), base_url=f"http://127.0.0.1:{port}") as client:
            time.sleep(0.5)
            answers.append(client.post("/v1/chat/completions", json={"model": "tiny", "messages": []}))
            answers.append(client.get("/health"))
        time.sleep(2)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=ask_and_interrupt)
    thread.start()
    serve.run_server(CONFIG.model_copy(update={"port": port}), Workspace(tmp_path), tell=lambda _text: None)
    thread.join()
    assert [answer.status_code for answer in answers] == [503, 503]
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)


@pytest.mark.parametrize("engine", ["local", "vllm"])
@pytest.mark.parametrize("value", [None, "", "  "])
def test_keys_that_are_asked_for_and_not_there_are_an_error_at_once(
    engine: Any, value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERVE_KEYS", raising=False)
    if value is not None:
        monkeypatch.setenv("SERVE_KEYS", value)
    config = CONFIG.model_copy(update={"engine": engine, "key_variable": "SERVE_KEYS"})
    with pytest.raises(EngineError, match="SERVE_KEYS holds no key"):
        serve.run_server(config)
