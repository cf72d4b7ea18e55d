"""Keys and values of the beginnings of dialogues, kept since the next call may begin alike.

The idea is that of vLLM's automatic prefix caching, over whole dialogues instead of blocks; the oldest entry goes when
there is no more room. An entry need not begin with its dialogue: that of a row holds what follows the shared prefix.

    prefix   tokens [s s s s]           start 0   states of 4 tokens
    a row    tokens [s s s s q q r r]   start 4   states of 4 tokens: q q r r
"""

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Known(NamedTuple):
    """Tokens of a dialogue from its first on, and the states of those from `start` on.

    The states are (layers, 2, heads, tokens, size); they hold for one model name, that is with or without the adapter.
    """

    model: str
    tokens: list[int]
    start: int
    states: "Tensor"

    def agrees(self, tokens: Sequence[int]) -> int:
        """Return how many of these tokens, from the first on, the entry covers; 0 unless it covers one of its states.

        With tokens [1, 2, 3, 4], start 2 and two states: 3 for [1, 2, 3, 9], and 0 for [1, 2].
        """
        # Slices first: they are compared in C, and most entries differ early.
        if self.tokens[: self.start + 1] != list(tokens[: self.start + 1]):
            return 0
        pairs = zip(self.tokens[self.start :], tokens[self.start :], strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return self.start + min(same, int(self.states.shape[3]))


class Kept:
    """The newest entries, as many as fit into `most_bytes`, but always one."""

    def __init__(self, most_bytes: int = 512 << 20) -> None:
        self.most_bytes = most_bytes
        self._entries: list[Known] = []

    def add(self, known: Known) -> None:
        """Keep an entry as the newest, and drop those that are its beginning."""
        self._entries = [entry for entry in self._entries if not _holds(known, entry)]
        self._entries.append(known)
        while len(self._entries) > 1 and sum(_bytes(entry) for entry in self._entries) > self.most_bytes:
            self._entries.pop(0)

    def prefix(self, model: str, tokens: Sequence[int]) -> tuple[int, Known | None]:
        """Return how many of the first tokens have states, and the entry that holds them."""
        return self._best(model, tokens, lambda start: start == 0)

    def row(self, model: str, tokens: Sequence[int], start: int, most: int) -> "Tensor | None":
        """Return the states of the tokens from `start` on, up to `most` of all tokens, or None."""
        length, found = self._best(model, tokens[:most], lambda first: first <= start)
        if found is None or length <= start:
            return None
        return found.states[..., start - found.start : length - found.start, :]

    def clear(self) -> None:
        """Forget everything."""
        self._entries = []

    def _best(self, model: str, tokens: Sequence[int], fits: Callable[[int], bool]) -> tuple[int, Known | None]:
        found = [(entry.agrees(tokens), i) for i, entry in enumerate(self._entries) if entry.model == model]
        length, index = max((pair for pair in found if fits(self._entries[pair[1]].start)), default=(0, -1))
        return (length, self._entries[index]) if length else (0, None)


def _holds(known: Known, entry: Known) -> bool:
    same = known.model == entry.model and known.start == entry.start
    return same and known.tokens[: len(entry.tokens)] == entry.tokens


def _bytes(entry: Known) -> int:
    return int(entry.states.nbytes)
