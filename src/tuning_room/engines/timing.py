"""How long users wait for a served model: time to the first token, and tokens a second from then on."""

import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.engines import Sampling
from tuning_room.records import Message
from tuning_room.rendering import prompt_ids, with_system

if TYPE_CHECKING:
    from tuning_room.engines.local import LocalEngine

BATCH = 8
# Their beginnings differ, so that no more than the system turn is shared.
QUESTIONS = [
    "What is 15 % of 80?", "How do I add 2/3 and 1/4?", "Please explain the slope of a line.", "Solve 3x + 4 = 19.",
    "Is 91 a prime number?", "Find the area of a circle with radius 5.", "Why is x to the power of 0 equal to 1?",
    "Can you help me with the median of 3, 9 and 4?",
]  # fmt: skip
WARM_UP = "Hello!"


class Timing(NamedTuple):
    """Seconds from request to first token, and tokens a second from then on.

    `tokens_per_second` is for one request, `batch_tokens_per_second` for 8 at once, all together; both are 0 if no
    reply had a second token. `cached` is whether the system prompt had been read before.
    """

    first_token_seconds: float
    tokens_per_second: float
    batch_tokens_per_second: float
    prompt_tokens: int
    cached: bool


def timed(
    engine: "LocalEngine", model: str, system: str, *, cached: bool, max_tokens: int = 24, repeats: int = 3
) -> Timing:
    """Return the medians of `repeats` runs, with nothing in the engine's cache but, if `cached`, the system prompt.

    `prompt_tokens` are those of the single request. Raises EngineError for a model that the engine does not serve.
    """
    dialogues = [with_system(system, [Message(role="user", content=question)]) for question in QUESTIONS]
    single = [_run(engine, model, dialogues[:1], cached, max_tokens, system) for _ in range(repeats)]
    batch = [_run(engine, model, dialogues[:BATCH], cached, max_tokens, system) for _ in range(repeats)]
    return Timing(
        first_token_seconds=statistics.median(first for first, _ in single),
        tokens_per_second=statistics.median(rate for _, rate in single),
        batch_tokens_per_second=statistics.median(rate for _, rate in batch),
        prompt_tokens=len(prompt_ids(engine.tokenizer, dialogues[0])),
        cached=cached,
    )


def _run(
    engine: "LocalEngine", model: str, dialogues: list[list[Message]], cached: bool, max_tokens: int, system: str
) -> tuple[float, float]:
    """Return the seconds to the first token, and the tokens a second of the steps after it."""
    engine.forget()
    if cached:
        engine.complete(model, [with_system(system, [Message(role="user", content=WARM_UP)])], Sampling(max_tokens=1))
    start = time.perf_counter()
    steps = [(time.perf_counter(), len(step)) for step in engine.steps(model, dialogues, Sampling(max_tokens))]
    first, last = steps[0][0], steps[-1][0]
    tokens = sum(count for _, count in steps[1:])
    return first - start, tokens / (last - first) if tokens else 0.0
