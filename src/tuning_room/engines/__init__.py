"""Engines: anything that answers OpenAI chat messages. Teacher, model under test and server all use this seam."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tuning_room.records import Message


@dataclass(frozen=True)
class Sampling:
    """How a reply is drawn: temperature 0 is greedy; max_tokens bounds the reply."""

    max_tokens: int = 96
    temperature: float = 0.0
    seed: int = 0


class Reply(NamedTuple):
    """A reply and its size in tokens; finish_reason is `stop` or `length`."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


OnReply = Callable[[int, Reply], None]


class Engine(ABC):
    """Something that answers dialogues under one or more model names."""

    @abstractmethod
    def models(self) -> list[str]:
        """Return the names that `model` may take, the base model first."""

    @abstractmethod
    def complete(
        self,
        model: str,
        dialogues: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_reply: OnReply | None = None,
    ) -> list[Reply]:
        """Return one reply a dialogue, in order; `on_reply` hears of each as soon as it is there."""

    def stream(self, model: str, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, Reply | None]:
        """Yield a reply piece by piece and return it whole; an engine that cannot, yields it in one piece."""
        reply = self.complete(model, [messages], sampling)[0]
        yield reply.text
        return reply
