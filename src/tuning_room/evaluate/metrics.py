"""What is measured of the replies to an item: of one reply, of a dialogue's turns, or of choices' likelihoods."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tuning_room.checks import METRICS, Case
from tuning_room.records import Item


class Context(NamedTuple):
    """What metrics know beside the item: the full prompt, and the checks that the training data had to pass."""

    full_prompt: str = ""
    checks: Mapping[str, Mapping[str, Any]] = {}


def measured(names: Sequence[str], item: Item, replies: Sequence[str], context: Context) -> dict[str, float]:
    """Return the metrics of the last of an item's replies that concern it, given all that the user had said by then."""
    said = "\n".join([item.said, *item.turns[: len(replies) - 1]])
    case = Case(
        said, item.gold, item.expects, item.wanted, item.checks, item.fields, context.full_prompt, context.checks
    )
    values = {name: METRICS[name](replies[-1], case) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def weighed(names: Sequence[str], item: Item, likelihoods: Sequence[float]) -> dict[str, float]:
    """Return whether the right choice is the likeliest, by log-likelihood a character (the harness's `acc_norm`)."""
    rates = [value / len(choice) for value, choice in zip(likelihoods, item.choices, strict=True)]
    right = item.choices[rates.index(max(rates))] == item.gold
    return dict.fromkeys(names, float(right))
