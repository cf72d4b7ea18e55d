"""What limits requests: a rate that the server accepts, and a budget that must not be exceeded."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tuning_room.engines import Reply
from tuning_room.records import Message

BYTES_PER_TOKEN = 3.0  # English has four or more; too high an estimate of tokens costs nothing
TOKENS_PER_MESSAGE = 8  # roughly what a chat template puts around a message


@dataclass(frozen=True)
class Usage:
    """Requests and their tokens: in the prompts and in the completions."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Return prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def __sub__(self, other: "Usage") -> "Usage":
        return self + Usage(-other.requests, -other.prompt_tokens, -other.completion_tokens)


class Prices(NamedTuple):
    """The price of a million tokens, in any one currency."""

    prompt: float = 0.0
    completion: float = 0.0

    def cost(self, usage: Usage) -> float:
        """Return the cost of a usage."""
        return (usage.prompt_tokens * self.prompt + usage.completion_tokens * self.completion) / 1e6


class Ceiling(NamedTuple):
    """The most that may be spent, in requests, tokens (prompt and completion) and money; None is no bound."""

    requests: int | None = None
    tokens: int | None = None
    cost: float | None = None


@dataclass
class Budget:
    """Counts what is spent. Before a request is sent, its highest estimate is reserved; afterwards it is settled."""

    ceiling: Ceiling = field(default_factory=Ceiling)
    prices: Prices = field(default_factory=Prices)
    spent: Usage = field(default_factory=Usage)
    reserved: Usage = field(default_factory=Usage)

    @property
    def cost(self) -> float:
        """Return the money spent so far."""
        return self.prices.cost(self.spent)

    def reserve(self, usage: Usage) -> bool:
        """Reserve a usage, or return False if it could exceed the budget."""
        if self.short(usage):
            return False
        self.reserved += usage
        return True

    def settle(self, reserved: Usage, used: Usage) -> None:
        """Replace a reservation by the actual usage."""
        self.reserved -= reserved
        self.spent += used

    def short(self, usage: Usage) -> str:
        """Return which bound a further usage could exceed, in words; '' if none."""
        total = self.spent + self.reserved + usage
        most = self.ceiling
        if most.requests is not None and total.requests > most.requests:
            return f"{self.spent.requests} of {most.requests} requests are used"
        if most.tokens is not None and total.tokens > most.tokens:
            return f"{self.spent.tokens} of {most.tokens} tokens are used"
        if most.cost is not None and self.prices.cost(total) > most.cost:
            return f"{self.cost:.4f} of {most.cost:g} is spent"
        return ""


class Pace:
    """Spreads requests over time, by requests and tokens a minute, and pauses them all when the server asks for it."""

    def __init__(self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None) -> None:
        self._seconds_per_request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._seconds_per_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._next_request = self._next_tokens = self._paused_until = 0.0

    async def turn(self, tokens: int) -> None:
        """Wait until a request of this number of tokens may be sent."""
        while True:
            await self._end_of_pause()
            slot = self._slot(tokens)
            await asyncio.sleep(max(0.0, slot - time.monotonic()))
            # A pause that began meanwhile has used the slot up: without a new one, all requests would start at once.
            if self._paused_until <= time.monotonic():
                return

    def pause(self, seconds: float) -> None:
        """Send nothing for this number of seconds."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def correct(self, tokens: int) -> None:
        """Add the tokens that a request took beyond its estimate; negative if it took fewer."""
        self._next_tokens += tokens * self._seconds_per_token

    async def _end_of_pause(self) -> None:
        while (rest := self._paused_until - time.monotonic()) > 0:
            await asyncio.sleep(rest + random.uniform(0, min(1.0, rest / 10)))

    def _slot(self, tokens: int) -> float:
        now = time.monotonic()
        slot = max(now, self._next_request, self._next_tokens)
        self._next_request = slot + self._seconds_per_request
        self._next_tokens = max(now, self._next_tokens) + tokens * self._seconds_per_token
        return slot


def estimated_tokens(messages: Sequence[Message]) -> int:
    """Estimate the tokens of a dialogue from its length in bytes; rather too many than too few."""
    return sum(text_tokens(message.content) + TOKENS_PER_MESSAGE for message in messages)


def text_tokens(text: str) -> int:
    """Estimate the tokens of a text from its length in bytes."""
    return int(len(text.encode()) / BYTES_PER_TOKEN) + 1


def counted(reply: Reply, prompt_tokens: int) -> Usage:
    """Return the usage of a reply, by the server's count, or else by the prompt's estimate and the text's length."""
    return Usage(1, reply.prompt_tokens or prompt_tokens, reply.completion_tokens or text_tokens(reply.text))
