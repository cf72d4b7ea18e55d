"""A batch of dialogues: who stands in it, where, and who is read or kept beside whom."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tuning_room.engines.lanes import Lane

WASTE = 1.25  # so many times the tokens that are read may be computed, for rows of different length side by side
WIDER = 2.0  # a lane's longest row by its shortest, with the room for what they will say


class Ask(NamedTuple):
    """A dialogue to be gone on with, in tokens; those of one model and group begin alike."""

    place: int
    model: str
    tokens: list[int]
    group: str = ""


@dataclass(frozen=True, eq=False)
class Prefix:
    """What some dialogues of a model begin with, and its states, (layers, 2, heads, tokens, size); None for nothing."""

    model: str
    tokens: list[int]
    states: Any
    number: int = 0

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(eq=False)
class Row:
    """One dialogue of a batch: whose it is, what it begins with, the tokens it was given and those it said."""

    index: int
    prefix: Prefix
    tokens: list[int]
    said: list[int] = field(default_factory=list)

    @property
    def read(self) -> list[int]:
        """Return the tokens that have been read while it says more: the last one that was said has not been."""
        return self.tokens + self.said[:-1]


@dataclass
class Batch:
    """Dialogues under way, lane by lane; `positions` is (rows, 1), where the next token of each stands."""

    rows: list[Row]
    lanes: "list[Lane]"
    cache: Any
    positions: Any

    def states(self, place: int, count: int) -> Any:
        """Return the first states of a row behind its prefix, (layers, 2, heads, tokens, size)."""
        return next(lane for lane in self.lanes if place < lane.rows.stop).row(place, count)

    def choose(self, places: list[int]) -> None:
        """Drop all rows but those at these places."""
        import torch

        kept: list[Lane] = []
        for lane in self.lanes:
            if found := lane.choose(places, kept[-1].rows.stop if kept else 0):
                kept.append(found)
        self.lanes[:] = kept
        self.rows = [self.rows[place] for place in places]
        self.positions = self.positions[torch.tensor(places, dtype=torch.long)]


def cut(prefixes: Sequence[int], widths: Sequence[int]) -> list[tuple[int, int]]:
    """Return where lanes start and stop: rows of one prefix, none more than twice as wide as the lane's first."""
    starts = [0]
    for i in range(1, len(widths)):
        if prefixes[i] != prefixes[i - 1] or widths[i] > WIDER * widths[starts[-1]]:
            starts.append(i)
    return list(zip(starts, [*starts[1:], len(widths)], strict=True)) if widths else []


def alike(lengths: Sequence[int]) -> list[list[int]]:
    """Return the indices of rows in groups, shortest first, in which filling up costs at most a quarter of the work."""
    groups: list[list[int]] = []
    total = 0
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        total += lengths[i]
        if not groups or lengths[i] * (len(groups[-1]) + 1) > WASTE * total:
            groups.append([])
            total = lengths[i]
        groups[-1].append(i)
    return groups
