"""A reply as it comes: cut at the stop texts, and written as server-sent events."""

import json
import logging
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import aclosing, suppress
from threading import Event

from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request

from tuning_room.engines import Reply
from tuning_room.errors import EngineError, TuningRoomError
from tuning_room.serve.answers import UNEXPECTED, ChatAnswer, error_body

DONE = "data: [DONE]\n\n"

log = logging.getLogger(__name__)


class Pieces:
    """The pieces of a reply up to the first stop text.

    Once they are through, `stopped` says whether a stop text ended them, and `reply` is the engine's own account of
    the reply, or None if the engine gives none. The first piece is fetched at once, so that an engine that cannot
    answer raises its error before an answer has begun.
    """

    def __init__(self, source: Generator[str, None, Reply | None], stops: Sequence[str] = ()) -> None:
        self.stopped = False
        self.reply: Reply | None = None
        self._source = source
        self._stops = stops
        self._pieces = self._cut()
        self._first = next(self._pieces, "")

    def __iter__(self) -> Iterator[str]:
        if self._first:
            yield self._first
        yield from self._pieces

    @property
    def finish_reason(self) -> str:
        """Return why the reply ended: `stop` or `length`."""
        return self.reply.finish_reason if self.reply and not self.stopped else "stop"

    def close(self) -> None:
        """Let the engine know that nobody reads any further."""
        # A thread that still waits for a piece holds the generator, which ends when that thread lets go of it.
        with suppress(ValueError):
            self._pieces.close()

    def _cut(self) -> Generator[str, None, None]:
        held = ""
        for piece in self._whole():
            held += piece
            end = first_stop(held, self._stops)
            if end >= 0:
                self.stopped = True
                yield held[:end]
                return
            ready = len(held) - possible_stop(held, self._stops)
            if ready:
                yield held[:ready]
            held = held[ready:]
        if held:
            yield held

    def _whole(self) -> Generator[str, None, None]:
        self.reply = yield from self._source


def first_stop(text: str, stops: Sequence[str]) -> int:
    """Return where the first stop text begins, or -1."""
    return min((found for stop in stops if (found := text.find(stop)) >= 0), default=-1)


def possible_stop(text: str, stops: Sequence[str]) -> int:
    """Return how many of the last characters may be the beginning of a stop text."""
    lengths = (n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n]))
    return max(lengths, default=0)


async def read(pieces: Pieces, ending: Event) -> AsyncGenerator[str, None]:
    """Yield pieces without holding up the event loop; EngineError once the server is shutting down."""
    try:
        async for piece in iterate_in_threadpool(iter(pieces)):
            if ending.is_set():
                raise EngineError("the server is shutting down")
            yield piece
    finally:
        pieces.close()


async def events(answer: ChatAnswer, pieces: Pieces, ending: Event, *, usage: bool) -> AsyncGenerator[str, None]:
    """Yield a streamed answer as server-sent events; an error on the way is an event as well."""
    try:
        yield event(answer.chunk({"role": "assistant", "content": ""}))
        async with aclosing(read(pieces, ending)) as texts:
            async for text in texts:
                yield event(answer.chunk({"content": text}))
        yield event(answer.chunk({}, pieces.finish_reason))
        if usage:
            yield event(answer.usage_chunk(pieces.reply))
    except TuningRoomError as error:
        yield event(error_body(str(error), "server_error"))
    except Exception:
        log.exception("a streamed reply ended with an unexpected error")
        yield event(error_body(UNEXPECTED, "server_error"))
    yield DONE


async def whole(pieces: Pieces, ending: Event, request: Request) -> str | None:
    """Return the whole text, or None if the client has gone: nobody then waits for the rest."""
    parts = []
    async with aclosing(read(pieces, ending)) as texts:
        async for text in texts:
            parts.append(text)
            if await request.is_disconnected():
                return None
    return pieces.reply.text if pieces.reply else "".join(parts)


def event(body: dict[str, object]) -> str:
    """Return a server-sent event with a body of JSON."""
    return f"data: {json.dumps(body)}\n\n"
