"""From a request for replies to its answer: who answers, whether it fits, when its turn is, in how many pieces."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import anyio.to_thread
from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from tuning_room.engines import Engine, Sampling
from tuning_room.records import Message
from tuning_room.serve.admission import Admission
from tuning_room.serve.answers import ChatAnswer, TextAnswer
from tuning_room.serve.asked import ReplyRequest
from tuning_room.serve.chat import ChatRequest
from tuning_room.serve.completions import CompletionRequest
from tuning_room.serve.fields import CHAT, COMPLETIONS, WARNING_HEADER, RequestError, check_fields, warning
from tuning_room.serve.metrics import Metrics
from tuning_room.serve.roster import Roster
from tuning_room.serve.stream import Answering, Pieces

Prompt = Sequence[Message] | str
T = TypeVar("T")


class Replies:
    """Answers requests by an engine, whose names a roster gives; a reply has at most `longest` tokens."""

    def __init__(self, engine: Engine, roster: Roster, admission: Admission, longest: int) -> None:
        self.engine, self.roster, self.admission, self.longest = engine, roster, admission, longest
        self.metrics = Metrics()

    async def chat(self, request: Request, asked: ChatRequest) -> Response:
        """Answer a dialogue."""
        name = self.roster.resolve(asked.model)
        ignored = check_fields(CHAT, asked.model_extra or {})
        dialogue, warnings = asked.dialogue()
        headers = _joined(self.roster.headers(name, dialogue), ignored, warnings)
        answer = ChatAnswer(name, wants_usage=asked.wants_usage)
        return await self._answered(request, asked, answer, [dialogue], headers)

    async def complete(self, request: Request, asked: CompletionRequest) -> Response:
        """Continue texts."""
        name = self.roster.resolve(asked.model)
        headers = _joined(self.roster.headers(name, []), check_fields(COMPLETIONS, asked.model_extra or {}), [])
        answer = TextAnswer(name, wants_usage=asked.wants_usage)
        return await self._answered(request, asked, answer, asked.prompts(), headers)

    async def _answered(
        self,
        request: Request,
        asked: ReplyRequest,
        answer: ChatAnswer,
        prompts: Sequence[Prompt],
        headers: dict[str, str],
    ) -> Response:
        started = time.monotonic()
        sizes = [await self._in_thread(self.engine.prompt_tokens, prompt) for prompt in prompts]
        limits = [self._limit(asked, size) for size in sizes]
        wanted = asked.limit()
        if wanted and wanted > min(limits) and not isinstance(asked, CompletionRequest):
            headers = _joined(headers, [], [f"replies are cut to {min(limits)} tokens"])
        jobs = [(prompt, one) for prompt, limit in zip(prompts, limits, strict=True) for one in asked.samplings(limit)]
        if len(jobs) > self.admission.places:
            raise RequestError(f"{len(jobs)} replies at once; at most {self.admission.places} are computed", param="n")
        await unless_gone(request, self.admission.take(len(jobs)))
        answering: Answering | None = None
        try:
            choices = await self._begun(answer.model, asked, jobs)
            known = [size for size in sizes if size is not None]
            answering = Answering(
                answer, choices, sum(known) if known else None, scored=asked.top_logprobs_wanted() is not None
            )
            self.metrics.first_token.add(time.monotonic() - started)
            if asked.stream:
                return EventStream(
                    answering.events(self.admission), headers, partial(self._end, answering, len(jobs), started)
                )
            body = await unless_gone(request, answering.whole(self.admission))
        except BaseException:
            self._end(answering, len(jobs), started)
            raise
        self._end(answering, len(jobs), started)
        return JSONResponse(body, headers=headers)

    def _end(self, answering: Answering | None, places: int, started: float) -> None:
        """Stop what still goes on for a request, count what was done, and let the next ones in."""
        if answering is not None:
            answering.close()
            usage = answering.usage
            self.metrics.tokens[answering.answer.model, "prompt"] += usage.prompt
            self.metrics.tokens[answering.answer.model, "completion"] += usage.completion
            self.metrics.duration.add(time.monotonic() - started)
        self.admission.give(places)

    async def _begun(self, name: str, asked: ReplyRequest, jobs: Sequence[tuple[Prompt, Sampling]]) -> list[Pieces]:
        """Return the replies, each with its first piece; if one cannot begin, all are stopped."""
        drawing, stops = asked.drawing(), asked.stops()
        sources = [self.engine.pieces(name, prompt, sampling, drawing) for prompt, sampling in jobs]
        begun = [asyncio.ensure_future(self._in_thread(Pieces, source, stops)) for source in sources]
        try:
            return list(await asyncio.gather(*begun))
        except BaseException:
            for task in begun:
                task.cancel()
                task.add_done_callback(_closed)
            raise

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        with self.admission.under_way():
            return await anyio.to_thread.run_sync(work, *args, abandon_on_cancel=True, limiter=self.admission.threads)

    def _limit(self, asked: ReplyRequest, size: int | None) -> int:
        """Return how long a reply may be; RequestError if the prompt leaves no room for one, as OpenAI words it."""
        wanted, context = asked.limit() or self.longest, self.engine.context_length
        if size is None or context is None:
            return min(wanted, self.longest)
        if size >= context:
            raise RequestError(
                f"This model's maximum context length is {context} tokens. However, your messages resulted in "
                f"{size} tokens. Please reduce the length of the messages.",
                param="prompt" if isinstance(asked, CompletionRequest) else "messages",
                code="context_length_exceeded",
            )
        return min(wanted, self.longest, context - size)


class EventStream(StreamingResponse):
    """Server-sent events, at the end of which, however it comes, something is done."""

    def __init__(self, events: Any, headers: Mapping[str, str], at_end: Callable[[], None]) -> None:
        super().__init__(events, headers={**headers, "Cache-Control": "no-cache"}, media_type="text/event-stream")
        self._at_end = at_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._at_end()


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what some work results in; ClientDisconnect, and the work is stopped, if the client leaves meanwhile."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        task.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _closed(task: "asyncio.Future[Pieces]") -> None:
    if not task.cancelled() and not task.exception():
        task.result().close()


def _joined(headers: dict[str, str], ignored: Sequence[str], warnings: Sequence[str]) -> dict[str, str]:
    """Return headers with more warnings in them."""
    before = [headers[WARNING_HEADER]] if WARNING_HEADER in headers else []
    return {**headers, **warning(ignored, *before, *warnings)}
