"""Which candidates are accepted, and how the accepted are split."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from tuning_room.checks import Exchange, rejected_by
from tuning_room.checks.numbers import quantities
from tuning_room.dataset.config import DatasetConfig
from tuning_room.errors import DataError
from tuning_room.records import Candidate, Dialogue, Item, Message, Rejection
from tuning_room.rendering import with_system

PERMUTATIONS = 128  # of MinHash: an error of about 0.09 in the similarity (Broder 1997)
FINEST = 0.9  # the highest similarity by which rows are put into buckets: above it there would be one bucket


def select(
    candidates: Iterable[Candidate], held_out: list[Item], config: DatasetConfig
) -> tuple[list[Candidate], list[Rejection]]:
    """Return the accepted candidates, and the others with the reason for each; DataError if two have the same id."""
    contamination = Contamination(held_out, config.overlap)
    duplicates = Duplicates(config.near_duplicate)
    accepted, rejected, seen = [], [], set()
    for candidate in candidates:
        if candidate.id in seen:
            raise DataError(f"two candidates have the id '{candidate.id}'", hint="give every seed an id of its own")
        seen.add(candidate.id)
        reason, detail = _rejection(candidate, config, contamination, duplicates)
        if reason:
            rejected.append(Rejection(reason=reason, detail=detail, candidate=candidate))
        else:
            accepted.append(candidate)
    return accepted, rejected


def _rejection(
    candidate: Candidate, config: DatasetConfig, contamination: "Contamination", duplicates: "Duplicates"
) -> tuple[str, str]:
    if candidate.error:
        return "error", candidate.error
    for exchange in exchanges(candidate):
        reason, detail = rejected_by(config.checks, exchange)
        if reason:
            return reason, f"{detail}: {exchange.reply}"
    if item := contamination.hit(candidate):
        return "held_out", item
    if twin := duplicates.twin(candidate):
        return "duplicate", twin
    return "", ""


def exchanges(candidate: Candidate) -> Iterator[Exchange]:
    """Yield each reply of a dialogue with all that the user has said before it."""
    said: list[str] = []
    for message in candidate.messages:
        if message.role == "user":
            said.append(message.content)
        elif message.role == "assistant":
            yield Exchange(message.content, "\n".join(said), candidate.gold)


class Contamination:
    """Finds dialogues that share a problem with a held-out item."""

    def __init__(self, items: list[Item], overlap: int) -> None:
        self.overlap = overlap
        self.grams = {gram: item.id for item in items for gram in _grams(_words(item.prompt), overlap)}
        self.whole = {" ".join(_words(item.prompt)): item.id for item in items}
        self.numbers = {signature: item.id for item in items if (signature := _signature(item.prompt, item.gold))}

    def hit(self, candidate: Candidate) -> str:
        """Return which item a dialogue shares a run of words, or numbers and answer, with; '' if none."""
        said = [message.content for message in candidate.messages if message.role == "user"]
        text = " ".join(said)
        words = _words(text)
        if gram := next((g for g in _grams(words, self.overlap) if g in self.grams), ""):
            return f"{self.grams[gram]}: '{gram}'"
        if whole := next((w for w in self.whole if f" {w} " in f" {' '.join(words)} "), ""):
            return f"{self.whole[whole]}: '{whole}'"
        # Message by message too: the numbers of a later one would hide those of the problem.
        signatures = (_signature(part, candidate.gold or "") for part in [text, *said])
        item = next((self.numbers[numbers] for numbers in signatures if numbers in self.numbers), "")
        return f"{item}: same numbers and answer" if item else ""


class Duplicates:
    """Finds dialogues that are the same as, or nearly the same as, an earlier one, by MinHash."""

    def __init__(self, threshold: float) -> None:
        from datasketch import MinHashLSH

        self.threshold = threshold
        self.exact: dict[str, str] = {}
        self.sketches: dict[str, Any] = {}
        self.near: Any = MinHashLSH(threshold=min(threshold, FINEST), num_perm=PERMUTATIONS)

    def twin(self, candidate: Candidate) -> str:
        """Return the id of the earlier twin; '' if there is none, and the dialogue is remembered."""
        words = _words(" ".join(message.content for message in candidate.messages))
        if earlier := self.exact.get(" ".join(words)):
            return f"the same as {earlier}"
        sketch = _sketch(words)
        # What shares a bucket is only likely to be similar.
        close = (name for name in self.near.query(sketch) if self.sketches[name].jaccard(sketch) >= self.threshold)
        if similar := min(close, default=""):
            return f"nearly the same as {similar}"
        self.exact[" ".join(words)] = candidate.id
        self.sketches[candidate.id] = sketch
        self.near.insert(candidate.id, sketch)
        return ""


def _sketch(words: list[str]) -> Any:
    from datasketch import MinHash

    sketch = MinHash(num_perm=PERMUTATIONS)
    sketch.update_batch([gram.encode() for gram in _grams(words, 3)] or [" ".join(words).encode()])
    return sketch


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+|\d+(?:[.,]\d+)*|[-+*/=^%]", text.lower())


def _grams(words: list[str], size: int) -> list[str]:
    return [" ".join(words[i : i + size]) for i in range(len(words) - size + 1)]


def _signature(text: str, gold: str) -> tuple[Any, ...]:
    """Return the numbers and the gold answer of a problem; nothing where these are too few to mean anything."""
    numbers = sorted(value for value, _ in quantities(text))
    return (*numbers, gold.replace(" ", "")) if gold and len(numbers) > 1 else ()


def split(accepted: list[Candidate], config: DatasetConfig) -> tuple[list[Dialogue], list[Dialogue]]:
    """Return train and valid rows; all dialogues about one problem stand on one side."""
    train: list[Dialogue] = []
    valid: list[Dialogue] = []
    for candidate in accepted:
        side = valid if _share(candidate.group, config.seed) < config.valid_fraction else train
        side.append(_dialogue(candidate, config.short_prompt))
    return train, valid


def _share(group: str, seed: int) -> float:
    """Return a number in [0, 1) that depends on the group alone."""
    return int(hashlib.sha256(f"{seed}/{group}".encode()).hexdigest()[:12], 16) / 16**12


def _dialogue(candidate: Candidate, short_prompt: str) -> Dialogue:
    messages: list[Message] = with_system(short_prompt, candidate.messages)
    kept = candidate.model_dump(include={"id", "source", "group", "topic", "situation"})
    return Dialogue(messages=messages, **kept)
