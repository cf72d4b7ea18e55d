"""A chat server that speaks bytes: it can refuse, hang, cut its connection, or never stop, by what it is asked."""

import json
import socketserver
import threading
import time
from collections.abc import Callable
from typing import Any

Script = Callable[[str, int], bytes | float]  # the user's words and the attempt: bytes to send, or seconds to hang


def response(status: int, value: Any, *headers: str) -> bytes:
    """Return an HTTP response; a value that is no bytes goes as JSON."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    head = [f"HTTP/1.1 {status} x", "content-type: application/json", f"content-length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def completion(text: Any, usage: tuple[int, int] | None = (40, 5)) -> bytes:
    """Return a chat completion with a text."""
    message = {"role": "assistant", "content": text}
    answer: dict[str, Any] = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    if usage:
        answer["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return response(200, answer)


def refusal(status: int, words: str, *headers: str) -> bytes:
    """Return an OpenAI error."""
    return response(status, {"error": {"message": words}}, *headers)


class ScriptedTeacher(socketserver.ThreadingTCPServer):
    """Answers each request as `script(words, attempt)` says; `asked` holds the words of all, in order, with times."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.script: Script = lambda words, attempt: completion(f"What about {words}?")
        self.delay = 0.0
        self.lock = threading.Lock()
        self.asked: list[str] = []
        self.times: list[float] = []
        self.bodies: list[dict[str, Any]] = []

    @property
    def address(self) -> str:
        """Return the address that a teacher is given."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep the tests' output quiet: a client that leaves early is what some of them are about."""

    def __enter__(self) -> "ScriptedTeacher":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        self.server_close()


class _Connection(socketserver.StreamRequestHandler):
    server: ScriptedTeacher

    def handle(self) -> None:
        while self.rfile.readline().strip():
            length = 0
            while line := self.rfile.readline().strip().lower():
                length = int(line.partition(b":")[2]) if line.startswith(b"content-length") else length
            if not self._answer(json.loads(self.rfile.read(length))):
                return

    def _answer(self, body: dict[str, Any]) -> bool:
        server, words = self.server, body["messages"][-1]["content"]
        with server.lock:
            server.asked.append(words)
            server.times.append(time.monotonic())
            server.bodies.append(body)
            said = server.script(words, server.asked.count(words))
        time.sleep(server.delay)
        if isinstance(said, float):
            time.sleep(said)
            return False
        self.wfile.write(said)
        # What ends before its length was announced is cut off here.
        return b"x-then: close" not in said
