"""Which earlier rows may be twins of a row, told from its rarest runs of words.

Two sets whose Jaccard similarity reaches a threshold t share one of their few rarest elements, in any one order of all
elements (prefix filtering: Chaudhuri, Ganti and Kaushik 2006; Xiao et al. 2008, "Efficient similarity joins for near
duplicate detection"). A twin of a set of n has at least tn of its elements, so it lacks n - tn at most; of the
n - tn + 1 rarest it has one.

Take three rows of one template, and as their runs the four that stand in each, at t = 0.6:

    row 0   {a: "how many seats", b: "seats are in", c: "in 12 rows", d: "of 7 each"}
    row 1   {a: "how many seats", b: "seats are in", e: "in 31 rows", f: "of 9 each"}
    row 2   {a: "how many seats", b: "seats are in", c: "in 12 rows", g: "of 8 each"}

a and b occur three times, c twice, the others once: from the rarest to the commonest, the order is d e f g c a b. A
twin has at least 3 of the 4 runs, so of each row the 4 - 3 + 1 = 2 rarest are probed: {d, c}, {e, f} and {g, c}. Row 1
meets nobody, though it shares half of its runs with both others. Row 2 meets row 0 over c, and only these two are
compared in full: they share 3 of 5 runs, so they are twins. Rows of one template share all but the runs with drawn
words and numbers in them; those are the rare ones, so each row meets a few others and not all of its kind.

Shapes: R rows with P probed runs in all, of which each row has one or more.
"""

from array import array
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SLOTS = 2**20  # counters of runs, 4 MiB: two runs in one slot cost time and nothing else
RARE = 16  # runs of a row that are compared before its text is
MET = 256  # kept rows, the latest, that are met over one shared run
COMPARED = 64  # kept rows with which a row is compared in full, those that share the most rare runs
EPSILON = 1e-9


class Counts:
    """About how often each run of words occurs."""

    def __init__(self) -> None:
        import numpy as np

        self._slots: NDArray[np.uint32] = np.zeros(SLOTS, dtype=np.uint32)

    def add(self, runs: "NDArray[np.uint64]") -> None:
        """Count the different runs of a row, as digests."""
        self._slots[runs % SLOTS] += 1

    def rarest(self, runs: "NDArray[np.uint64]", most: int) -> "NDArray[np.uint32]":
        """Return up to `most` of the runs, the rarest first, as shorter digests; the order is the same for all rows."""
        import numpy as np

        found = runs[np.lexsort((runs, self._slots[runs % SLOTS]))[:most]].astype(np.uint32)
        return np.maximum(found, 1)


class Meetings:
    """Rows by the rare runs that they share, each with the kept ones before it; about 140 bytes a row at 0.9.

    All rows are added, then it is closed; after that rows are asked about, and kept, in order.
    """

    _sorted: "NDArray[np.uint32]"  # (P,) the probed runs of all rows, in the order of their digests
    _members: "NDArray[np.uint32]"  # (P,) kept rows: those of a run begin where it does in `_sorted`
    _filled: "NDArray[np.uint32]"  # (P,) where a run begins, how many kept rows it has so far
    _signatures: "NDArray[np.uint32]"  # (R, RARE) the rarest runs of each row, 0 behind those of a short one
    _lengths: "NDArray[np.int64]"  # (R,) how many runs each row has

    def __init__(self, counts: Counts, threshold: float) -> None:
        self._counts, self._threshold = counts, threshold
        self._sizes, self._ends = array("I"), array("Q", [0])
        self._rare, self._probes = array("I"), array("I")

    def add(self, runs: "NDArray[np.uint64]") -> None:
        """Take the next row: its different runs, as digests."""
        # A twin has all but this many of the runs, so it shares one of this many and one.
        probes = len(runs) - ceil(self._threshold * len(runs) - EPSILON) + 1
        rarest = self._counts.rarest(runs, max(probes, RARE)).tolist()
        self._sizes.append(len(runs))
        self._probes.extend(rarest[:probes])
        self._ends.append(len(self._probes))
        # Zeros, which no digest is, fill up a short row.
        self._rare.extend((rarest + [0] * RARE)[:RARE])

    def close(self) -> None:
        """Make room for the kept rows of each run, when all rows are there."""
        import numpy as np

        self._sorted = np.sort(np.asarray(self._probes))
        # A run occurs among the sorted ones as often as rows can come to it: that is its room.
        self._members = np.zeros(len(self._sorted), dtype=np.uint32)
        self._filled = np.zeros(len(self._sorted), dtype=np.uint32)
        self._signatures = np.asarray(self._rare).reshape(-1, RARE)
        self._lengths = np.asarray(self._sizes).astype(np.int64)

    def _places(self, row: int) -> list[int]:
        """Return where the probed runs of a row begin among the sorted ones."""
        import numpy as np

        probed: NDArray[np.uint32] = np.unique(np.asarray(self._probes[self._ends[row] : self._ends[row + 1]]))
        places: NDArray[np.intp] = np.searchsorted(self._sorted, probed)
        found: list[int] = places.tolist()
        return found

    def keep(self, row: int) -> None:
        """Let later rows meet this one."""
        for place in self._places(row):
            self._members[place + self._filled[place]] = row
            self._filled[place] += 1

    def of(self, row: int) -> list[int]:
        """Return the kept rows that may be twins, COMPARED at most, in order."""
        import numpy as np

        spans = [(place, place + int(self._filled[place])) for place in self._places(row)]
        met = [self._members[max(start, end - MET) : end] for start, end in spans if end > start]
        if not met:
            return []
        rows = np.unique(np.concatenate(met))
        shared = self._shared(row, rows)
        rows, shared = rows[shared >= 0], shared[shared >= 0]
        most = np.argsort(-shared, kind="stable")[:COMPARED]
        found: list[int] = np.sort(rows[most]).tolist()
        return found

    def _shared(self, row: int, others: "NDArray[np.uint32]") -> "NDArray[np.int64]":
        """Return how many rare runs each of the others (n,) shares with a row; -1 where too few for a twin."""
        import numpy as np

        own, size = self._signatures[row], int(self._lengths[row])
        sizes = self._lengths[others]
        # (n, RARE, 1) against the row's own runs: which of each other's are among them.
        shared = (self._signatures[others][:, :, None] == own[own > 0]).any(axis=2).sum(axis=1)
        # What is not among the rarest of the one whose rarest end first may all be shared.
        most = np.minimum(shared + np.maximum(np.maximum(sizes, size) - RARE, 0), np.minimum(sizes, size))
        # Sets of n and m elements that share s of them have a similarity of s / (n + m - s).
        needed = self._threshold / (1 + self._threshold) * (sizes + size) - EPSILON
        return np.where(most >= needed, shared, -1)
