"""Checks: functions that accept or reject a reply with a reason; datasets and evaluations use the same ones.

A recipe names them. A check takes a reply, what the user has said before it, the gold answer if there is one, and
its own parameters; it returns '' or the reason for the rejection.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tuning_room.checks.replies import asks, leaks, off_topic, tells, words
from tuning_room.errors import RecipeError


class Exchange(NamedTuple):
    """A reply with what a check may look at: all that the user has said so far, and the gold answer."""

    reply: str
    said: str
    gold: str | None = None


Check = Callable[..., str]


def asks_question(exchange: Exchange, *, at_most: int = 1) -> str:
    """Reject a reply without a question, or with more than `at_most`."""
    count = asks(exchange.reply)
    return "" if count in range(1, at_most + 1) else f"{count} questions"


def states_no_result(exchange: Exchange) -> str:
    """Reject a reply that gives the gold answer, or asserts any result, unless the user said it first."""
    if exchange.gold and leaks(exchange.reply, exchange.gold, exchange.said):
        return f"gives the answer {exchange.gold}"
    told = tells(exchange.reply, exchange.said)
    return f"asserts '{told}'" if told else ""


def on_topic(exchange: Exchange) -> str:
    """Reject a reply that takes up no number and no word of what the user has said."""
    return "takes up nothing of the message" if off_topic(exchange.reply, exchange.said) else ""


def length(exchange: Exchange, *, at_least: int = 4, at_most: int = 60) -> str:
    """Reject a reply of fewer or more words."""
    count = len(words(exchange.reply))
    # A range looks at both bounds: validate() then finds one that is no number.
    return "" if count in range(at_least, at_most + 1) else f"{count} words"


CHECKS: Mapping[str, Check] = {
    "asks_question": asks_question,
    "states_no_result": states_no_result,
    "on_topic": on_topic,
    "length": length,
}


def rejected_by(checks: Mapping[str, Mapping[str, Any]], exchange: Exchange) -> tuple[str, str]:
    """Return the first check that rejects a reply and its reason; two empty strings if none does."""
    for name, parameters in checks.items():
        if reason := CHECKS[name](exchange, **parameters):
            return name, reason
    return "", ""


def validate(checks: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise RecipeError for a check that does not exist or does not take its parameters."""
    for name, parameters in checks.items():
        if name not in CHECKS:
            raise RecipeError(f"check '{name}' does not exist", hint=f"choose from {', '.join(CHECKS)}")
        try:
            CHECKS[name](Exchange("Why?", "Why"), **parameters)
        except TypeError as error:
            raise RecipeError(f"check '{name}': {error}", hint="see docs/recipes.md for its parameters") from None


Metric = Callable[[str, str, str], bool]

METRICS: Mapping[str, Metric] = {
    "asks": lambda reply, said, gold: asks(reply) > 0,
    "tells": lambda reply, said, gold: bool(tells(reply, said)) or leaks(reply, gold, said),
    "leaks": lambda reply, said, gold: leaks(reply, gold, said),
    "on_topic": lambda reply, said, gold: not off_topic(reply, said),
}
