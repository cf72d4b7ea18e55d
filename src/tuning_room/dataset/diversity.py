"""How varied replies are: distinct-n and Self-BLEU."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from math import exp, log
from typing import NamedTuple

from tuning_room.words import words

LONGEST = 4  # n-grams of Self-BLEU
EPSILON = 0.1  # instead of zero matches (smoothing 1 of Chen and Cherry 2014)

Gram = tuple[str, ...]


def tokens(text: str) -> list[str]:
    """Return a text's words and signs, in lower case."""
    return words(text, joined="_", alone=r"^\w\s\p{M}")


def grams(found: Sequence[str], size: int) -> Iterator[Gram]:
    """Yield the runs of `size` words."""
    return zip(*(found[start:] for start in range(size)), strict=False)


def distinct(texts: Sequence[Sequence[str]], size: int) -> float:
    """Return the number of distinct n-grams as a share of all (Li et al. 2016); 0 if there are none."""
    counts = Counter(gram for found in texts for gram in grams(found, size))
    return len(counts) / counts.total() if counts else 0.0


def self_bleu(texts: Sequence[Sequence[str]]) -> float:
    """Return the mean BLEU-4 of each text against all others: 0 is varied, 1 is one text repeated (Zhu et al. 2018).

    The same figure as text by text, in time that grows with the texts and not with their pairs. 0 for fewer than two.
    """
    if len(texts) < 2:
        return 0.0
    peaks = [_peaks(texts, size) for size in range(1, LONGEST + 1)]
    lengths = sorted(map(len, texts))
    return sum(_bleu(found, peaks, lengths) for found in texts) / len(texts)


class _Peak(NamedTuple):
    """How often an n-gram stands in the text that has it most often, and in the next one."""

    most: int
    next: int


def _peaks(texts: Sequence[Sequence[str]], size: int) -> dict[Gram, _Peak]:
    peaks: dict[Gram, _Peak] = {}
    for found in texts:
        for gram, count in Counter(grams(found, size)).items():
            most, following = peaks.get(gram, _Peak(0, 0))
            peaks[gram] = _Peak(max(most, count), max(following, min(most, count)))
    return peaks


def _bleu(found: Sequence[str], peaks: Sequence[dict[Gram, _Peak]], lengths: list[int]) -> float:
    total = 0.0
    for size, known in enumerate(peaks, start=1):
        counts = Counter(grams(found, size))
        # What the others have: the most of all, unless that is the text itself.
        matched = sum(min(n, known[g].next if n == known[g].most else known[g].most) for g, n in counts.items())
        if size == 1 and not matched:
            return 0.0
        total += log((matched or EPSILON) / max(counts.total(), 1))
    return _brevity(len(found), lengths) * exp(total / len(peaks))


def _brevity(length: int, lengths: list[int]) -> float:
    """Return the penalty for being shorter than the closest of the other texts."""
    place = bisect_left(lengths, length)
    others = [*lengths[max(place - 1, 0) : place], *lengths[place + 1 : place + 2]]
    closest = min(others, key=lambda other: (abs(other - length), other))
    return 1.0 if length > closest else exp(1 - closest / length)
