"""How long users wait for a served model: time to the first token, and tokens a second from then on."""

import time
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.engines import Sampling
from tuning_room.records import Message
from tuning_room.rendering import prompt_ids, with_system

if TYPE_CHECKING:
    from tuning_room.engines.local import LocalEngine

# Their beginnings differ, so that no more than the system turn is shared.
QUESTIONS = [
    "What is 15 % of 80?", "How do I add 2/3 and 1/4?", "Please explain the slope of a line.", "Solve 3x + 4 = 19.",
    "Is 91 a prime number?", "Find the area of a circle with radius 5.", "Why is x to the power of 0 equal to 1?",
    "Can you help me with the median of 3, 9 and 4?",
]  # fmt: skip


class Timing(NamedTuple):
    """Seconds from request to first token, and tokens a second of the steps after it, or 0 if there was none."""

    first_token_seconds: float
    tokens_per_second: float


def timed(engine: "LocalEngine", model: str, system: str, question: int, *, cached: bool, max_tokens: int) -> Timing:
    """Time a single request, the question's number counted round the list.

    Nothing is in the engine's cache, unless `cached`: then what earlier requests have left stays there, such as the
    same system prompt read for another question. Raises EngineError for a model that the engine does not serve.
    """
    if not cached:
        engine.forget()
    return _run(engine, model, [_dialogue(system, question)], max_tokens)


def batch_rate(engine: "LocalEngine", model: str, system: str, max_tokens: int) -> float:
    """Return the tokens a second of 8 requests at once, all together, once each has its first token."""
    dialogues = [_dialogue(system, number) for number in range(len(QUESTIONS))]
    return _run(engine, model, dialogues, max_tokens).tokens_per_second


def prompt_length(engine: "LocalEngine", system: str) -> int:
    """Return the number of tokens of the first question under a system turn."""
    return len(prompt_ids(engine.tokenizer, _dialogue(system, 0)))


def _dialogue(system: str, question: int) -> list[Message]:
    return with_system(system, [Message(role="user", content=QUESTIONS[question % len(QUESTIONS)])])


def _run(engine: "LocalEngine", model: str, dialogues: list[list[Message]], max_tokens: int) -> Timing:
    start = time.perf_counter()
    steps = [(time.perf_counter(), len(step)) for step in engine.steps(model, dialogues, Sampling(max_tokens))]
    # By the step in the middle: on a shared machine one of them may take seconds.
    rates = [count / (after - before) for (before, _), (after, count) in pairwise(steps)]
    return Timing(steps[0][0] - start, median(rates) if rates else 0.0)
