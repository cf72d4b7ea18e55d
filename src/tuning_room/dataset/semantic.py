"""Which dialogues say the same as an earlier one in other words, according to an embedding model.

Embeddings hardly see numbers: "What is 7 x 8?" and "What is 7 x 9?" are nearly one vector. So only dialogues with the
same numbers are compared at all; the others are different problems.
"""

import tempfile
from array import array
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, TypeAlias

from tuning_room.checks.numbers import quantities
from tuning_room.dataset.duplicates import shared
from tuning_room.dataset.words import fingerprint
from tuning_room.progress import ProgressBar
from tuning_room.records import Candidate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 1024  # rows that are compared at once: 4 MiB of similarities
AT_ONCE = 256  # texts per call of the model

Vectors: TypeAlias = "NDArray[np.float32]"  # (rows, size), each of length 1
Embed: TypeAlias = Callable[[list[str]], Vectors]


class Near(NamedTuple):
    """A row to drop, the earlier kept row that it repeats, and their cosine similarity."""

    row: int
    other: int
    similarity: float


def numbers_key(candidate: Candidate) -> int:
    """Return 64 bits that stand for the different numbers of a dialogue, in whatever form they are written."""
    numbers = (found for message in candidate.messages for found in quantities(message.content))
    return fingerprint(" ".join(sorted({f"{value}{'%' * is_percent}" for value, is_percent in numbers})))


def near_in_meaning(
    rows: Callable[[], Iterator[tuple[int, Candidate]]], embed: Embed, threshold: float, folder: Path
) -> Iterator[Near]:
    """Yield the rows to drop, each with the most similar kept row before it.

    `rows` yields the rows, the same each time; they are read twice. The vectors are kept in `folder`, in a file without
    a name; 24 bytes of each row stay in memory. Time grows with the square of the rows that have the same numbers.
    """
    import numpy as np

    numbers, keys = array("Q"), array("Q")
    for number, candidate in rows():
        numbers.append(number)
        keys.append(numbers_key(candidate))
    groups = shared(np.asarray(keys)) if keys else np.zeros(0, dtype=np.int32)
    alike = np.flatnonzero(groups >= 0)
    if not len(alike):
        return
    with tempfile.TemporaryFile(dir=folder) as file:
        texts = (_text(candidate) for (_, candidate), group in zip(rows(), groups, strict=True) if group >= 0)
        vectors = _embedded(texts, len(alike), embed, file)
        order = np.argsort(groups[alike], kind="stable")
        for places in np.split(order, np.flatnonzero(np.diff(groups[alike][order])) + 1):
            for place, other, similarity in _in_group(vectors, places, threshold):
                yield Near(numbers[alike[place]], numbers[alike[other]], similarity)


def _text(candidate: Candidate) -> str:
    return "\n".join(message.content for message in candidate.messages)


def _embedded(texts: Iterator[str], count: int, embed: Embed, file: IO[bytes]) -> Vectors:
    """Return the vectors of texts, (count, size), as a view of the file."""
    import numpy as np

    size = 0
    with ProgressBar("embeddings", count) as bar:
        while batch := list(islice(texts, AT_ONCE)):
            vectors = np.asarray(embed(batch), dtype=np.float32)
            file.write(vectors.tobytes())
            size = vectors.shape[1]
            bar.advance(len(batch))
    file.flush()
    return np.memmap(file, dtype=np.float32, mode="r", shape=(count, size))


def _in_group(vectors: Vectors, places: "NDArray[np.intp]", threshold: float) -> Iterator[tuple[int, int, float]]:
    """Yield the places to drop, with the most similar kept place before each; block by block."""
    import numpy as np

    kept: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
    for start in range(0, len(places), BLOCK):
        block = places[start : start + BLOCK]
        mine = vectors[block]
        best, other = _closest(mine, vectors, kept)
        within = mine @ mine.T
        standing: list[int] = []
        for place in range(len(block)):
            if standing and (here := within[place, standing]).max() > best[place]:
                best[place], other[place] = here.max(), block[standing[int(here.argmax())]]
            if best[place] >= threshold:
                yield int(block[place]), int(other[place]), min(float(best[place]), 1.0)
            else:
                standing.append(place)
        kept = np.concatenate([kept, block[standing]])


def _closest(
    mine: Vectors, vectors: Vectors, kept: "NDArray[np.intp]"
) -> "tuple[NDArray[np.float32], NDArray[np.intp]]":
    """Return, for each of the vectors `mine`, the similarity to the most similar kept one, and its place."""
    import numpy as np

    best: NDArray[np.float32] = np.full(len(mine), -1.0, dtype=np.float32)
    other: NDArray[np.intp] = np.zeros(len(mine), dtype=np.intp)
    for first in range(0, len(kept), BLOCK):
        part = kept[first : first + BLOCK]
        similarities = mine @ vectors[part].T
        closest = similarities.argmax(axis=1)
        found = similarities[np.arange(len(mine)), closest]
        other, best = np.where(found > best, part[closest], other), np.maximum(found, best)
    return best, other
