"""The HTTP server: OpenAI's chat API over any engine."""

import socket
import time
from contextlib import suppress
from threading import Event
from types import FrameType

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from tuning_room.engines import Engine
from tuning_room.errors import EngineError, RenderingError
from tuning_room.serve.answers import UNEXPECTED, ChatAnswer, error_body, model_list
from tuning_room.serve.chat import ChatRequest
from tuning_room.serve.stream import Pieces, events, whole

LONGEST_REPLY = 2048  # tokens
GRACE = 5  # seconds that requests under way are given when the server is stopped
CLIENT_HAS_GONE = 499  # what nginx calls it; nobody reads it


class UnknownModelError(EngineError):
    """A request for a model that is not served."""


def create_app(engine: Engine, *, longest: int = LONGEST_REPLY, ending: Event | None = None) -> FastAPI:
    """Return the application over an engine; a reply has at most `longest` tokens, and stops once `ending` is set.

    It has GET /health, GET /v1/models and POST /v1/chat/completions. Errors have OpenAI's shape: 400 for a
    request that cannot be answered, 404 for an unknown model or path, 502 for an engine that does not answer.
    """
    app = FastAPI(title="Tuning Room", docs_url=None, redoc_url=None)
    names, created, end = engine.models(), int(time.time()), ending or Event()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        return model_list(names, created)

    @app.post("/v1/chat/completions")
    async def chat(asked: ChatRequest, request: Request) -> Response:
        if asked.model not in names:
            raise UnknownModelError(f"model '{asked.model}' is not served here", hint=f"choose from {', '.join(names)}")
        source = engine.stream(asked.model, asked.dialogue(), asked.sampling(longest))
        pieces = await run_in_threadpool(Pieces, source, asked.stops())
        return await _answered(asked, pieces, end, request)

    _answer_errors(app)
    return app


async def _answered(asked: ChatRequest, pieces: Pieces, ending: Event, request: Request) -> Response:
    answer = ChatAnswer(asked.model)
    if asked.stream:
        streamed = events(answer, pieces, ending, usage=asked.wants_usage)
        return StreamingResponse(streamed, media_type="text/event-stream")
    text = await whole(pieces, ending, request)
    if text is None:
        return Response(status_code=CLIENT_HAS_GONE)
    return JSONResponse(answer.completion(text, pieces.finish_reason, pieces.reply))


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        message = f"{where}: {first['msg']}" if where else str(first["msg"])
        return _refused(400, message, "invalid_request_error", where or None)

    @app.exception_handler(UnknownModelError)
    async def unknown(_request: Request, error: UnknownModelError) -> JSONResponse:
        return _refused(404, str(error), "invalid_request_error", "model", "model_not_found")

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
) -> None:
    """Serve an engine until it is interrupted; EngineError if the address is taken."""
    taken = bound or bound_socket(host, port)
    ending = Event()
    app = create_app(engine, longest=longest, ending=ending)
    settings = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE)
    with taken, suppress(KeyboardInterrupt):
        _Server(settings, ending).run(sockets=[taken])


class _Server(uvicorn.Server):
    """A server that lets the replies under way know when it is to end; they could take minutes."""

    def __init__(self, settings: uvicorn.Config, ending: Event) -> None:
        super().__init__(settings)
        self._ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._ending.set()
        super().handle_exit(sig, frame)
