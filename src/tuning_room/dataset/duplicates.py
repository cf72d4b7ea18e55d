"""Which dialogues are the same, or nearly the same, as an earlier one that was kept.

Rows that may be twins are found by MinHash (Broder 1997) in bands (Leskovec, Rajaraman and Ullman, Mining of Massive
Datasets, 3.4). Each is compared in full with those that share enough of its rarest runs of words. Only digests
of each row stay in memory.
"""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.dataset.rare import Counts, Meetings
from tuning_room.dataset.words import fingerprint, shingles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PERMUTATIONS = 128
RECALL = 0.99  # the share of the pairs at the threshold that bands must find
REMEMBERED = 1024  # dialogues whose runs of words are kept while their neighbours are compared


class Banding(NamedTuple):
    """How the values of a MinHash are grouped: a pair is compared if all rows of one band agree."""

    bands: int
    rows: int

    def found(self, similarity: float) -> float:
        """Return the probability with which a pair of some Jaccard similarity is compared."""
        return float(1 - (1 - similarity**self.rows) ** self.bands)


def banding(threshold: float) -> Banding:
    """Return the bands that compare the fewest pairs and still find RECALL of those at the threshold."""
    choices = (Banding(PERMUTATIONS // rows, rows) for rows in range(PERMUTATIONS, 0, -1))
    # Below a similarity of 0.04 no bands find enough: then as many as there can be.
    return next((choice for choice in choices if choice.found(threshold) >= RECALL), Banding(PERMUTATIONS, 1))


class Twin(NamedTuple):
    """An earlier row and the Jaccard similarity to it; 2 stands for the same words in the same order."""

    row: int
    similarity: float


SAME = 2.0


class Duplicates:
    """Digests of the rows so far, by which twins among them are found once all have been added."""

    def __init__(self, threshold: float) -> None:
        from datasketch import MinHash
        from xxhash import xxh32_intdigest

        self.threshold = threshold
        self.banding = banding(threshold)
        self.numbers = array("Q")
        self.compared = 0  # pairs, in full
        self._digests = array("Q")
        self._counts = Counts()
        self._sketch = MinHash(num_perm=PERMUTATIONS, hashfunc=xxh32_intdigest)

    def add(self, number: int, found: list[str]) -> None:
        """Remember the words of a row."""
        from xxhash import xxh3_64_intdigest

        runs = [gram.encode() for gram in shingles(found)]
        self._counts.add(_digested(runs))
        self._sketch.clear()
        self._sketch.update_batch(runs)
        bands, rows = self.banding
        self.numbers.append(number)
        self._digests.append(fingerprint(" ".join(found)))
        self._digests.extend(map(xxh3_64_intdigest, self._sketch.hashvalues[: bands * rows].reshape(bands, rows)))

    def twins(self, words_of: Callable[[int], list[str]]) -> Iterator[tuple[int, Twin]]:
        """Yield the rows to drop, in order, each with the first kept row that it is a twin of.

        `words_of` returns the words of a row by its number; only rows that share a band are asked for.
        """
        import numpy as np

        if not self.numbers:
            return
        digests = np.frombuffer(self._digests, dtype=np.uint64).reshape(len(self.numbers), -1)
        texts, *bands = map(shared, digests.T)
        alike = np.flatnonzero(np.logical_or.reduce([texts >= 0, *(band >= 0 for band in bands)]))
        numbers = [self.numbers[place] for place in alike]
        comparison = _Comparison(words_of, self._meetings(numbers, words_of), numbers, self.threshold)
        for row, text in enumerate(texts[alike].tolist()):
            twin = comparison.twin(row, text)
            self.compared = comparison.compared
            if twin:
                yield numbers[row], twin

    def _meetings(self, numbers: list[int], words_of: Callable[[int], list[str]]) -> Meetings:
        meetings = Meetings(self._counts, self.threshold)
        for number in numbers:
            meetings.add(_digested([gram.encode() for gram in shingles(words_of(number))]))
        meetings.close()
        return meetings


def _digested(runs: list[bytes]) -> "NDArray[np.uint64]":
    """Return the different runs as 64-bit digests."""
    import numpy as np
    from xxhash import xxh3_64_intdigest

    return np.unique(np.fromiter(map(xxh3_64_intdigest, runs), dtype=np.uint64, count=len(runs)))


def shared(column: "NDArray[np.uint64]") -> "NDArray[np.int32]":
    """Return a number for each value that occurs more than once, and -1 for the others."""
    import numpy as np

    _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
    return np.where(counts[inverse] > 1, inverse, -1).astype(np.int32)


class _Comparison:
    """Compares rows, by their place among those that may have twins, in order with the kept ones that they meet."""

    def __init__(
        self, words_of: Callable[[int], list[str]], meetings: Meetings, numbers: list[int], threshold: float
    ) -> None:
        self.words_of = lru_cache(REMEMBERED)(lambda row: words_of(numbers[row]))
        self.shingles = lru_cache(REMEMBERED)(lambda row: frozenset(shingles(self.words_of(row))))
        self.meetings, self.numbers, self.threshold = meetings, numbers, threshold
        self.texts: defaultdict[int, list[int]] = defaultdict(list)
        self.compared = 0

    def twin(self, row: int, text: int) -> Twin | None:
        """Return the row that this one is a twin of; none, and the row is kept. `text` is the number of its words."""
        twin = self._same(row, text) or self._near(row)
        if twin is None:
            self.meetings.keep(row)
            if text >= 0:
                self.texts[text].append(row)
        return twin

    def _same(self, row: int, text: int) -> Twin | None:
        # Two texts may have the same digest.
        rows = (other for other in self.texts.get(text, ()) if self.words_of(other) == self.words_of(row))
        return next((Twin(self.numbers[other], SAME) for other in rows), None)

    def _near(self, row: int) -> Twin | None:
        for other in self.meetings.of(row):
            self.compared += 1
            mine, theirs = self.shingles(row), self.shingles(other)
            both = len(mine & theirs)
            similarity = both / (len(mine) + len(theirs) - both)
            if similarity >= self.threshold:
                return Twin(self.numbers[other], similarity)
        return None
