"""Which earlier rows may be twins of a row, told from its rarest runs of words.

Two sets whose Jaccard similarity reaches a threshold share one of their few rarest elements, in any one order of all
elements (prefix filtering: Chaudhuri, Ganti and Kaushik 2006; Xiao et al. 2008, "Efficient similarity joins for near
duplicate detection"). Rows of one template share all but the runs with drawn words and numbers in them, and those are
the rare ones: each such row then meets a few others and not all of its kind.
"""

from array import array
from math import ceil
from typing import Any

SLOTS = 2**20  # counters of runs, 4 MiB: two runs in one slot cost time and nothing else
RARE = 16  # runs of a row that are compared before its text is
MET = 256  # kept rows, the latest, that are met over one shared run
COMPARED = 64  # kept rows with which a row is compared in full, those that share the most rare runs
EPSILON = 1e-9


class Counts:
    """About how often each run of words occurs."""

    def __init__(self) -> None:
        import numpy as np

        self._slots: Any = np.zeros(SLOTS, dtype=np.uint32)

    def add(self, runs: Any) -> None:
        """Count the runs of a row, as 64-bit digests."""
        self._slots[runs % SLOTS] += 1

    def rarest(self, runs: Any, most: int) -> Any:
        """Return up to `most` of the runs, the rarest first, as 32-bit digests; the order is the same for all rows."""
        import numpy as np

        found = runs[np.lexsort((runs, self._slots[runs % SLOTS]))[:most]].astype(np.uint32)
        return np.maximum(found, 1)


class Meetings:
    """Rows by the rare runs that they share, each with the kept ones before it; about 140 bytes a row at 0.9."""

    def __init__(self, counts: Counts, threshold: float) -> None:
        self._counts, self._threshold = counts, threshold
        self._sizes, self._ends = array("I"), array("Q", [0])
        self._rare, self._probes = array("I"), array("I")

    def add(self, runs: Any) -> None:
        """Take the next row: its different runs, as 64-bit digests."""
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

        self._sorted: Any = np.sort(np.asarray(self._probes))
        # Those of a run stand where it stands among the sorted runs: it occurs as often as rows can come to it.
        self._members: Any = np.zeros(len(self._sorted), dtype=np.uint32)
        self._filled: Any = np.zeros(len(self._sorted), dtype=np.uint32)
        self._signatures: Any = np.asarray(self._rare).reshape(-1, RARE)
        self._lengths: Any = np.asarray(self._sizes).astype(np.int64)

    def _places(self, row: int) -> list[int]:
        import numpy as np

        mine = np.unique(np.asarray(self._probes[self._ends[row] : self._ends[row + 1]]))
        places: Any = np.searchsorted(self._sorted, mine)
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

    def _shared(self, row: int, others: Any) -> Any:
        """Return how many rare runs each of the others shares; -1 where too few for a twin."""
        import numpy as np

        mine, size = self._signatures[row], int(self._lengths[row])
        sizes = self._lengths[others]
        shared = (self._signatures[others][:, :, None] == mine[mine > 0]).any(axis=2).sum(axis=1)
        # What is not among the rarest of the one whose rarest end first may all be shared.
        most = np.minimum(shared + np.maximum(np.maximum(sizes, size) - RARE, 0), np.minimum(sizes, size))
        needed = self._threshold / (1 + self._threshold) * (sizes + size) - EPSILON
        return np.where(most >= needed, shared, -1)
