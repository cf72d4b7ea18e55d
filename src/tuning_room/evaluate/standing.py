"""When a requirement counts as learnt: the bounds that its rate is held to, and what more it would take."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tuning_room.evaluate.power import items_needed
from tuning_room.requirements.records import RequirementGate
from tuning_room.results import LearntCounts, Rate, RequirementResult, RequirementState

SHIPPED = "baked"  # the arm whose replies decide
# Where a requirement has no bound of its own: its rate, and the lower end of the rate's interval.
LEARNT, SHOWN = 0.8, 0.6


class Bound(NamedTuple):
    """What a requirement's rate must reach, and what the lower end of its interval must."""

    rate: float
    low: float


class Standing(NamedTuple):
    """A requirement's state, and the reason in words."""

    state: RequirementState
    reason: str


def bound_of(gate: RequirementGate | None) -> Bound:
    """Return what must be reached: by a requirement's own gate, else the default."""
    if gate is None:
        return Bound(LEARNT, SHOWN)
    return Bound(gate.at_least, gate.at_least if gate.by == "bound" else 0.0)


def stand(rate: Rate, bound: Bound) -> Standing:
    """Return the state of a requirement that was tested, with the numbers behind it."""
    numbers = f"kept by {rate.rate:.1%} of {rate.total} replies (95 % interval {rate.low:.1%} to {rate.high:.1%})"
    if rate.rate < bound.rate:
        return Standing("failed", f"{numbers}; at least {bound.rate:.0%} must keep it")
    if rate.low < bound.low:
        return Standing("not_shown", f"{numbers}; too few items to show at least {bound.low:.0%}")
    return Standing("learnt", numbers)


def items_to_write(one: RequirementResult) -> int:
    """Return about how many more items a requirement needs to be shown at the rate that was found, at least 1."""
    rate, bound = one.rates.get(SHIPPED), bound_of(one.gate)
    needed = items_needed(1 - (bound.low or bound.rate), rate=1 - rate.rate if rate else 0.0)
    return max(1, (needed or 0) - (rate.total if rate else 0))


def counts(found: Sequence[RequirementResult]) -> LearntCounts:
    """Return how many requirements are in each state."""
    states = Counter(one.state for one in found)
    return LearntCounts(
        learnt=states["learnt"],
        of=len(found) - states["outside"],
        failed=states["failed"],
        not_shown=states["not_shown"],
        untested=states["untested"],
        outside=states["outside"],
    )
