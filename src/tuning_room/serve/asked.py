"""What all requests for replies have in common, and how a body becomes one of them."""

import secrets
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from tuning_room.engines import Drawing, Sampling
from tuning_room.serve.fields import RequestError

COLDEST = 0.01  # below this temperature the logits would overflow: the reply is greedy
WIDEST_SEED = 2**63
MOST_CHOICES = 16
MOST_STOPS = 16
MOST_LOGPROBS = 20
MOST_BIASES = 1024

Penalty = Annotated[float, Field(ge=-2, le=2)]
StopText = Annotated[str, StringConstraints(max_length=1000)]
R = TypeVar("R", bound="ReplyRequest")


class StreamOptions(BaseModel):
    """What a streamed answer is to contain."""

    include_usage: bool = False


class ReplyRequest(BaseModel):
    """The fields that chat and plain completions share; without a temperature the reply is greedy, as evaluated."""

    model_config = ConfigDict(extra="allow")

    model: str
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    n: int | None = Field(default=None, ge=1, le=MOST_CHOICES)
    stop: StopText | list[StopText] | None = None
    seed: int | None = Field(default=None, ge=-WIDEST_SEED, lt=WIDEST_SEED)
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[int, Annotated[float, Field(ge=-100, le=100)]] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    top_k: int | None = Field(default=None, ge=-1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    stop_token_ids: list[int] | None = Field(default=None, max_length=MOST_BIASES)

    @field_validator("stop")
    @classmethod
    def _few(cls, stop: str | list[str] | None) -> str | list[str] | None:
        if isinstance(stop, list) and len(stop) > MOST_STOPS:
            raise ValueError(f"at most {MOST_STOPS} stop texts")
        return stop

    @field_validator("logit_bias")
    @classmethod
    def _not_many(cls, biases: dict[int, float] | None) -> dict[int, float] | None:
        if biases and len(biases) > MOST_BIASES:
            raise ValueError(f"at most {MOST_BIASES} tokens")
        return biases

    def stops(self) -> list[str]:
        """Return the texts at which the reply ends."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [stop for stop in stops if stop]

    def limit(self) -> int | None:
        """Return how many tokens a reply may have at most, if the client says so."""
        return self.max_tokens

    def top_logprobs_wanted(self) -> int | None:
        """Return of how many of the likeliest tokens the scores are wanted, or None for no scores at all."""
        return None

    def samplings(self, limit: int) -> list[Sampling]:
        """Return how each choice is drawn; each has a seed of its own."""
        temperature = self.temperature or 0.0
        seed = secrets.randbelow(WIDEST_SEED - MOST_CHOICES) if self.seed is None else self.seed
        warmth = temperature if temperature >= COLDEST else 0.0
        return [Sampling(limit, warmth, _within(seed + number)) for number in range(self.n or 1)]

    def drawing(self) -> Drawing:
        """Return what else decides how the replies are drawn."""
        return Drawing(
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p or 0.0,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            biases=tuple((self.logit_bias or {}).items()),
            stop_tokens=tuple(self.stop_token_ids or ()),
            logprobs=self.top_logprobs_wanted(),
        )

    @property
    def wants_usage(self) -> bool:
        """Whether a streamed answer ends with a count of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage


def _within(seed: int) -> int:
    return (seed + WIDEST_SEED) % (2 * WIDEST_SEED) - WIDEST_SEED


def parsed(kind: type[R], body: bytes) -> R:
    """Return a body as a request of this kind; RequestError names the first field that is wrong."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        # The branches of a union are no part of a field's name.
        where = ".".join(
            str(part)
            for place, part in enumerate(first["loc"])
            if not place or not (part in ("str", "constrained-str") or str(part).startswith("list["))
        )
        message = f"{where}: {first['msg']}" if where else str(first["msg"])
        raise RequestError(message, param=where or None) from None
