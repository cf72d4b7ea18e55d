"""Capping the number of rows of one topic, situation and the like."""

from array import array
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.dataset.config import Balance
from tuning_room.dataset.words import fingerprint
from tuning_room.errors import StageError
from tuning_room.records import Candidate
from tuning_room.words import words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Surplus(NamedTuple):
    """A row to drop, and the value of which there are too many."""

    row: int
    why: str


class _Value(NamedTuple):
    number: int
    name: str


class Balancing:
    """The values of each accepted row, from which the rows to drop are drawn; 16 bytes per row and field."""

    def __init__(self, config: Balance, seed: int) -> None:
        self.config, self.seed = config, seed
        self._values: list[dict[str, _Value]] = [{} for _ in config.by]
        self._columns = [array("Q") for _ in config.by]
        self._numbers, self._ranks = array("Q"), array("Q")

    def add(self, number: int, candidate: Candidate) -> None:
        """Take the next accepted row."""
        for name, values, column in zip(self.config.by, self._values, self._columns, strict=True):
            value = str(getattr(candidate, name))
            # Two ways of writing one topic are one topic, named as it was written first.
            column.append(values.setdefault(" ".join(words(value)) or value, _Value(len(values), value)).number)
        self._numbers.append(number)
        # By the id, not the position, so that more rows elsewhere do not change the draw.
        self._ranks.append(fingerprint(candidate.id, seed=self.seed))

    def surplus(self) -> Iterator[Surplus]:
        """Yield the rows to drop; StageError if a share cannot be reached."""
        import numpy as np

        kept: NDArray[np.bool_] = np.ones(len(self._numbers), dtype=bool)
        left = -1
        # Dropping rows for one field changes the shares of another.
        while left != int(kept.sum()):
            left = int(kept.sum())
            for place, name in enumerate(self.config.by):
                column = np.asarray(self._columns[place])
                names = [value.name for value in self._values[place].values()]
                for row, value, cap in self._over(column, kept, name):
                    kept[row] = False
                    yield Surplus(self._numbers[row], f"{name} '{names[value]}': no more than {cap} rows are kept")

    def _over(
        self, column: "NDArray[np.uint64]", kept: "NDArray[np.bool_]", name: str
    ) -> Iterator[tuple[int, int, int]]:
        import numpy as np

        counts = np.bincount(column[kept].astype(np.int64)) if kept.any() else np.zeros(0, dtype=np.int64)
        cap = self._cap(counts, name)
        ranks = np.asarray(self._ranks)
        for value in np.flatnonzero(counts > cap):
            rows = np.flatnonzero(kept & (column == value))
            for row in sorted(rows[np.argsort(ranks[rows], kind="stable")][cap:]):
                yield int(row), int(value), cap

    def _cap(self, counts: "NDArray[np.int64]", name: str) -> int:
        """Return the largest number of rows of one value that meets both bounds."""
        cap = min(int(counts.max(initial=0)), self.config.most or int(counts.max(initial=0)))
        share, present = self.config.largest_share, int((counts > 0).sum())
        if share is None or not present:
            return cap
        if share * present < 1 - 1e-9:
            raise StageError(
                f"dataset.balance.largest_share = {share} cannot be met: there are only {present} values of '{name}'",
                hint=f"set it to {1 / present:.2f} or more, or leave '{name}' out of dataset.balance.by",
            )
        # Each row fewer of the largest values lowers the total by as many values as are cut: the bound is met from
        # some number downwards, and one row of each value meets it.
        return _largest(lambda rows: rows <= share * int(counts.clip(max=rows).sum()) + 1e-9, cap)


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest number from 1 to `most` that fits, where all below one that fits do too."""
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
