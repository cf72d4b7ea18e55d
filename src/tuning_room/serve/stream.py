"""A reply as it comes: cut at the stop texts, and written as server-sent events."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import aclosing, suppress

import anyio.to_thread

from tuning_room.engines import Reply, ReplyPiece, ScoredToken
from tuning_room.errors import TuningRoomError
from tuning_room.serve.admission import Admission
from tuning_room.serve.answers import UNEXPECTED, ChatAnswer, TokenUsage, error_body

DONE = "data: [DONE]\n\n"

log = logging.getLogger(__name__)


class Pieces:
    """The pieces of a reply up to the first stop text.

    Once they are through, `stopped` says whether a stop text ended them, and `reply` is the engine's own account of
    the reply, or None if there is none. The first piece is fetched at once, so that an engine that cannot answer raises
    its error before an answer has begun.
    """

    def __init__(self, source: Generator[ReplyPiece, None, Reply | None], stops: Sequence[str] = ()) -> None:
        self.stopped = False
        self.reply: Reply | None = None
        self.tokens = 0
        self._source = source
        self._stops = stops
        self._pieces = self._cut()
        self._first = next(self._pieces, None)

    def __iter__(self) -> Iterator[ReplyPiece]:
        if self._first:
            yield self._first
        yield from self._pieces

    @property
    def finish_reason(self) -> str:
        """Return why the reply ended: `stop` or `length`."""
        return self.reply.finish_reason if self.reply and not self.stopped else "stop"

    @property
    def completion_tokens(self) -> int:
        """Return how many tokens were generated, those of a stop text included."""
        return self.reply.completion_tokens if self.reply else self.tokens

    def close(self) -> None:
        """Let the engine know that nobody reads any further."""
        # A thread that still waits for a piece holds the generator, which ends when that thread lets go of it.
        with suppress(ValueError):
            self._pieces.close()
            self._source.close()

    def _cut(self) -> Generator[ReplyPiece, None, None]:
        held, scored = "", list[ScoredToken]()
        for piece in self._whole():
            held += piece.text
            scored += piece.scored
            end = first_stop(held, self._stops)
            if end >= 0:
                self.stopped = True
                self._source.close()
                yield ReplyPiece(held[:end], scored=_within(scored, end))
                return
            if ready := len(held) - possible_stop(held, self._stops):
                said = _within(scored, ready)
                yield ReplyPiece(held[:ready], scored=said)
                held, scored = held[ready:], scored[len(said) :]
        if held or scored:
            yield ReplyPiece(held, scored=tuple(scored))

    def _whole(self) -> Generator[ReplyPiece, None, None]:
        self.reply = yield from self._counted()

    def _counted(self) -> Generator[ReplyPiece, None, Reply | None]:
        try:
            while True:
                piece = next(self._source)
                self.tokens += piece.tokens
                yield piece
        except StopIteration as end:
            reply: Reply | None = end.value
        return reply


def _within(scored: Sequence[ScoredToken], end: int) -> tuple[ScoredToken, ...]:
    """Return the tokens that begin before the `end`th character."""
    found, length = [], 0
    for one in scored:
        if length >= end:
            break
        found.append(one)
        length += len(one.text)
    return tuple(found)


def first_stop(text: str, stops: Sequence[str]) -> int:
    """Return where the first stop text begins, or -1."""
    return min((found for stop in stops if (found := text.find(stop)) >= 0), default=-1)


def possible_stop(text: str, stops: Sequence[str]) -> int:
    """Return how many of the last characters may be the beginning of a stop text."""
    lengths = (n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n]))
    return max(lengths, default=0)


async def read(pieces: Pieces, admission: Admission) -> AsyncGenerator[ReplyPiece, None]:
    """Yield pieces without holding up the event loop; ShuttingDownError once the server breaks off."""
    source = iter(pieces)
    try:
        while True:
            with admission.under_way():
                piece = await anyio.to_thread.run_sync(
                    next, source, None, abandon_on_cancel=True, limiter=admission.threads
                )
            if piece is None:
                return
            yield piece
    finally:
        pieces.close()


class Answering:
    """The replies to one request, while they are computed: what is read of them, and what they took together."""

    def __init__(
        self, answer: ChatAnswer, choices: Sequence[Pieces], prompt_tokens: int | None, *, scored: bool
    ) -> None:
        self.answer, self.choices, self.scored = answer, choices, scored
        self._prompt_tokens = prompt_tokens

    @property
    def usage(self) -> TokenUsage:
        """Return how many tokens have been read and generated so far."""
        counted = self._prompt_tokens
        if counted is None:
            counted = sum(pieces.reply.prompt_tokens for pieces in self.choices if pieces.reply)
        return TokenUsage(counted, sum(pieces.completion_tokens for pieces in self.choices))

    def close(self) -> None:
        """Let the engine know that nobody reads any further."""
        for pieces in self.choices:
            pieces.close()

    async def whole(self, admission: Admission) -> dict[str, object]:
        """Return the whole answer."""
        tasks = [asyncio.ensure_future(self._choice(index, admission)) for index in range(len(self.choices))]
        try:
            found = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return self.answer.completion(found, self.usage)

    async def _choice(self, index: int, admission: Admission) -> dict[str, object]:
        pieces, parts, scored = self.choices[index], list[str](), list[ScoredToken]()
        async with aclosing(read(pieces, admission)) as source:
            async for piece in source:
                parts.append(piece.text)
                scored += piece.scored
        reply = pieces.reply if self.answer.is_bare and not pieces.stopped else None
        text = reply.text if reply else "".join(parts)
        return self.answer.choice(index, text, pieces.finish_reason, scored if self.scored else None)

    async def events(self, admission: Admission) -> AsyncGenerator[str, None]:
        """Yield the answer as server-sent events; an error on the way is an event as well."""
        try:
            async with aclosing(self._chunks(admission)) as chunks:
                async for chunk in chunks:
                    yield event(chunk)
            if self.answer.wants_usage:
                yield event(self.answer.usage_chunk(self.usage))
        except TuningRoomError as error:
            yield event(error_body(str(error), "server_error"))
        except Exception:
            log.exception("a streamed reply ended with an unexpected error")
            yield event(error_body(UNEXPECTED, "server_error"))
        yield DONE

    async def _chunks(self, admission: Admission) -> AsyncGenerator[dict[str, object], None]:
        for index in range(len(self.choices)):
            if opening := self.answer.opening(index):
                yield opening
        async with aclosing(_merged([read(pieces, admission) for pieces in self.choices])) as merged:
            async for index, piece in merged:
                if piece is None:
                    yield self.answer.closing(index, self.choices[index].finish_reason)
                else:
                    yield self.answer.chunk(index, piece.text, piece.scored if self.scored else None)


async def _merged(
    sources: Sequence[AsyncGenerator[ReplyPiece, None]],
) -> AsyncGenerator[tuple[int, ReplyPiece | None], None]:
    """Yield the pieces of several sources with their numbers as they come, and None after each one's last."""
    following = {asyncio.ensure_future(anext(source, None)): n for n, source in enumerate(sources)}
    try:
        while following:
            done, _ = await asyncio.wait(following, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                number = following.pop(task)
                piece = task.result()
                if piece is not None:
                    following[asyncio.ensure_future(anext(sources[number], None))] = number
                yield number, piece
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        for source in sources:
            await source.aclose()


def event(body: dict[str, object]) -> str:
    """Return a server-sent event with a body of JSON."""
    return f"data: {json.dumps(body)}\n\n"
