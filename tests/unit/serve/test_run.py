"""Running a server until it is told to end.

Real here: the processes, the signals, uvicorn. Not real: vLLM, whose place a process that only sleeps takes, and the
model, whose place an engine takes that never comes to an end.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
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

    def start(self) -> None:
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


@pytest.mark.parametrize("stream", [True, False])
def test_a_reply_under_way_does_not_hold_up_the_end(stream: bool) -> None:
    port = free_port("127.0.0.1")
    answers: list[str] = []

    def ask_and_interrupt() -> None:
        address = f"http://127.0.0.1:{port}/v1/chat/completions"
        body = {"model": "endless", "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
        transport = httpx.HTTPTransport(retries=5)
        with httpx.Client(transport=transport) as client, client.stream("POST", address, json=body) as answer:
            answers.extend(answer.iter_text())

    thread = threading.Thread(target=ask_and_interrupt)
    thread.start()
    threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    serve_engine(EndlessEngine(), port=port)
    thread.join()
    assert time.monotonic() - started < 5
    assert "the server is shutting down" in "".join(answers)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_vllm_ends_with_the_command(number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = SleepingServer("sleep", "600")
    monkeypatch.setattr(serve, "vllm_server", lambda *_args, **_more: server)
    said: list[str] = []
    before = signal.getsignal(signal.SIGTERM)
    threading.Timer(0.5, os.kill, (os.getpid(), number)).start()
    serve.run_server(CONFIG, Workspace(tmp_path), tell=said.append)
    assert said == ["serving tiny at http://127.0.0.1:81/v1 (Ctrl-C stops it)", "vLLM has been stopped"]
    assert server.process is not None
    assert server.process.returncode is not None
    assert signal.getsignal(signal.SIGTERM) is before


def test_vllm_that_dies_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "vllm_server", lambda *_args, **_more: SleepingServer("false"))
    with pytest.raises(EngineError, match="stopped with status 1"):
        serve.run_server(CONFIG, Workspace(tmp_path), tell=lambda _text: None)
