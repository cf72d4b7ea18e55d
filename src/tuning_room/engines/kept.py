"""What was computed once and may be asked for again: keys and values of the beginnings of dialogues.

The idea is that of vLLM's automatic prefix caching, over whole dialogues instead of blocks. Nothing is kept for long:
the oldest goes when there is no more room.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple


class Known(NamedTuple):
    """Tokens of a dialogue from its first on, and the states of those from `start` on.

    The states are (layers, 2, heads, tokens, size); they hold for one model name, that is with or without the adapter.
    """

    model: str
    tokens: list[int]
    start: int
    states: Any

    def agrees(self, tokens: Sequence[int]) -> int:
        """Return how many tokens from the first on are the same, as far as there are states for them; 0 for none."""
        # Slices first: they are compared in C, and most entries differ early.
        if self.tokens[: self.start + 1] != list(tokens[: self.start + 1]):
            return 0
        pairs = zip(self.tokens[self.start :], tokens[self.start :], strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return self.start + min(same, int(self.states.shape[3]))


class Kept:
    """The newest known beginnings, as many as fit into so many bytes, but always one."""

    def __init__(self, most_bytes: int = 512 << 20) -> None:
        self.most_bytes = most_bytes
        self._entries: list[Known] = []

    def add(self, known: Known) -> None:
        """Keep an entry as the newest; one that is its beginning is no longer needed."""
        self._entries = [entry for entry in self._entries if not _holds(known, entry)]
        self._entries.append(known)
        while len(self._entries) > 1 and sum(_bytes(entry) for entry in self._entries) > self.most_bytes:
            self._entries.pop(0)

    def prefix(self, model: str, tokens: Sequence[int]) -> tuple[int, Known | None]:
        """Return how many of the first tokens are known from the first on, and the entry that knows them."""
        return self._best(model, tokens, lambda start: start == 0)

    def row(self, model: str, tokens: Sequence[int], start: int, most: int) -> Any:
        """Return the states that are known from `start` up to `most`, or None."""
        length, found = self._best(model, tokens[:most], lambda first: first <= start)
        if found is None or length <= start:
            return None
        return found.states[..., start - found.start : length - found.start, :]

    def clear(self) -> None:
        """Forget everything."""
        self._entries = []

    def _best(self, model: str, tokens: Sequence[int], fits: Any) -> tuple[int, Known | None]:
        found = [(entry.agrees(tokens), i) for i, entry in enumerate(self._entries) if entry.model == model]
        length, index = max((pair for pair in found if fits(self._entries[pair[1]].start)), default=(0, -1))
        return (length, self._entries[index]) if length else (0, None)


def _holds(known: Known, entry: Known) -> bool:
    same = known.model == entry.model and known.start == entry.start
    return same and known.tokens[: len(entry.tokens)] == entry.tokens


def _bytes(entry: Known) -> int:
    return int(entry.states.nbytes)
