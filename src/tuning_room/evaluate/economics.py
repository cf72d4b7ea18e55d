"""What a request costs in time each way of serving, timed on this machine, and when training has paid for itself."""

import platform
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.evaluate.arms import ADAPTER, BASE
from tuning_room.results import BreakEven, MeanTokens, ServingCosts, ServingTime

if TYPE_CHECKING:
    from tuning_room.engines.timing import Timing

TOKENS = 8  # length of a timed reply: more tokens would only repeat the rate


class Way(NamedTuple):
    """A way to serve an arm: which model, under which system turn, and whether that turn is already in the cache."""

    arm: str
    label: str
    model: str
    system: str
    cached: bool


def ways(full: str, short: str) -> list[Way]:
    """Return the ways to compare.

    A merged adapter does the base model's own arithmetic with other numbers, so its speed is timed on the base.
    """
    return [
        Way("prompted", "prompted, cold", BASE, full, False),
        Way("prompted", "prompted, warm prefix cache", BASE, full, True),
        Way("baked", "baked, adapter", ADAPTER, short, False),
        Way("baked", "baked, merged", BASE, short, False),
    ]


def measure(timer: Callable[[Way], "Timing"], full: str, short: str, repeats: int) -> ServingCosts:
    """Return the timing of each way, in seconds and tokens per second."""
    rows = [
        ServingTime.model_validate({"arm": way.arm, "label": way.label, **timer(way)._asdict(), "cached": way.cached})
        for way in ways(full, short)
    ]
    where = f"{platform.machine()}, {platform.system()}"
    return ServingCosts(engine="in-process", machine=where, measured=True, repeats=repeats, arms=rows)


def paid_back(costs: ServingCosts, tokens: Mapping[str, MeanTokens], training: float) -> ServingCosts:
    """Add after how many requests the seconds of training are won back, against the prompted arm cold and warm.

    `tokens` holds the mean tokens of a request by arm. A request takes the time to its first token, and the rest of its
    reply at the rate of a single request. Replies of different lengths count towards the saving, as they do in use. A
    break-even that is already known stays; without both arms there is none.
    """
    if not training or costs.break_even or not {"prompted", "baked"} <= {row.arm for row in costs.arms} & set(tokens):
        return costs
    spent = {}
    for row in costs.arms:
        after_first = max(tokens[row.arm].completion - 1, 0)
        rest = after_first / row.tokens_per_second if row.tokens_per_second else 0.0
        spent[row.label] = row.first_token_seconds + rest
    rows = []
    for label in ("prompted, cold", "prompted, warm prefix cache"):
        saved = spent[label] - spent["baked, adapter"]
        requests = round(training / saved) if saved > 0 else None
        rows.append(BreakEven(against=label, seconds_saved_per_request=saved, requests=requests))
    return costs.model_copy(update={"training_seconds": training, "break_even": rows})
