"""What a connection may do: how long and large a request may be, how long it may not be read, and who may ask."""

import asyncio
import hmac
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from tuning_room.serve.admission import Admission
from tuning_room.serve.answers import error_body
from tuning_room.serve.fields import RequestError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 4 << 20  # bytes
MOST_DRAINED = 64 << 20  # bytes of a larger body that are thrown away, so that the client gets to read its refusal
HEAD_TIMEOUT = 20.0  # seconds until a request's head must be there
BODY_TIMEOUT = 30.0  # seconds until its body must be there
UNREAD_TIMEOUT = 60.0  # seconds that a client may leave an answer unread


class TimelyProtocol(H11Protocol):
    """uvicorn's protocol, which itself would wait for ever for a request's head and for a client that reads nothing."""

    _head_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Take data, and wait for the rest of a head that they begin."""
        between = self.cycle is None or self.cycle.response_complete
        if between and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT, self.transport.abort)
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._head_timer = _cancelled(self._head_timer)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP in OpenAI's form, as everything else."""
        body = json.dumps(error_body(msg, "invalid_request_error")).encode()
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        self.transport.write(head + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def pause_writing(self) -> None:
        """Note that the client does not read."""
        super().pause_writing()
        self._unread_timer = _cancelled(self._unread_timer)
        self._unread_timer = self.loop.call_later(UNREAD_TIMEOUT, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        super().resume_writing()
        self._unread_timer = _cancelled(self._unread_timer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._head_timer = _cancelled(self._head_timer)
        self._unread_timer = _cancelled(self._unread_timer)
        super().connection_lost(exc)


def _cancelled(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    if timer is not None:
        timer.cancel()
    return None


async def read_body(request: Request, admission: Admission) -> bytes:
    """Return a request's body; RequestError if it is too large or too slow, ClientDisconnect if the client leaves."""
    declared = request.headers.get("content-length", "")
    parts, size = list[bytes](), 0
    too_large = declared.isdigit() and int(declared) > LARGEST_BODY
    try:
        with admission.under_way():
            async with asyncio.timeout(BODY_TIMEOUT):
                async for part in request.stream():
                    size += len(part)
                    too_large = too_large or size > LARGEST_BODY
                    if size > MOST_DRAINED:
                        break
                    if not too_large:
                        parts.append(part)
    except TimeoutError:
        late = f"the request's body did not arrive within {BODY_TIMEOUT:g} s"
        raise RequestError(late, status=408, code="request_timeout") from None
    if too_large:
        raise RequestError(
            f"the request's body is larger than {LARGEST_BODY} bytes", status=413, code="request_too_large"
        )
    return b"".join(parts)


OPEN = ("/health", "/metrics")  # without a key, for those who watch a server


class KeyGuard:
    """Lets those through who send one of the keys, and everybody to what is open.

    Keys are compared in constant time and never written.
    """

    def __init__(self, app: "ASGIApp", keys: Sequence[str]) -> None:
        self.app, self._keys = app, [key.encode() for key in keys]

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer with 401 or pass on."""
        if scope["type"] != "http" or scope["path"] in OPEN or self._is_known(dict(scope["headers"])):
            await self.app(scope, receive, send)
            return
        said = "no API key was sent that is known here; send one as 'Authorization: Bearer <key>'"
        body = error_body(said, "authentication_error", None, "invalid_api_key")
        await JSONResponse(body, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)

    def _is_known(self, headers: dict[bytes, bytes]) -> bool:
        found = re.fullmatch(rb"bearer +(\S+) *", headers.get(b"authorization", b""), re.IGNORECASE)
        return found is not None and sum(hmac.compare_digest(found[1], key) for key in self._keys) > 0


class HeadAsGet:
    """Answers HEAD as GET, without the body."""

    def __init__(self, app: "ASGIApp") -> None:
        self.app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def bare(message: "Message") -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self.app({**scope, "method": "GET"}, receive, bare)
