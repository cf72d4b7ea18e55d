"""Which candidates are accepted: each is judged as it is read, then all are compared with each other.

The candidates are read once and spooled to disk; only digests of each stay in memory.
"""

import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from tuning_room.checks import Exchange, rejected_by, validate
from tuning_room.checks.numbers import quantities
from tuning_room.dataset.balance import Balancing
from tuning_room.dataset.config import DatasetConfig
from tuning_room.dataset.duplicates import SAME, Duplicates
from tuning_room.dataset.review import Review
from tuning_room.dataset.split import Split
from tuning_room.dataset.words import dialogue_words, fingerprint
from tuning_room.errors import DataError
from tuning_room.records import Candidate, Item, Rejection
from tuning_room.requirements import Requirement, RowsTaught, check_ids, held_to, read_requirements
from tuning_room.words import runs, without_accents, words

LATE = ("", "duplicate", "balance", "semantic_duplicate")  # reasons that are only known once all rows are


class Selected(NamedTuple):
    """A candidate with the reason against it, '' if it is accepted, and the side on which it then stands."""

    candidate: Candidate
    reason: str
    detail: str
    valid: bool


class Coverage:
    """The requirements, and how many accepted rows teach each; RecipeError for a check that does not exist."""

    def __init__(self, config: DatasetConfig) -> None:
        found = read_requirements(config.requirements) if config.requirements else []
        self._known: Mapping[str, Requirement] = {one.id: one for one in found}
        self._fewest = config.rows_per_requirement
        self._taught = RowsTaught()
        for one in found:
            validate(one.checks)

    def broken(self, candidate: Candidate, exchange: Exchange) -> tuple[str, str]:
        """Return the first requirement whose checks a reply does not pass, and why; two empty strings if none.

        A row is held to what it says it teaches, and to what every reply must keep. RecipeError names an id that no
        requirement has.
        """
        known = list(self._known.values())
        check_ids(candidate.requirements, known, candidate.id)
        for one in held_to(candidate.requirements, known):
            name, reason = rejected_by(one.checks, exchange)
            if name:
                return f"requirement:{one.id}", f"{name}: {reason}"
        return "", ""

    def count(self, candidate: Candidate) -> None:
        """Count an accepted row for what it teaches."""
        self._taught.add(candidate.requirements)

    def summary(self) -> dict[str, Any]:
        """Return the rows by requirement, and a warning for each of those to be baked that too few rows teach."""
        baked = [one for one in self._known.values() if one.is_baked]
        rows = {one.id: self._taught.of(one) for one in baked}
        short = {name: count for name, count in rows.items() if count < self._fewest}
        none = [name for name, count in short.items() if not count and not self._known[name].untested]
        few = [f"{name} ({count})" for name, count in short.items() if count]
        warnings = [f"no row teaches {', '.join(none)}"] if none else []
        if few:
            warnings.append(f"fewer than {self._fewest} rows teach {', '.join(few)}")
        return {"requirements": rows, "warnings": warnings}


class Selection:
    """Candidates with what was decided of each, in the order in which they came."""

    def __init__(self, folder: Path, config: DatasetConfig) -> None:
        self._config, self._folder = config, folder
        self.coverage = Coverage(config)
        self._spool = Spool(folder)
        self._split = Split(config)
        self._duplicates = Duplicates(config.near_duplicate)
        self._ids = array("Q")
        self._late = _Late()
        self._surplus: list[str] = []

    def add(self, candidate: Candidate, reason: str, detail: str) -> None:
        """Take the next candidate, and the reason against it by itself."""
        number = self._spool.add(Rejection(reason=reason, detail=detail, candidate=candidate))
        self._ids.append(fingerprint(candidate.id))
        self._split.add(candidate)
        self._late.add()
        if not reason:
            self._duplicates.add(number, dialogue_words(candidate))

    def compare(self) -> None:
        """Decide what depends on the other rows; DataError if two have the same id."""
        self._refuse_one_id_twice()
        candidate_of = self._spool.candidate
        for number, twin in self._duplicates.twins(lambda number: dialogue_words(candidate_of(number))):
            self._late.drop(number, "duplicate", twin.row, twin.similarity)
        if self._config.semantic_duplicate:
            self._compare_meanings(self._config.semantic_duplicate)
        if self._config.balance.largest_share or self._config.balance.most:
            self._balance()

    def _standing(self) -> Iterator[tuple[int, Candidate]]:
        """Yield the rows that are accepted so far."""
        for number, judged in enumerate(self._spool):
            if not judged.reason and not self._late.reason(number):
                yield number, judged.candidate

    def _compare_meanings(self, threshold: float) -> None:
        from tuning_room.dataset.semantic import near_in_meaning
        from tuning_room.models import embedding_folder
        from tuning_room.models.embeddings import Embedder

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
                raise DataError(
                    f"two candidates have the id '{names[0]}'", hint="give every example dialogue an id of its own"
                )

    def __iter__(self) -> Iterator[Selected]:
        is_valid = self._split.valid()
        for number, row in enumerate(self._spool):
            late = self._late.reason(number)
            reason, detail = (late, self._detail(number, late)) if late else (row.reason, row.detail)
            yield Selected(row.candidate, reason, detail, bool(is_valid[number]))

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
    """The reason against each row that depends on the others: 13 bytes per row."""

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


