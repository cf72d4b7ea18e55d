"""The types of checks: of one, of what it is given, and of a recipe's checks with their parameters."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class Exchange(NamedTuple):
    """A reply with what a check may look at.

    `said` is all that the user wrote so far, `latest` the last message of it, `asked` the reply before that; with the
    gold answer, a judge's scores, and the language of replies (ISO 639-1), '' if the recipe does not say.
    """

    reply: str
    said: str
    gold: str | None = None
    scores: Mapping[str, float] | None = None
    latest: str = ""
    asked: str = ""
    language: str = ""


Check = Callable[..., str]
# By name: the parameters of a check, or several sets of them, each of which a reply must pass.
CheckSettings = Mapping[str, Mapping[str, Any] | Sequence[Mapping[str, Any]]]


def each(checks: CheckSettings) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each check with one set of parameters."""
    for name, given in checks.items():
        yield from ((name, parameters) for parameters in ([given] if isinstance(given, Mapping) else given))
