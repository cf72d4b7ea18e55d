"""What a check is given, and what it is."""

from collections.abc import Callable, Mapping
from typing import NamedTuple


class Exchange(NamedTuple):
    """A reply with what a check may look at: all that the user has said so far, the gold answer, a judge's scores."""

    reply: str
    said: str
    gold: str | None = None
    scores: Mapping[str, float] | None = None


Check = Callable[..., str]
