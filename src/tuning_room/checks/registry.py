"""The checks by name: ours, and those of installed packages."""

from collections.abc import Mapping
from functools import cache, wraps
from pathlib import Path
from typing import Any

from tuning_room.checks.claims import wrong_result
from tuning_room.checks.exchange import Check, CheckSettings, Exchange, each
from tuning_room.checks.judging import endorsed
from tuning_room.checks.plugins import entry_point, loaded, offered, source_files, unusable
from tuning_room.checks.replies import leaks, tells
from tuning_room.checks.sentences import asks
from tuning_room.checks.topics import off_topic
from tuning_room.checks.wording import forbidden_phrases, json_schema, language, regular_expression
from tuning_room.errors import RecipeError
from tuning_room.words import count, words


def asks_question(exchange: Exchange, *, at_most: int = 1) -> str:
    """Reject a reply without a question, or with more than `at_most`."""
    count = asks(exchange.reply)
    return "" if count in range(1, at_most + 1) else f"{count} questions"


def states_no_result(exchange: Exchange) -> str:
    """Reject a reply that gives the gold answer, or asserts any result, unless the user gave it first."""
    if leaked := states_no_gold(exchange):
        return leaked
    asserted = tells(exchange.reply, exchange.said)
    return f"asserts '{asserted}'" if asserted else ""


def states_no_gold(exchange: Exchange) -> str:
    """Reject a reply that gives the gold answer in any written form, unless the user gave it first."""
    leaked = exchange.gold and leaks(exchange.reply, exchange.gold, exchange.said, exchange.language)
    return f"gives the answer {exchange.gold}" if leaked else ""


def endorses_no_wrong_result(exchange: Exchange) -> str:
    """Reject a reply that confirms a result of the user's last message that is not the gold answer."""
    latest = exchange.latest or exchange.said.rpartition("\n")[2]
    wrong = wrong_result(latest, exchange.gold or "", asked=exchange.asked)
    return f"confirms {wrong.text}, which is not {exchange.gold}" if wrong and endorsed(exchange.reply, wrong) else ""


def on_topic(exchange: Exchange) -> str:
    """Reject a reply that takes up no number and no word of the user's."""
    return "takes up nothing of the message" if off_topic(exchange.reply, exchange.said) else ""


def length(exchange: Exchange, *, at_least: int = 4, at_most: int = 60) -> str:
    """Reject a reply with fewer or more words, about so many in a script without spaces."""
    found = count(words(exchange.reply, joined="_'./%^", alone=""))
    # A range uses both bounds, so that validate() finds one that is not a number.
    return "" if found in range(at_least, at_most + 1) else f"{found} words"


def judge_score(exchange: Exchange, *, at_least: float, score: str = "judge") -> str:
    """Reject a reply with a lower score from a judge; one that no judge has scored passes."""
    bound, value = float(at_least), (exchange.scores or {}).get(score)
    return f"{score} {value:g}, less than {bound:g}" if value is not None and value < bound else ""


CHECKS: Mapping[str, Check] = {
    "asks_question": asks_question,
    "states_no_result": states_no_result,
    "states_no_gold": states_no_gold,
    "endorses_no_wrong_result": endorses_no_wrong_result,
    "on_topic": on_topic,
    "length": length,
    "forbidden_phrases": forbidden_phrases,
    "regular_expression": regular_expression,
    "json_schema": json_schema,
    "language": language,
    "judge_score": judge_score,
}


def find(name: str) -> Check:
    """Return a check of ours or of a plug-in; RecipeError if there is none of that name."""
    if check := CHECKS.get(name) or _plugin(name):
        return check
    raise RecipeError(f"check '{name}' does not exist", hint=f"choose from {', '.join([*CHECKS, *offered('check')])}")


@cache
def _plugin(name: str) -> Check | None:
    """Return an installed package's check, wrapped so that its errors name it; None if no package offers it."""
    entry = entry_point("check", name)
    if entry is None:
        return None
    check = loaded("check", entry)
    if not callable(check):
        raise unusable("check", entry, "not a function")

    @wraps(check)
    def guarded(exchange: Exchange, **parameters: Any) -> str:
        try:
            reason = check(exchange, **parameters)
        except Exception as error:
            raise unusable("check", entry, f"{type(error).__name__}: {error}") from error
        if not isinstance(reason, str):
            raise unusable("check", entry, f"returned {reason!r}, not a reason as text")
        return reason

    return guarded


def rejected_by(checks: CheckSettings, exchange: Exchange) -> tuple[str, str]:
    """Return the first check that rejects a reply and its reason; two empty strings if none does."""
    for name, parameters in each(checks):
        if reason := find(name)(exchange, **parameters):
            return name, reason
    return "", ""


def files(checks: CheckSettings) -> list[Path]:
    """Return the files that the outcome of checks depends on besides our own code: those named, and plug-ins."""
    named = [value for _, parameters in each(checks) for value in parameters.values() if isinstance(value, Path)]
    return [*named, *source_files("check", [name for name in checks if name not in CHECKS])]


def code() -> Path:
    """Return the folder of our checks and metrics: an input of the stages whose results they decide."""
    return Path(__file__).parent


def validate(checks: CheckSettings) -> None:
    """Raise RecipeError for a check that does not exist or does not take its parameters."""
    for name, parameters in each(checks):
        check = find(name)
        try:
            check(Exchange("Why?", "Why"), **parameters)
        except RecipeError:
            raise
        except (TypeError, ValueError) as error:
            raise RecipeError(f"check '{name}': {error}", hint="see docs/recipes.md for its parameters") from None