class Spool:
    """Judged candidates on disk, in order and by number, so that a dataset of any size fits; 8 bytes of memory per row.

    The file has no name, so it is gone when the process ends, however that happens.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as the spool is
        self._starts = array("Q")
        self._end = 0

    def add(self, row: Rejection) -> int:
        """Keep a candidate with the reason against it, '' if there is none yet, and return its number."""
        line = row.model_dump_json().encode() + b"\n"
        self._file.write(line)
        self._starts.append(self._end)
        self._end += len(line)
        return len(self._starts) - 1

    def candidate(self, number: int) -> Candidate:
        """Return one of the candidates."""
        self._file.seek(self._starts[number])
        return Rejection.model_validate_json(self._file.readline()).candidate

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Rejection]:
        position = 0
        while position < self._end:
            # A reader of single candidates may have moved the file meanwhile.
            self._file.seek(position)
            line = self._file.readline()
            position += len(line)
            yield Rejection.model_validate_json(line)

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()


class Contamination:
    """Finds dialogues that share a problem with a held-out item, by runs of words and by numbers and answer."""

    def __init__(self, items: list[Item], overlap: int) -> None:
        self.overlap = overlap
        self.runs = {run: _Place(item.id, found, at) for item in items for run, found, at in _runs(item, overlap)}
        # A longer prompt that occurs in a dialogue shares a run with it.
        short = {item.id: found for item in items if (found := _words(item.prompt)) and not any(runs(found, overlap))}
        self.whole = {" ".join(found): name for name, found in short.items()}
        self.lengths = sorted({len(found) for found in short.values()})
        numbers = ((signature(item.prompt, item.gold), item.id) for item in items)
        self.numbers = {found: name for found, name in numbers if found}

    def hit(self, candidate: Candidate) -> str:
        """Return the item with which a dialogue shares a run of words, or numbers and answer, and these; '' if none."""
        asked = [message.content for message in candidate.messages if message.role == "user"]
        text = " ".join(asked)
        return self._shared_run(_words(text)) or self._shared_numbers(
            dict.fromkeys([text, *asked]), candidate.gold or ""
        )

    def _shared_run(self, found: list[str]) -> str:
        for start, run in runs(found, self.overlap):
            if place := self.runs.get(run):
                more = zip(found[start:], place.words[place.at :], strict=False)
                shared = [mine for mine, _ in takewhile(lambda pair: pair[0] == pair[1], more)]
                return f"{place.item}: '{' '.join(shared)}'"
        parts = (" ".join(found[at : at + size]) for size in self.lengths for at in range(len(found) - size + 1))
        whole = next((part for part in parts if part in self.whole), "")
        return f"{self.whole[whole]}: '{whole}'" if whole else ""

    def _shared_numbers(self, texts: Iterable[str], gold: str) -> str:
        for numbers in (signature(text, gold) for text in texts):
            if numbers in self.numbers:
                return f"{self.numbers[numbers]}: same numbers and answer ({', '.join(map(str, numbers))})"
        return ""


class _Place(NamedTuple):
    item: str
    words: list[str]
    at: int


def _runs(item: Item, size: int) -> Iterator[tuple[str, list[str], int]]:
    found = _words(item.prompt)
    for at, run in runs(found, size):
        yield run, found, at


def _words(text: str) -> list[str]:
    # Whoever types a problem again may leave the accents out.
    return without_accents(words(text))


def signature(text: str, gold: str) -> tuple[Fraction | str, ...]:
    """Return the numbers and the gold answer of a problem; nothing where they are too few to mean anything."""
    numbers = sorted(value for value, _ in quantities(text)) if gold else []
    return (*numbers, gold.replace(" ", "")) if len(numbers) > 1 else ()


def select(
    candidates: Iterable[Candidate],
    held_out: list[Item],
    config: DatasetConfig,
    folder: Path,
    masked: Callable[[Candidate], Candidate] = lambda candidate: candidate,
) -> Selection:
    """Judge candidates, which are spooled to `folder`, and return them all; DataError if two have the same id.

    What people made of one in a review is `masked`, as the candidates are already.
    """
    if config.semantic_duplicate:
        from tuning_room.models import embedding_folder

        # A missing model is reported before all rows are judged.
        embedding_folder(config.embedding_model)
    contamination = Contamination(held_out, config.overlap)
    selection, review = Selection(folder, config), Review(config.review)
    for given in candidates:
        edited = review.edited(given)
        candidate = edited if edited is given else masked(edited)
        selection.add(candidate, *judge(candidate, config, selection.coverage, contamination, review))
    selection.compare()
    return selection


def judge(
    candidate: Candidate, config: DatasetConfig, coverage: Coverage, contamination: Contamination, review: Review
) -> tuple[str, str]:
    """Return the reason against a candidate by itself, and what it is about; two empty strings if there is none."""
    if candidate.error:
        return "error", candidate.error
    if why := review.dropped(candidate):
        return "reviewed", why
    for exchange in exchanges(candidate, config.language):
        reason, detail = rejected_by(config.checks, exchange)
        if not reason:
            reason, detail = coverage.broken(candidate, exchange)
        if reason:
            return reason, f"{detail}: {exchange.reply}"
    if item := contamination.hit(candidate):
        return "held_out", item
    return "", ""


def exchanges(candidate: Candidate, language: str = "") -> Iterator[Exchange]:
    """Yield each reply of a dialogue with all of the user's messages before it; `language` is what replies are in."""
    said: list[str] = []
    asked = ""
    for message in candidate.messages:
        if message.role == "user":
            said.append(message.content)
        elif message.role == "assistant":
            latest = said[-1] if said else ""
            before, scores = "\n".join(said), candidate.scores or None
            yield Exchange(message.content, before, candidate.gold, scores, latest, asked, language)
            asked = message.content
