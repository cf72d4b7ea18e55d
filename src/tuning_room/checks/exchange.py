"""The type of a check, and of what it is given."""

from collections.abc import Callable, Mapping
from typing import NamedTuple


class Exchange(NamedTuple):
    """A reply with what a check may look at: all that the user wrote so far, the gold answer, a judge's scores."""

    reply: str
    said: str
    gold: str | None = None
    scores: Mapping[str, float] | None = None


Check = Callable[..., str]
