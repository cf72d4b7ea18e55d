"""A batch of dialogues: which rows it has, where each stands, and which rows are read or kept side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import DynamicCache

    from tuning_room.engines.lanes import Lane

WASTE = 1.25  # rows of different length are read together if that computes at most this times their own tokens
WIDER = 2.0  # a lane's widest row may be this times as wide as its narrowest, room for replies included


class Ask(NamedTuple):
    """A dialogue to be answered, in tokens; those of one model and group begin alike."""

    place: int
    model: str
    tokens: list[int]
    group: str = ""


@dataclass(frozen=True, eq=False)
class Prefix:
    """What some dialogues of a model begin with, and its states: (layers, 2, heads, tokens, size), None if empty."""

    model: str
    tokens: list[int]
    states: "Tensor | None"
    number: int = 0

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(eq=False)
class DialogueRow:
    """One dialogue of a batch: its index among those asked, its prefix, its prompt's and its reply's tokens so far."""

    index: int
    prefix: Prefix
    prompt: list[int]
    reply: list[int] = field(default_factory=list)

    @property
    def read(self) -> list[int]:
        """Return the tokens that the model has read while the reply goes on: all but its last one."""
        return self.prompt + self.reply[:-1]


@dataclass
class DecodeBatch:
    """Dialogues under way, lane by lane; `positions`, (rows, 1) on the CPU, is where the next token of each stands."""

    rows: list[DialogueRow]
    lanes: "list[Lane]"
    cache: "DynamicCache"
    positions: "Tensor"

    def states(self, place: int, count: int) -> "Tensor":
        """Return the first states of a row after its prefix, (layers, 2, heads, tokens, size)."""
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

    def join(self, other: "DecodeBatch", rank: Callable[[DialogueRow], tuple[int, int]]) -> None:
        """Take the lanes of another batch as they are; all lanes then stand in the order of their rows' rank."""
        import torch

        parts = [(batch, lane) for batch in (self, other) for lane in batch.lanes]
        parts.sort(key=lambda part: rank(part[0].rows[part[1].start]))
        rows = [row for batch, lane in parts for row in batch.rows[lane.rows]]
        self.positions = torch.cat([batch.positions[lane.rows] for batch, lane in parts])
        self.rows, start = rows, 0
        for _, lane in parts:
            lane.start, start = start, start + len(lane.mask)
        # In place: the cache's layers hold this list.
        self.lanes[:] = [lane for _, lane in parts]


def cut(prefixes: Sequence[int], widths: Sequence[int]) -> list[tuple[int, int]]:
    """Return where lanes start and stop: rows of one prefix, none more than twice as wide as the lane's first.

    >>> cut([7, 7, 7, 9], [10, 15, 25, 12])  # 25 > 2 x 10, and then another prefix
    [(0, 2), (2, 3), (3, 4)]
    """
    starts = [0]
    for i in range(1, len(widths)):
        if prefixes[i] != prefixes[i - 1] or widths[i] > WIDER * widths[starts[-1]]:
            starts.append(i)
    return list(zip(starts, [*starts[1:], len(widths)], strict=True)) if widths else []


def alike(lengths: Sequence[int]) -> list[list[int]]:
    """Return the indices of rows in groups, shortest first, in which padding adds at most a quarter to the work.

    >>> alike([10, 50, 11, 48])  # 2 x 11 for 21 tokens is little waste, 3 x 48 for 69 is too much
    [[0, 2], [3, 1]]
    """
    groups: list[list[int]] = []
    total = 0
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        total += lengths[i]
        if not groups or lengths[i] * (len(groups[-1]) + 1) > WASTE * total:
            groups.append([])
            total = lengths[i]
        groups[-1].append(i)
    return groups
