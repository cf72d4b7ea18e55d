"""A chat request as it comes over the wire, and what it asks of an engine."""

import secrets
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tuning_room.engines import Sampling
from tuning_room.records import Message

COLDEST = 0.01  # below this temperature the logits would overflow: the reply is greedy
LONGEST_PROMPT = 100_000  # characters of all messages together
WIDEST_SEED = 2**63

# What would change the reply and is not done here is refused, unless it has the value that changes nothing.
NEUTRAL: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "top_p": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "response_format": ({"type": "text"},),
}


class ChatMessage(Message):
    """A message whose content is a text, or a list of text parts."""

    model_config = ConfigDict(extra="ignore")

    @field_validator("content", mode="before")
    @classmethod
    def _joined(cls, content: object) -> object:
        if not isinstance(content, list):
            return content
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
            raise ValueError("only text parts are supported here")
        return "".join(part["text"] for part in content)


class StreamOptions(BaseModel):
    """What a streamed answer is to contain."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The body of POST /v1/chat/completions; without a temperature the reply is greedy, as it was evaluated."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    seed: int | None = Field(default=None, ge=-WIDEST_SEED, lt=WIDEST_SEED)
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        for name, neutral in NEUTRAL.items():
            value = (self.model_extra or {}).get(name)
            if value is not None and value not in neutral:
                raise ValueError(f"'{name}' is not supported here")
        if sum(len(message.content) for message in self.messages) > LONGEST_PROMPT:
            raise ValueError(f"the messages have more than {LONGEST_PROMPT} characters")
        return self

    def dialogue(self) -> list[Message]:
        """Return the messages without what only the wire format has."""
        return [Message(role=message.role, content=message.content) for message in self.messages]

    def stops(self) -> list[str]:
        """Return the texts at which the reply ends."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [stop for stop in stops if stop]

    def sampling(self, longest: int) -> Sampling:
        """Return how the reply is drawn; at most `longest` tokens."""
        wanted = self.max_completion_tokens or self.max_tokens or longest
        temperature = self.temperature or 0.0
        seed = secrets.randbelow(WIDEST_SEED) if self.seed is None else self.seed
        return Sampling(min(wanted, longest), temperature if temperature >= COLDEST else 0.0, seed)

    @property
    def wants_usage(self) -> bool:
        """Whether a streamed answer ends with a count of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage
