"""Which dialogues are the same as, or nearly the same as, an earlier one that was kept.

Rows that may be twins are found by MinHash (Broder 1997) in bands (Leskovec, Rajaraman and Ullman, Mining of Massive
Datasets, 3.4) and then compared in full. Of each row, only one hash a band stays in memory.
"""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from tuning_room.dataset.words import fingerprint, shingles

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
    """Digests of the rows so far, by which twins among them are found once all are there."""

    def __init__(self, threshold: float) -> None:
        from datasketch import MinHash
        from xxhash import xxh32_intdigest

        self.threshold = threshold
        self.banding = banding(threshold)
        self.numbers = array("Q")
        self._digests = array("Q")
        self._sketch: Any = MinHash(num_perm=PERMUTATIONS, hashfunc=xxh32_intdigest)

    def add(self, number: int, found: list[str]) -> None:
        """Remember the words of a row."""
        from xxhash import xxh3_64_intdigest

        self._sketch.clear()
        self._sketch.update_batch([gram.encode() for gram in shingles(found)])
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
        buckets = np.stack([_shared(column) for column in digests.T], axis=1)
        comparison = _Comparison(words_of, self.threshold)
        for place in np.flatnonzero((buckets >= 0).any(axis=1)):
            if twin := comparison.twin(self.numbers[place], buckets[place].tolist()):
                yield self.numbers[place], twin


def _shared(column: Any) -> Any:
    """Return a number for each value that occurs more than once, -1 for the others."""
    import numpy as np

    _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
    return np.where(counts[inverse] > 1, inverse, -1).astype(np.int32)


class _Comparison:
    """Compares rows in order with the kept ones of their buckets."""

    def __init__(self, words_of: Callable[[int], list[str]], threshold: float) -> None:
        self.words_of = lru_cache(REMEMBERED)(words_of)
        self.shingles = lru_cache(REMEMBERED)(lambda number: frozenset(shingles(self.words_of(number))))
        self.threshold = threshold
        self.kept: defaultdict[tuple[int, int], list[int]] = defaultdict(list)

    def twin(self, number: int, buckets: list[int]) -> Twin | None:
        """Return the row that this one is a twin of; none, and the row is kept."""
        places = [(column, bucket) for column, bucket in enumerate(buckets) if bucket >= 0]
        twin = self._same(number, places) or self._near(number, places)
        for place in places if twin is None else ():
            self.kept[place].append(number)
        return twin

    def _same(self, number: int, places: list[tuple[int, int]]) -> Twin | None:
        # Two texts may have one digest.
        rows = [row for place in places if place[0] == 0 for row in self.kept.get(place, ())]
        return next((Twin(row, SAME) for row in rows if self.words_of(row) == self.words_of(number)), None)

    def _near(self, number: int, places: list[tuple[int, int]]) -> Twin | None:
        mine = self.shingles(number) if places else frozenset()
        for row in sorted({row for place in places for row in self.kept.get(place, ())}):
            theirs = self.shingles(row)
            shared = len(mine & theirs)
            similarity = shared / (len(mine) + len(theirs) - shared)
            if similarity >= self.threshold:
                return Twin(row, similarity)
        return None
