"""Best of N: replies to one message are ranked, and each that is not kept has a reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuning_room.checks import Exchange, rejected_by


@dataclass
class Option:
    """A reply that may be kept: the checks that it fails, its score if a judge gave one, and the critique behind it."""

    text: str
    error: str = ""
    failed: tuple[tuple[str, str], ...] = ()
    score: float | None = None
    judgement: str = ""
    is_rewritten: bool = False
    critique: str = ""


def failures(checks: Mapping[str, Mapping[str, Any]], exchange: Exchange) -> tuple[tuple[str, str], ...]:
    """Return each check that rejects a reply, with its reason."""
    found = (rejected_by({name: parameters}, exchange) for name, parameters in checks.items())
    return tuple(failure for failure in found if any(failure))


def ranked(options: list[Option]) -> list[Option]:
    """Return the options, best first.

    What passes more checks is better, then what a judge scores higher, then a reply that was rewritten after a
    critique, then the shorter one; a reply that never came is last.
    """
    return sorted(options, key=_rank)


def _rank(option: Option) -> tuple[bool, int, float, bool, int]:
    score = -1.0 if option.score is None else option.score
    return bool(option.error), len(option.failed), -score, not option.is_rewritten, len(option.text)


def why_lost(option: Option, best: Option) -> tuple[str, str]:
    """Return why an option was not kept, as a word and a detail."""
    if option.error:
        return "error", option.error
    if option.text == best.text:
        return "same", "word for word the reply that was kept"
    if option.failed:
        return option.failed[0]
    if option.score != best.score:
        scores = f"{_written(option.score)} where the reply that was kept has {_written(best.score)}"
        return "score", f"{scores}: {option.judgement}"
    if option.is_rewritten != best.is_rewritten:
        return "rewritten", best.critique or "written anew after a critique"
    return "longer", f"{len(option.text)} characters where the reply that was kept has {len(best.text)}"


def _written(score: float | None) -> str:
    return "no score" if score is None else f"{score:g}"
