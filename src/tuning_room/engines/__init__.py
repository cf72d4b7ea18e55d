"""Engines: anything that answers OpenAI chat messages. Teacher, model under test and server all go through this one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import NamedTuple

from tuning_room.errors import EngineError
from tuning_room.records import Message


@dataclass(frozen=True)
class Sampling:
    """How a reply is sampled: temperature 0 is greedy, `max_tokens` bounds the reply."""

    max_tokens: int = 96
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Drawing:
    """What else decides how one reply is drawn; None stands for the model's own setting.

    `biases` are added to the scores of tokens by their ids, `stop_tokens` end the reply. With `logprobs` each token
    comes with its log-probability and with those of that many of the likeliest ones.
    """

    top_p: float | None = None
    top_k: int | None = None
    min_p: float = 0.0
    repetition_penalty: float | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    biases: tuple[tuple[int, float], ...] = ()
    stop_tokens: tuple[int, ...] = ()
    logprobs: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether an engine that knows none of these settings does all that is asked."""
        is_neutral = self.top_p in (None, 1) and self.top_k in (None, 0, -1) and self.repetition_penalty in (None, 1)
        return is_neutral and replace(self, top_p=None, top_k=None, repetition_penalty=None) == Drawing()


class ScoredToken(NamedTuple):
    """A token of a reply with its log-probability in nats, and the likeliest tokens in its place with theirs."""

    text: str
    logprob: float
    likeliest: tuple[tuple[str, float], ...] = ()


class ReplyPiece(NamedTuple):
    """A piece of a reply: its text, how many tokens it took, and the tokens themselves if their scores are wanted.

    Where an engine does not count as it goes, the number of tokens is 0.
    """

    text: str
    tokens: int = 0
    scored: tuple[ScoredToken, ...] = ()


class Reply(NamedTuple):
    """A reply and its size in tokens; `finish_reason` is `stop` or `length`.

    `has_reasoned` says that tokens went into reasoning that the server kept apart from the text.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    has_reasoned: bool = False


class Talk(NamedTuple):
    """A dialogue to continue: the model that answers, the messages so far, and the user's turn after each reply."""

    model: str
    messages: Sequence[Message]
    turns: Sequence[str] = ()

    def after(self, replies: Sequence[Reply]) -> list[Message]:
        """Return the messages after these replies of the model; an empty reply becomes an ellipsis."""
        messages = [*self.messages]
        for reply, turn in zip(replies, self.turns, strict=False):
            messages.append(Message(role="assistant", content=reply.text or SILENCE))
            messages.append(Message(role="user", content=turn))
        return messages


class UnfitRequestError(EngineError):
    """A request that an engine cannot answer in the way that it asks for."""


SILENCE = "..."  # stands for an empty reply in a dialogue that continues: a message must not be empty
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
        """Return one reply per dialogue, in order; `on_reply` gets each one, with its index, as soon as it is there."""

    def converse(self, talks: Sequence[Talk], sampling: Sampling, on_reply: OnReply | None = None) -> list[list[Reply]]:
        """Return each dialogue's replies: one, and one more for each of its turns; `on_reply` as in `complete`.

        Here turn by turn and model by model; an engine overrides this if its dialogues need not wait for each other.
        """
        replies: list[list[Reply]] = [[] for _ in talks]
        for turn in range(1 + max((len(talk.turns) for talk in talks), default=0)):
            for model in dict.fromkeys(talk.model for talk in talks):
                asked = [n for n, talk in enumerate(talks) if talk.model == model and len(talk.turns) >= turn]
                dialogues = [talks[n].after(replies[n]) for n in asked]
                report = (lambda i, reply, asked=asked: on_reply(asked[i], reply)) if on_reply else None
                for n, reply in zip(asked, self.complete(model, dialogues, sampling, report), strict=True):
                    replies[n].append(reply)
        return replies

    def stream(self, model: str, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, Reply | None]:
        """Yield a reply piece by piece and return it whole; an engine that cannot stream yields one piece."""
        reply = self.complete(model, [messages], sampling)[0]
        yield reply.text
        return reply

    def pieces(
        self, model: str, prompt: Sequence[Message] | str, sampling: Sampling, drawing: Drawing | None = None
    ) -> Generator[ReplyPiece, None, Reply | None]:
        """Yield a reply piece by piece, as `stream` does; a prompt that is a text is continued without a template.

        Raises UnfitRequestError for what an engine cannot do.
        """
        if isinstance(prompt, str) or (drawing and not drawing.is_plain):
            raise UnfitRequestError(
                "this engine answers dialogues only, and draws replies by temperature and seed alone"
            )
        source = self.stream(model, prompt, sampling)
        with closing(source):
            try:
                while True:
                    yield ReplyPiece(next(source))
            except StopIteration as end:
                reply: Reply | None = end.value
        return reply

    def prompt_tokens(self, prompt: Sequence[Message] | str) -> int | None:
        """Return how many tokens the model would read before it replies, or None if the engine does not know."""
        return None

    @property
    def context_length(self) -> int | None:
        """How many tokens prompt and reply may have together, or None if the engine does not know."""
        return None
