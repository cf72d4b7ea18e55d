"""What a request takes each way of serving, measured on this machine, and when the training has paid for itself."""

import platform
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.evaluate.arms import ADAPTER, BASE
from tuning_room.results import BreakEven, MeanTokens, ServingCosts, ServingTime

if TYPE_CHECKING:
    from tuning_room.engines.timing import Timing

TOKENS = 8  # of a reply that is timed: more only repeat the rate
ALL_REPEATS = 3


class Way(NamedTuple):
    """A way to serve: the arm that it is, which model runs under which system turn, and whether the turn is kept."""

    arm: str
    label: str
    model: str
    system: str
    cached: bool


def ways(full: str, short: str) -> list[Way]:
    """Return the ways that are compared.

    A merged adapter is the base's own arithmetic with other numbers, so its speed is measured on the base.
    """
    return [
        Way("prompted", "prompted, cold", BASE, full, False),
        Way("prompted", "prompted, warm prefix cache", BASE, full, True),
        Way("baked", "baked, adapter", ADAPTER, short, False),
        Way("baked", "baked, merged", BASE, short, False),
    ]


def measure(timer: Callable[[Way], "Timing"], full: str, short: str, repeats: int) -> ServingCosts:
    """Return the timing of each way; seconds, tokens a second."""
    rows = [
        ServingTime.model_validate({"arm": way.arm, "label": way.label, **timer(way)._asdict(), "cached": way.cached})
        for way in ways(full, short)
    ]
    where = f"{platform.machine()}, {platform.system()}"
    return ServingCosts(engine="in-process", machine=where, measured=True, repeats=repeats, arms=rows)


def paid_back(costs: ServingCosts, tokens: Mapping[str, MeanTokens], training: float) -> ServingCosts:
    """Add after how many requests the seconds of training are saved, against the prompted arm cold and warm.

    `tokens` are the mean tokens of a request by arm. A request takes its first token's time and the rest of its reply
    at the rate of a single request. Replies of different length are part of the saving, as they are in use. What was
    worked out before stays, and without both arms there is nothing to work out.
    """
    if not training or costs.break_even or not {"prompted", "baked"} <= {row.arm for row in costs.arms} & set(tokens):
        return costs
    spent = {row.label: _seconds(row, tokens[row.arm].completion) for row in costs.arms}
    rows = []
    for label in ("prompted, cold", "prompted, warm prefix cache"):
        saved = spent[label] - spent["baked, adapter"]
        requests = round(training / saved) if saved > 0 else None
        rows.append(BreakEven(against=label, seconds_saved_per_request=saved, requests=requests))
    return costs.model_copy(update={"training_seconds": training, "break_even": rows})


def _seconds(row: ServingTime, completion: float) -> float:
    rate = row.tokens_per_second
    return row.first_token_seconds + (max(completion - 1, 0) / rate if rate else 0.0)
