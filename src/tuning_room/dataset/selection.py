"""Which candidates are accepted: each is judged as it comes by, then all are compared with each other.

The candidates are read once and wait on disk meanwhile; of each, only digests stay in memory.
"""

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tuning_room.checks import Exchange, rejected_by
from tuning_room.dataset.balance import Balancing
from tuning_room.dataset.config import DatasetConfig
from tuning_room.dataset.contamination import Contamination
from tuning_room.dataset.duplicates import SAME, Duplicates
from tuning_room.dataset.review import Review
from tuning_room.dataset.split import Split
from tuning_room.dataset.spool import Spool
from tuning_room.dataset.words import fingerprint, said
from tuning_room.errors import DataError
from tuning_room.records import Candidate, Item, Rejection

LATE = ("", "duplicate", "balance", "semantic_duplicate")  # reasons that are known only when all rows are


class Row(NamedTuple):
    """A candidate with the reason against it, '' if it is accepted, and the side on which it then stands."""

    candidate: Candidate
    reason: str
    detail: str
    valid: bool


class Selection:
    """Candidates with what was decided of each, in the order in which they came."""

    def __init__(self, folder: Path, config: DatasetConfig) -> None:
        self._config, self._folder = config, folder
        self._spool = Spool(folder)
        self._split = Split(config)
        self._duplicates = Duplicates(config.near_duplicate)
        self._ids = array("Q")
        self._late = _Late()
        self._surplus: list[str] = []

    def add(self, candidate: Candidate, reason: str, detail: str) -> None:
        """Take the next candidate, and what its own words have against it."""
        number = self._spool.add(Rejection(reason=reason, detail=detail, candidate=candidate))
        self._ids.append(fingerprint(candidate.id))
        self._split.add(candidate)
        self._late.add()
        if not reason:
            self._duplicates.add(number, said(candidate))

    def compare(self) -> None:
        """Decide what depends on the other rows; DataError if two have the same id."""
        self._refuse_one_id_twice()
        candidate_of = self._spool.candidate
        for number, twin in self._duplicates.twins(lambda number: said(candidate_of(number))):
            self._late.drop(number, "duplicate", twin.row, twin.similarity)
        if self._config.semantic_duplicate:
            self._compare_meanings(self._config.semantic_duplicate)
        if self._config.balance.largest_share or self._config.balance.most:
            self._balance()

    def _standing(self) -> Iterator[tuple[int, Candidate]]:
        """Yield the rows against which there is nothing so far."""
        for number, judged in enumerate(self._spool):
            if not judged.reason and not self._late.reason(number):
                yield number, judged.candidate

    def _compare_meanings(self, threshold: float) -> None:
        from tuning_room.dataset.semantic import near_in_meaning
        from tuning_room.models.embeddings import Embedder, embedding_folder

        embedder = Embedder(embedding_folder(self._config.embedding_model))
        # All are found before any is dropped: the rows are read twice and must be the same ones.
        for row, other, similarity in list(near_in_meaning(self._standing, embedder, threshold, self._folder)):
            self._late.drop(row, "semantic_duplicate", other, similarity)

    def _balance(self) -> None:
        balancing = Balancing(self._config.balance, self._config.seed)
        for number, candidate in self._standing():
            balancing.add(number, candidate)
        for row, why in balancing.surplus():
            # Rows with one value come together.
            if self._surplus[-1:] != [why]:
                self._surplus.append(why)
            self._late.drop(row, "balance", len(self._surplus) - 1, 0)

    def _refuse_one_id_twice(self) -> None:
        import numpy as np

        ids = np.asarray(self._ids)
        _, first, counts = np.unique(ids, return_index=True, return_counts=True)
        for digest in ids[first[counts > 1]]:
            names = [self._spool.candidate(int(number)).id for number in np.flatnonzero(ids == digest)]
            if len(set(names)) < len(names):
                raise DataError(f"two candidates have the id '{names[0]}'", hint="give every seed an id of its own")

    def __iter__(self) -> Iterator[Row]:
        is_valid = self._split.valid()
        for number, row in enumerate(self._spool):
            late = self._late.reason(number)
            reason, detail = (late, self._detail(number, late)) if late else (row.reason, row.detail)
            yield Row(row.candidate, reason, detail, bool(is_valid[number]))

    def _detail(self, number: int, reason: str) -> str:
        other, score = self._late.other(number)
        if reason == "balance":
            return self._surplus[other]
        twin = self._spool.candidate(other).id
        if reason == "semantic_duplicate":
            return f"the same as {twin} in other words (cosine {score:.2f})"
        return f"the same as {twin}" if score == SAME else f"nearly the same as {twin} (Jaccard {score:.2f})"

    def close(self) -> None:
        """Give the disk space back."""
        self._spool.close()


class _Late:
    """What all rows together have against each: 13 bytes a row."""

    def __init__(self) -> None:
        self._reasons, self._others, self._scores = array("B"), array("Q"), array("f")

    def add(self) -> None:
        self._reasons.append(0)
        self._others.append(0)
        self._scores.append(0)

    def drop(self, number: int, reason: str, other: int, score: float) -> None:
        self._reasons[number] = LATE.index(reason)
        self._others[number], self._scores[number] = other, score

    def reason(self, number: int) -> str:
        return LATE[self._reasons[number]]

    def other(self, number: int) -> tuple[int, float]:
        return self._others[number], self._scores[number]


def select(candidates: Iterable[Candidate], held_out: list[Item], config: DatasetConfig, folder: Path) -> Selection:
    """Judge candidates, which wait in `folder` meanwhile, and return them all; DataError if two have the same id."""
    if config.semantic_duplicate:
        from tuning_room.models.embeddings import embedding_folder

        # A model that is not there is said before all rows are judged.
        embedding_folder(config.embedding_model)
    contamination = Contamination(held_out, config.overlap)
    selection, review = Selection(folder, config), Review(config.review)
    for candidate in map(review.edited, candidates):
        selection.add(candidate, *judge(candidate, config, contamination, review))
    selection.compare()
    return selection


def judge(candidate: Candidate, config: DatasetConfig, contamination: Contamination, review: Review) -> tuple[str, str]:
    """Return the reason against a candidate by itself, and what it is about; two empty strings if there is none."""
    if candidate.error:
        return "error", candidate.error
    if why := review.dropped(candidate):
        return "reviewed", why
    for exchange in exchanges(candidate):
        reason, detail = rejected_by(config.checks, exchange)
        if reason:
            return reason, f"{detail}: {exchange.reply}"
    if item := contamination.hit(candidate):
        return "held_out", item
    return "", ""


def exchanges(candidate: Candidate) -> Iterator[Exchange]:
    """Yield each reply of a dialogue with all that the user has said before it."""
    said: list[str] = []
    for message in candidate.messages:
        if message.role == "user":
            said.append(message.content)
        elif message.role == "assistant":
            yield Exchange(message.content, "\n".join(said), candidate.gold, candidate.scores or None)
