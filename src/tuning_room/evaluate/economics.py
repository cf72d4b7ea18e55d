"""What a request takes each way of serving, measured on this machine, and when the training has paid for itself."""

import platform
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tuning_room.evaluate.arms import ADAPTER, BASE

TOKENS = 8  # of a reply that is timed: more only repeat the rate
ALL_REPEATS = 3


class Way(NamedTuple):
    """A way to serve: the arm that it is, which model runs under which system turn, and whether the turn is kept."""

    arm: str
    label: str
    model: str
    system: str
    cached: bool


Timer = Callable[[Way], Any]


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


def measure(timer: Timer, full: str, short: str, repeats: int) -> dict[str, Any]:
    """Return the timing of each way; seconds, tokens a second."""
    rows = [
        {"arm": way.arm, "label": way.label, "cached": way.cached, **_plain(timer(way))} for way in ways(full, short)
    ]
    where = f"{platform.machine()}, {platform.system()}"
    return {"engine": "in-process", "machine": where, "measured": True, "repeats": repeats, "arms": rows}


def _plain(timing: Any) -> dict[str, Any]:
    return {name: value for name, value in timing._asdict().items() if name != "cached"}


def paid_back(found: Mapping[str, Any], tokens: Mapping[str, Mapping[str, float]], training: float) -> dict[str, Any]:
    """Add after how many requests the seconds of training are saved, against the prompted arm cold and warm.

    `tokens` are the mean tokens of a request by arm. A request takes its first token's time and the rest of its reply
    at the rate of a single request. Replies of different length are part of the saving, as they are in use. What was
    worked out before stays, and without both arms there is nothing to work out.
    """
    arms = {row["arm"] for row in found.get("arms", [])}
    if not training or "break_even" in found or not {"prompted", "baked"} <= arms & set(tokens):
        return dict(found)
    spent = {row["label"]: _seconds(row, tokens[row["arm"]]["completion"]) for row in found["arms"]}
    baked = spent["baked, adapter"]
    rows = []
    for label in ("prompted, cold", "prompted, warm prefix cache"):
        saved = spent[label] - baked
        rows.append(
            {
                "against": label,
                "seconds_saved_per_request": saved,
                "requests": round(training / saved) if saved > 0 else None,
            }
        )
    return {**found, "training_seconds": training, "break_even": rows}


def _seconds(row: Mapping[str, Any], completion: float) -> float:
    rate = float(row["tokens_per_second"])
    return float(row["first_token_seconds"]) + (max(completion - 1, 0) / rate if rate else 0.0)
