"""Asking a chat server many things at once: retries, pauses, giving up, and keeping to a budget."""

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tuning_room.engines import Reply, Sampling
from tuning_room.engines.limits import Budget, Pace, Usage, counted, estimated_tokens
from tuning_room.engines.posting import NO_ANSWER, UNREACHABLE, PostAttempt, parsed_reply, post
from tuning_room.errors import BudgetError, EngineError, GivenUpError
from tuning_room.records import Message

if TYPE_CHECKING:
    from aiohttp import ClientSession

Outcome = Reply | EngineError

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between attempts
LEAST_PAUSE = 0.25  # seconds, however soon the server asks to be asked again
PATIENCE = 600.0  # seconds that one request waits for a server that says it is asked too often
BYTES_PER_TOKEN = 64  # that a reply may have, JSON and escapes included; a longer one ignored max_tokens
LEAST_BYTES = 65_536
SILENCE = 3.0  # timeouts without a reply after which, with FAILURES failed attempts, the server counts as gone
FAILURES = 10  # or refusals since the last reply, after which a busy server lets nobody in


class Request(NamedTuple):
    """A body to send, the largest answer that is accepted in bytes, and the most that it can cost."""

    data: bytes
    most_bytes: int
    usage: Usage


class Asker:
    """Sends requests to one address, several at a time; `explain` turns a failed attempt into an error.

    `timeout` is in seconds. Once the server refuses in a way that would meet every request, or is gone, nothing more is
    sent.
    """

    def __init__(
        self,
        url: str,
        pace: Pace,
        budget: Budget,
        retries: int,
        timeout: float,
        explain: Callable[[PostAttempt], EngineError],
    ) -> None:
        self.url = url
        self.pace = pace
        self.budget = budget
        self.retries = retries
        self.timeout = timeout
        self.explain = explain
        self._given_up: GivenUpError | None = None
        self._over_budget: BudgetError | None = None
        self._failures, self._last_reply = 0, time.monotonic()
        self._refusals, self._replies = 0, 0
        self._settled = asyncio.Condition()

    async def ask(
        self,
        session: "ClientSession",
        requests: Iterable[Request],
        concurrency: int,
        tell: Callable[[int, Outcome], None],
    ) -> None:
        """Report the outcome of each request to `tell` as soon as there is one."""
        waiting = iter(enumerate(requests))

        async def work() -> None:
            for index, request in waiting:
                tell(index, await self._outcome(session, request))

        await asyncio.gather(*(work() for _ in range(concurrency)))

    async def _outcome(self, session: "ClientSession", request: Request) -> Outcome:
        tries, waited, replies = 0, 0.0, self._replies
        while True:
            # A request that will not be sent need not wait for its turn.
            if refusal := self._given_up or self._over_budget:
                return refusal
            await self.pace.turn(request.usage.tokens)
            if not await self._reserved(request):
                continue
            attempt = await self._attempt(session, request)
            if attempt.status == 200:
                return self._reply(attempt, request.usage.completion_tokens)
            self._note_failure(attempt)
            # A busy server that answers others meanwhile shares itself out: only then is a refusal no failed attempt.
            shared = attempt.is_busy and attempt.wait is not None and self._replies > replies
            pause = _back_off(tries) if attempt.wait is None else max(attempt.wait, LEAST_PAUSE)
            tries, waited, replies = tries + (not shared), waited + pause, self._replies
            if not attempt.may_be_repeated or tries > self.retries or waited > PATIENCE:
                return self._failed(attempt)
            if attempt.wait is not None:
                # The server means all requests, not just this one.
                self.pace.pause(pause)
            else:
                await asyncio.sleep(pause)

    async def _reserved(self, request: Request) -> bool:
        """Reserve the most that a request can use; wait for those under way if the budget may still allow it."""
        async with self._settled:
            while not (self._given_up or self._over_budget):
                if self.budget.reserve(request.usage):
                    return True
                if not self.budget.reserved.requests:
                    # Made once, so that all remaining rows have the same error.
                    self._over_budget = BudgetError(f"the budget is used up: {self.budget.short(request.usage)}")
                    break
                await self._settled.wait()
            return False

    async def _attempt(self, session: "ClientSession", request: Request) -> PostAttempt:
        used = request.usage
        try:
            attempt = await post(session, self.url, request.data, request.most_bytes)
            used = _used(attempt, request.usage)
            self.pace.correct(used.tokens - request.usage.tokens)
            return attempt
        finally:
            async with self._settled:
                self.budget.settle(request.usage, used)
                self._settled.notify_all()

    def _reply(self, attempt: PostAttempt, most_tokens: int) -> Outcome:
        self._failures, self._refusals, self._last_reply = 0, 0, time.monotonic()
        self._replies += 1
        try:
            return parsed_reply(attempt.body, most_tokens)
        except EngineError as error:
            return self.explain(attempt._replace(status=NO_ANSWER, reason=str(error)))

    def _note_failure(self, attempt: PostAttempt) -> None:
        if attempt.is_busy:
            self._refusals += 1
        if attempt.is_busy or not attempt.may_be_repeated:
            return
        self._failures += 1
        silent = time.monotonic() - self._last_reply > SILENCE * self.timeout
        if self._failures >= FAILURES and silent:
            self._give_up(attempt)

    def _failed(self, attempt: PostAttempt) -> EngineError:
        lets_nobody_in = attempt.is_busy and self._refusals >= FAILURES and not self.budget.reserved.requests
        if attempt.is_hopeless or lets_nobody_in or (attempt.wait or 0) > PATIENCE:
            self._give_up(attempt)
        return self.explain(attempt)

    def _give_up(self, attempt: PostAttempt) -> None:
        error = self.explain(attempt)
        self._given_up = self._given_up or GivenUpError(error.args[0], hint=error.hint)


def request(model: str, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
    """Return the body of a chat request."""
    return {
        "model": model,
        "messages": [message.as_dict() for message in messages],
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "seed": sampling.seed,
    }


def requests(model: str, dialogues: Iterable[Sequence[Message]], samplings: Iterable[Sampling]) -> Iterator[Request]:
    """Yield the requests for dialogues one at a time, so that the first need not wait for the last."""
    return (_packed(model, messages, sampling) for messages, sampling in zip(dialogues, samplings, strict=True))


def _packed(model: str, messages: Sequence[Message], sampling: Sampling) -> Request:
    most = Usage(1, estimated_tokens(messages), sampling.max_tokens)
    data = json.dumps(request(model, messages, sampling)).encode()
    return Request(data, LEAST_BYTES + BYTES_PER_TOKEN * sampling.max_tokens, most)


def _used(attempt: PostAttempt, most: Usage) -> Usage:
    if attempt.status not in (200, NO_ANSWER) or attempt.reason == UNREACHABLE:
        return Usage(requests=1)
    try:
        return counted(parsed_reply(attempt.body), most.prompt_tokens)
    except EngineError:
        # Something was answered that did not arrive or cannot be read, so nobody knows what it cost.
        return most


def _back_off(tries: int) -> float:
    # At random, so that requests that failed together do not come back together.
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(tries, 9)) * random.uniform(0.5, 1.0))
