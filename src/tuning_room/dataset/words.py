"""Dialogues as words, and as the runs of words by which they are compared."""

from tuning_room.records import Candidate
from tuning_room.words import MEANT, words

SHINGLE = 3  # words in a run, where two dialogues are compared


def grams(found: list[str], size: int) -> list[str]:
    """Return the runs of `size` words, none if there are fewer words."""
    return [" ".join(found[i : i + size]) for i in range(len(found) - size + 1)]


def fingerprint(text: str, seed: int = 0) -> int:
    """Return a 64-bit hash of a text, the same on every machine."""
    from xxhash import xxh3_64_intdigest

    return int(xxh3_64_intdigest(text.encode(), seed=seed))


def dialogue_words(candidate: Candidate) -> list[str]:
    """Return the words of a whole dialogue, and the signs without which it says something else."""
    return words(" ".join(message.content for message in candidate.messages), alone=MEANT)


def shingles(found: list[str]) -> list[str]:
    """Return the runs of words from which a dialogue's similarity is computed; a shorter dialogue is one run."""
    return grams(found, SHINGLE) or [" ".join(found)]
