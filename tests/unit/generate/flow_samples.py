"""What the tests of flows share: a chat server on a socket that says what a test's own function decides."""

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tuning_room.generate.config import TeacherConfig
from tuning_room.records import Candidate, Chunk, Rejection, read_jsonl
from tuning_room.workspace import Workspace

FULL_PROMPT = "You are {{ odd }} & <odd>.\nNever tell 'the' \"answer\"; ask: what is 7*7?\n- Zwölf Regeln."
TEMPLATE_TEXT = "Half of {{ 7 * 7 }} < 30 & {% raw %} \"so\" 'on'"

# How each flow's call begins; an answer's begins with the full prompt itself.
CALLS = {
    "You write messages": "query",
    "You play a user": "user",
    "You review replies": "critique",
    "You improve replies": "rewrite",
    "You write rubrics": "rubric",
    "You judge replies": "judge",
}


def kind(body: dict[str, Any]) -> str:
    """Return which flow sent a request."""
    first = body["messages"][0]["content"]
    return next((name for beginning, name in CALLS.items() if first.startswith(beginning)), "answer")


def last(body: dict[str, Any]) -> str:
    """Return the last message of a request."""
    return str(body["messages"][-1]["content"])


def passage(body: dict[str, Any]) -> str:
    """Return the number of the passage that a request for a query is about."""
    found = re.search(r"Passage (\d+)\.", last(body))
    return found[1] if found else ""


def half(body: dict[str, Any]) -> str:
    """Return a short question; those about two passages differ, since what is alike is asked once."""
    return f"What is half of {passage(body) or 12}?"


class Said(NamedTuple):
    """A reply with the reason why it ended, and a reasoning that stands beside it."""

    content: str | None
    finish_reason: str = "stop"
    reasoning: dict[str, str] = {}


class ChatServer(ThreadingHTTPServer):
    """Speaks OpenAI chat completions; `answer(body)` gives a reply, or a status to refuse with."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[dict[str, Any]] = []
        self.lock = threading.Lock()
        self.answer: Callable[[dict[str, Any]], str | int | Said] = half

    @property
    def config(self) -> TeacherConfig:
        address = f"http://127.0.0.1:{self.server_port}/v1"
        return TeacherConfig(kind="endpoint", model="big", address=address, concurrency=3)

    def sent(self, flow: str) -> list[dict[str, Any]]:
        """Return the requests of one flow, in the order of their arrival."""
        return [body for body in self.bodies if kind(body) == flow]

    def asked(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the calls for questions and those for answers."""
        answers = [body for body in self.bodies if body["messages"][0]["content"] == FULL_PROMPT]
        return [body for body in self.bodies if body not in answers], answers


class Handler(BaseHTTPRequestHandler):
    server: ChatServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            self.server.bodies.append(body)
        said = self.server.answer(body)
        said = Said(said) if isinstance(said, str) else said
        value: Any = {"error": {"message": "I refuse this row", "type": "invalid_request_error"}}
        if isinstance(said, Said):
            message = {"role": "assistant", "content": said.content, **said.reasoning}
            choice = {"index": 0, "message": message, "finish_reason": said.finish_reason}
            value = {"id": "1", "created": 0, "object": "chat.completion", "choices": [choice]}
        content = json.dumps(value).encode()
        self.send_response(200 if isinstance(said, Said) else said)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_args: Any) -> None:
        """Keep the tests' output quiet."""


def chunk(number: int, **changes: Any) -> Chunk:
    text = f"Passage {number}. {TEMPLATE_TEXT}"
    given = {"id": f"c{number}", "document": "book", "headings": [f"Chapter {number}"], "text": text}
    return Chunk.model_validate({**given, **changes})


NOTE = chunk(
    9,
    headings=["Chapter 1: Fractions", "Problem 1.1: Half of a cake"],
    text="How much is half of 12?",
    items=["Ask what 12 / 3 is.", "Sing.", "Have the student draw 12 pieces.", "Ask what 12 / 4 is."],
)


def candidates(workspace: Workspace) -> list[Candidate]:
    return list(read_jsonl(workspace.candidates, Candidate))


def losers(workspace: Workspace) -> list[Rejection]:
    return list(read_jsonl(workspace.losers, Rejection))
