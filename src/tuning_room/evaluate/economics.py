"""What a request costs in time, prompted and baked, and after how many of them training has paid for itself.

All ways of serving are timed once a round, one after the other, so that a machine that slows down slows all of them.
"""

import platform
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.evaluate.config import ADAPTER, BASE
from tuning_room.models import gpu_name
from tuning_room.results import BreakEven, EqualReplies, MeanTokens, ServingCosts, ServingTime

if TYPE_CHECKING:
    from tuning_room.engines.local import LocalEngine

TOKENS = 8  # length of a timed reply
# The lowest and the highest of six values enclose the median of what they are drawn from in 31 of 32 cases.
ROUNDS = 6
AGAINST, BAKED = ("prompted, cold", "prompted, warm prefix cache"), "baked, adapter"


class Way(NamedTuple):
    """A way to serve an arm: which model, under which system turn, and whether that turn is already in the cache."""

    arm: str
    label: str
    model: str
    system: str
    cached: bool


class Watch(NamedTuple):
    """What times requests: one alone, by way and round, the rate of a batch, and the tokens of a prompt."""

    alone: Callable[[Way, int], tuple[float, float]]
    batch: Callable[[Way], float]
    prompt_tokens: Callable[[Way], int]


def ways(full: str, short: str) -> list[Way]:
    """Return the ways to compare; a cached one stands behind the one that reads its system turn.

    A merged adapter does the base model's own arithmetic with other numbers, so its speed is timed on the base.
    """
    return [
        Way("prompted", AGAINST[0], BASE, full, False),
        Way("prompted", AGAINST[1], BASE, full, True),
        Way("baked", BAKED, ADAPTER, short, False),
        Way("baked", "baked, merged", BASE, short, False),
    ]


def watch(open_engine: Callable[[], "LocalEngine"]) -> Watch:
    """Return what times the requests of an engine in this process."""
    from tuning_room.engines import timing

    def alone(way: Way, turn: int) -> tuple[float, float]:
        # Another question than the one before it, which has left its own tokens in the cache beside the prompt.
        question = turn + int(way.cached)
        return timing.timed(open_engine(), way.model, way.system, question, cached=way.cached, max_tokens=TOKENS)

    return Watch(
        alone,
        batch=lambda way: timing.batch_rate(open_engine(), way.model, way.system, TOKENS),
        prompt_tokens=lambda way: timing.prompt_length(open_engine(), way.system),
    )


def measure(watch: Watch, full: str, short: str, rounds: int = ROUNDS) -> ServingCosts:
    """Return the timing of each way, in seconds and tokens per second, as medians over rounds and round by round."""
    compared = ways(full, short)
    watch.alone(compared[-1], 0)  # what a process does at its first request is no request's time
    turns = [[watch.alone(way, turn) for way in compared] for turn in range(rounds)]
    rows = [_row(watch, way, [turn[place] for turn in turns]) for place, way in enumerate(compared)]
    where = ", ".join(filter(None, [platform.machine(), platform.system(), gpu_name()]))
    return ServingCosts(engine="in-process", machine=where, measured=True, repeats=rounds, arms=rows)


def _row(watch: Watch, way: Way, turns: Sequence[tuple[float, float]]) -> ServingTime:
    firsts, rates = [first for first, _ in turns], [rate for _, rate in turns]
    return ServingTime(
        arm=way.arm,
        label=way.label,
        cached=way.cached,
        prompt_tokens=watch.prompt_tokens(way),
        first_token_seconds=median(firsts),
        tokens_per_second=median(rates),
        batch_tokens_per_second=watch.batch(way),
        first_token_rounds=firsts,
        tokens_per_second_rounds=rates,
    )


def paid_back(costs: ServingCosts, tokens: Mapping[str, MeanTokens], training: float) -> ServingCosts:
    """Add after how many requests the seconds of training are won back, against the prompted arm cold and warm.

    `tokens` holds the mean tokens of a request by arm. A request takes the time to its first token, and the rest of its
    reply at the rate of a single request. What a shorter reply saves is told apart from what the shorter prompt does:
    that is the saving if both replies were as long as the baked arm's. A break-even that is already known stays;
    without both arms there is none.
    """
    rows = {row.label: row for row in costs.arms}
    if (
        not training
        or costs.break_even
        or not {*AGAINST, BAKED} <= set(rows)
        or not {"prompted", "baked"} <= set(tokens)
    ):
        return costs
    found = [_break_even(rows[label], rows[BAKED], tokens, training) for label in AGAINST]
    return costs.model_copy(update={"training_seconds": training, "break_even": found})


def _break_even(
    prompted: ServingTime, baked: ServingTime, tokens: Mapping[str, MeanTokens], training: float
) -> BreakEven:
    short, own = tokens["baked"].completion, tokens["prompted"].completion
    saved = median(_saved(prompted, baked, own, short))
    equal = _saved(prompted, baked, short, short)
    return BreakEven(
        against=prompted.label,
        seconds_saved_per_request=saved,
        requests=_requests(training, saved),
        equal=EqualReplies(
            reply_tokens=short,
            seconds_saved=median(equal),
            low=min(equal),
            high=max(equal),
            requests=_requests(training, median(equal)),
            fewest=_requests(training, max(equal)),
            most=_requests(training, min(equal)),
        ),
        seconds_saved_by_reply=saved - median(equal),
    )


def _saved(prompted: ServingTime, baked: ServingTime, tokens: float, baked_tokens: float) -> list[float]:
    """Return the seconds that the baked arm saves, round by round, with replies of these lengths."""
    pairs = zip(prompted.rounds, baked.rounds, strict=True)
    return [_seconds(one, tokens) - _seconds(other, baked_tokens) for one, other in pairs]


def _seconds(timed: tuple[float, float], tokens: float) -> float:
    first, rate = timed
    return first + (max(tokens - 1, 0) / rate if rate else 0.0)


def _requests(training: float, saved: float) -> int | None:
    return round(training / saved) if saved > 0 else None
