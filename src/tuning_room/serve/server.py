"""The HTTP server: OpenAI's API over any engine."""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Thread, current_thread, main_thread
from types import FrameType
from typing import NamedTuple

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from tuning_room.engines import Engine, UnfitRequestError
from tuning_room.errors import AdapterMismatchError, EngineError, RenderingError
from tuning_room.serve.admission import Admission
from tuning_room.serve.answers import UNEXPECTED, error_body
from tuning_room.serve.asked import parsed
from tuning_room.serve.chat import ChatRequest
from tuning_room.serve.completions import CompletionRequest
from tuning_room.serve.connection import HeadAsGet, KeyGuard, TimelyProtocol, read_body
from tuning_room.serve.fields import WARNING_HEADER, RequestError
from tuning_room.serve.metrics import CONTENT_TYPE, CountedRequests
from tuning_room.serve.names import add_roster
from tuning_room.serve.replies import Replies
from tuning_room.serve.roster import (
    RETRY_AFTER,
    NotProvenYetError,
    RefusedAdapterError,
    Roster,
    UnknownModelError,
)

ASKING = ("/v1/chat/completions", "/v1/completions")
LONGEST_REPLY = 2048  # tokens
GRACE = 20.0  # seconds that replies under way are given when the server is told to stop
AFTER_GRACE = 5  # further seconds until connections are cut
CLIENT_HAS_GONE = 499  # what nginx calls it; nobody reads it


class ServerSettings(NamedTuple):
    """How an application answers: reply length in tokens, replies at once, requests that may wait, seconds of grace.

    With `keys` a client has to send one of them; pages of the `origins` may ask from a browser.
    """

    longest: int = LONGEST_REPLY
    places: int = 32
    waiting: int = 64
    grace: float = GRACE
    keys: Sequence[str] = ()
    origins: Sequence[str] = ()

    def admission(self) -> Admission:
        """Return the places of an application, all free."""
        return Admission(self.places, self.waiting)


def create_app(
    engine: Engine,
    settings: ServerSettings = ServerSettings(),  # noqa: B008 - it cannot be changed
    *,
    roster: Roster | None = None,
    admission: Admission | None = None,
) -> FastAPI:
    """Return the application over an engine.

    It has POST /v1/chat/completions and /v1/completions, GET /metrics and what `add_roster` adds. Without a roster all
    of the engine's models answer. Errors have OpenAI's shape, as docs/serving.md lists them.
    """
    app = FastAPI(title="Tuning Room", docs_url=None, redoc_url=None)
    served, places = roster or Roster.of_names(engine.models()), admission or settings.admission()
    replies = Replies(engine, served, places, settings.longest)

    @app.post(ASKING[0])
    async def chat(request: Request) -> Response:
        return await replies.chat(request, parsed(ChatRequest, await read_body(request, places)))

    @app.post(ASKING[1])
    async def completions(request: Request) -> Response:
        return await replies.complete(request, parsed(CompletionRequest, await read_body(request, places)))

    @app.get("/metrics")
    async def metrics() -> Response:
        text = replies.metrics.text(running=places.taken, waiting=places.waiting)
        return Response(text, media_type=CONTENT_TYPE)

    add_roster(app, served)
    answer_errors(app)
    app.add_middleware(CountedRequests, metrics=replies.metrics, paths=ASKING)
    guard(app, settings)
    return app


def guard(app: FastAPI, settings: ServerSettings) -> None:
    """Let an application answer HEAD, ask for keys, and answer pages of other origins, as the settings have it."""
    app.add_middleware(HeadAsGet)
    if settings.keys:
        app.add_middleware(KeyGuard, keys=settings.keys)
    if settings.origins:
        # The outermost: a browser asks without a key first, and has to be able to read refusals.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST", "PUT"],
            allow_headers=["*"],
            expose_headers=[WARNING_HEADER, "X-Tuning-Room-Model", "X-Tuning-Room-Digest", "Retry-After"],
        )


def answer_errors(app: FastAPI) -> None:
    """Have an application answer all errors in OpenAI's shape."""

    @app.exception_handler(RequestError)
    async def unanswered(_request: Request, error: RequestError) -> JSONResponse:
        answer = _refused(error.status, str(error), error.kind, error.param, error.code)
        if error.retry_after is not None:
            answer.headers["Retry-After"] = str(error.retry_after)
        return answer

    @app.exception_handler(ClientDisconnect)
    async def gone(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_HAS_GONE)

    @app.exception_handler(UnfitRequestError)
    async def unfitting(_request: Request, error: UnfitRequestError) -> JSONResponse:
        return _refused(400, str(error), "invalid_request_error")

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
    settings: ServerSettings = ServerSettings(),  # noqa: B008 - it cannot be changed
    bound: socket.socket | None = None,
    roster: Roster | None = None,
) -> None:
    """Serve an engine until it is interrupted; EngineError if the address is taken."""
    admission = settings.admission()
    app = create_app(engine, settings, roster=roster, admission=admission)
    run_app(app, bound or bound_socket(host, port), admission, grace=settings.grace)


def run_app(
    app: FastAPI,
    bound: socket.socket,
    admission: Admission,
    meanwhile: Callable[[], None] | None = None,
    *,
    grace: float = GRACE,
) -> None:
    """Run an application on a socket until it is interrupted; it then has `grace` seconds for replies under way.

    `meanwhile` runs beside it in a thread of its own; an error of it ends the application, and is raised.
    """
    settings = uvicorn.Config(
        app, http=TimelyProtocol, log_level="warning", timeout_graceful_shutdown=int(grace) + AFTER_GRACE
    )
    server, failed = _Server(settings, admission, grace), list[Exception]()

    def work() -> None:
        try:
            (meanwhile or (lambda: None))()
        except Exception as error:
            failed.append(error)
            server.should_exit = True

    Thread(target=work).start()
    with bound, suppress(KeyboardInterrupt), server.taking_sigterm():
        server.run(sockets=[bound])
    if failed and not server.was_told:
        raise failed[0]


class _Server(uvicorn.Server):
    """A server that refuses those who wait when it is to end, and breaks off what is under way when time is up.

    On Ctrl-C time is up at once: somebody waits for the prompt.
    """

    def __init__(self, settings: uvicorn.Config, admission: Admission, grace: float) -> None:
        super().__init__(settings)
        self._admission, self._grace = admission, grace
        self.was_told = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.was_told = True
        if sig == signal.SIGINT:
            self._grace = 0
        super().handle_exit(sig, frame)

    @contextmanager
    def taking_sigterm(self) -> Iterator[None]:
        """Let a SIGTERM end no more than this server: uvicorn raises it again once all has ended in good order."""
        if current_thread() is not main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._told)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _told(self, _number: int, _frame: FrameType | None) -> None:
        # It may also come before uvicorn listens for it.
        self.was_told = self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._admission.close()
        asyncio.get_running_loop().call_later(self._grace, self._admission.end)
        await super().shutdown(sockets)
