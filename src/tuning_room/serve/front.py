"""What stands before vLLM: clients reach it only through names that are proven, and everything else passes as it is.

vLLM itself answers under a name as soon as it has loaded it, proven or not, and lets whoever reaches it load more. So
it listens to this machine alone, on a port of its own.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from tuning_room.errors import EngineError
from tuning_room.records import Message
from tuning_room.serve.answers import error_body
from tuning_room.serve.names import add_roster
from tuning_room.serve.roster import Roster
from tuning_room.serve.server import CLIENT_HAS_GONE, answer_errors

if TYPE_CHECKING:
    import aiohttp

# What asks a model; what loads and unloads adapters stays closed.
ASKING = (
    "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/tokenize",
    "/detokenize",
)  # fmt: skip
READING = ("/metrics", "/version", "/load")
PASSED = ("content-type", "cache-control", "x-request-id")  # headers of vLLM's answers that clients get
LOOK_EVERY = 0.5  # seconds between looks at whether a client that waits is still there


def create_front(roster: Roster, upstream: str) -> FastAPI:
    """Return the application that passes requests on to a vLLM at an address without `/v1`."""
    import aiohttp

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        unbounded = aiohttp.ClientTimeout(total=None)
        connections = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=unbounded, connector=connections, auto_decompress=False) as session:
            app.state.session = session
            yield

    app = FastAPI(title="Tuning Room", docs_url=None, redoc_url=None, lifespan=lifespan)

    async def ask(request: Request) -> Response:
        body = await request.body()
        asked = _parsed(body)
        name = roster.resolve(str(asked.get("model") or roster.base))
        headers = roster.headers(name, _messages(asked.get("messages")))
        return await _passed(request, upstream, json.dumps({**asked, "model": name}).encode(), headers)

    async def read(request: Request) -> Response:
        return await _passed(request, upstream, b"", {})

    for path in ASKING:
        app.post(path)(ask)
    for path in READING:
        app.get(path)(read)
    add_roster(app, roster)
    answer_errors(app)

    @app.exception_handler(json.JSONDecodeError)
    async def unreadable(_request: Request, _error: json.JSONDecodeError) -> JSONResponse:
        return JSONResponse(error_body("the body is not a JSON object", "invalid_request_error"), 400)

    return app


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise json.JSONDecodeError(str(error), "", 0) from None
    if not isinstance(asked, dict):
        raise json.JSONDecodeError("not an object", "", 0)
    return asked


def _messages(given: object) -> Sequence[Message]:
    """Return the system turns of a request as far as they are texts; all else is vLLM's to judge."""
    found = []
    for turn in given if isinstance(given, list) else ():
        is_system = isinstance(turn, dict) and turn.get("role") in ("system", "developer")
        if is_system and (text := _text(turn.get("content"))):
            # Half of a surrogate pair is no text.
            found.append(Message(role="system", content=text.encode("utf-8", "replace").decode()))
    return found


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


async def _passed(request: Request, upstream: str, body: bytes, headers: Mapping[str, str]) -> Response:
    """Return vLLM's answer as it comes; a client that leaves takes its request with it."""
    import aiohttp

    session: aiohttp.ClientSession = request.app.state.session
    sent = {"Content-Type": "application/json"} if body else {}
    asking = asyncio.ensure_future(
        session.request(request.method, upstream + request.url.path, data=body or None, headers=sent)
    )
    try:
        while not (await asyncio.wait({asking}, timeout=LOOK_EVERY))[0]:
            if await request.is_disconnected():
                return Response(status_code=CLIENT_HAS_GONE)
        answer = asking.result()
    except aiohttp.ClientError as error:
        raise EngineError(f"vLLM does not answer ({type(error).__name__})") from None
    finally:
        asking.cancel()
    kept = {name: answer.headers[name] for name in PASSED if name in answer.headers}
    return StreamingResponse(_chunks(answer), answer.status, {**kept, **headers})


async def _chunks(answer: "aiohttp.ClientResponse") -> AsyncIterator[bytes]:
    # Closed, not released, where a client leaves: vLLM then stops.
    try:
        async for chunk in answer.content.iter_any():
            yield chunk
    finally:
        answer.close()
