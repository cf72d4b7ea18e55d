"""The HTTP server: OpenAI's chat API over any engine."""

import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from types import FrameType

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from tuning_room.engines import Engine
from tuning_room.errors import AdapterMismatchError, EngineError, RenderingError
from tuning_room.serve.answers import UNEXPECTED, ChatAnswer, error_body
from tuning_room.serve.chat import ChatRequest
from tuning_room.serve.names import add_roster
from tuning_room.serve.roster import (
    RETRY_AFTER,
    NotProvenYetError,
    RefusedAdapterError,
    Roster,
    UnknownModelError,
)
from tuning_room.serve.stream import Pieces, events, whole

LONGEST_REPLY = 2048  # tokens
GRACE = 5  # seconds that requests under way are given when the server is stopped
CLIENT_HAS_GONE = 499  # what nginx calls it; nobody reads it


def create_app(
    engine: Engine, *, longest: int = LONGEST_REPLY, ending: Event | None = None, roster: Roster | None = None
) -> FastAPI:
    """Return the application over an engine; a reply has at most `longest` tokens, and stops once `ending` is set.

    It has POST /v1/chat/completions and what `add_roster` adds. Without a roster all of the engine's models answer.
    Errors have OpenAI's shape: 400 for a request that cannot be answered, 404 for an unknown model or path, 409 for an
    adapter that was refused, 502 for an engine that does not answer, 503 before the adapters are proven.
    """
    app = FastAPI(title="Tuning Room", docs_url=None, redoc_url=None)
    served, end = roster or Roster.of_names(engine.models()), ending or Event()

    @app.post("/v1/chat/completions")
    async def chat(asked: ChatRequest, request: Request) -> Response:
        name, dialogue = served.resolve(asked.model), asked.dialogue()
        source = engine.stream(name, dialogue, asked.sampling(longest))
        pieces = await run_in_threadpool(Pieces, source, asked.stops())
        answer = await _answered(name, asked, pieces, end, request)
        answer.headers.update(served.headers(name, dialogue))
        return answer

    add_roster(app, served)
    answer_errors(app)
    return app


async def _answered(name: str, asked: ChatRequest, pieces: Pieces, ending: Event, request: Request) -> Response:
    answer = ChatAnswer(name)
    if asked.stream:
        streamed = events(answer, pieces, ending, usage=asked.wants_usage)
        return StreamingResponse(streamed, media_type="text/event-stream")
    text = await whole(pieces, ending, request)
    if text is None:
        return Response(status_code=CLIENT_HAS_GONE)
    return JSONResponse(answer.completion(text, pieces.finish_reason, pieces.reply))


def answer_errors(app: FastAPI) -> None:
    """Have an application answer all errors in OpenAI's shape."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        message = f"{where}: {first['msg']}" if where else str(first["msg"])
        return _refused(400, message, "invalid_request_error", where or None)

    @app.exception_handler(UnknownModelError)
    async def unknown(_request: Request, error: UnknownModelError) -> JSONResponse:
        return _refused(404, str(error), "invalid_request_error", "model", "model_not_found")

    @app.exception_handler(NotProvenYetError)
    async def early(_request: Request, error: NotProvenYetError) -> JSONResponse:
        answer = _refused(503, str(error), "server_error", "model", "model_not_ready")
        answer.headers["Retry-After"] = str(RETRY_AFTER)
        return answer

    @app.exception_handler(RefusedAdapterError)
    async def refused(_request: Request, error: RefusedAdapterError) -> JSONResponse:
        return _refused(409, str(error), "invalid_request_error", "model", "adapter_refused")

    @app.exception_handler(AdapterMismatchError)
    async def unfit(_request: Request, error: AdapterMismatchError) -> JSONResponse:
        return _refused(409, str(error), "invalid_request_error", "model", "name_taken")

    @app.exception_handler(RenderingError)
    async def unrendered(_request: Request, error: RenderingError) -> JSONResponse:
        return _refused(400, str(error), "invalid_request_error", "messages")

    @app.exception_handler(EngineError)
    async def failed(_request: Request, error: EngineError) -> JSONResponse:
        return _refused(502, str(error), "server_error")

    @app.exception_handler(HTTPException)
    async def other(_request: Request, error: HTTPException) -> JSONResponse:
        return _refused(error.status_code, str(error.detail), "invalid_request_error")

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, _error: Exception) -> JSONResponse:
        return _refused(500, UNEXPECTED, "server_error")


def _refused(status: int, message: str, kind: str, param: str | None = None, code: str | None = None) -> JSONResponse:
    return JSONResponse(error_body(message, kind, param, code), status)


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket that holds an address but does not listen yet; EngineError if it is not free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or error
        raise EngineError(f"cannot listen on {host}:{port} ({reason})", hint="choose another host or port") from None
    return bound


def serve(
    engine: Engine,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    longest: int = LONGEST_REPLY,
    bound: socket.socket | None = None,
    roster: Roster | None = None,
) -> None:
    """Serve an engine until it is interrupted; EngineError if the address is taken."""
    ending = Event()
    app = create_app(engine, longest=longest, ending=ending, roster=roster)
    run_app(app, bound or bound_socket(host, port), ending)


def run_app(app: FastAPI, bound: socket.socket, ending: Event, meanwhile: Callable[[], None] | None = None) -> None:
    """Run an application on a socket until it is interrupted; `ending` is set as soon as it is.

    `meanwhile` runs beside it in a thread of its own; an error of it ends the application, and is raised.
    """
    settings = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE)
    server, failed = _Server(settings, ending), list[Exception]()

    def work() -> None:
        try:
            (meanwhile or (lambda: None))()
        except Exception as error:
            failed.append(error)
            server.should_exit = True

    Thread(target=work).start()
    with bound, suppress(KeyboardInterrupt):
        server.run(sockets=[bound])
    if failed and not ending.is_set():
        raise failed[0]


class _Server(uvicorn.Server):
    """A server that lets the replies under way know when it is to end; they could take minutes."""

    def __init__(self, settings: uvicorn.Config, ending: Event) -> None:
        super().__init__(settings)
        self._ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._ending.set()
        super().handle_exit(sig, frame)
