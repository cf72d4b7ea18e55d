"""Which dialogues share a problem with a held-out item."""

from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Any, NamedTuple

from tuning_room.checks.numbers import quantities
from tuning_room.dataset.words import grams, words
from tuning_room.records import Candidate, Item


class Contamination:
    """Finds dialogues that share a problem with a held-out item, by runs of words and by numbers and answer."""

    def __init__(self, items: list[Item], overlap: int) -> None:
        self.overlap = overlap
        self.runs = {run: _Place(item.id, found, at) for item in items for run, found, at in _runs(item, overlap)}
        # A longer prompt that stands in a dialogue shares a run with it.
        short = {item.id: found for item in items if 0 < len(found := words(item.prompt)) < overlap}
        self.whole = {" ".join(found): name for name, found in short.items()}
        self.lengths = sorted({len(found) for found in short.values()})
        numbers = ((signature(item.prompt, item.gold), item.id) for item in items)
        self.numbers = {found: name for found, name in numbers if found}

    def hit(self, candidate: Candidate) -> str:
        """Return which item a dialogue shares a run of words, or numbers and answer, with, and these; '' if none."""
        said = [message.content for message in candidate.messages if message.role == "user"]
        text = " ".join(said)
        return self._shared_run(words(text)) or self._shared_numbers(dict.fromkeys([text, *said]), candidate.gold or "")

    def _shared_run(self, found: list[str]) -> str:
        for start, run in enumerate(grams(found, self.overlap)):
            if place := self.runs.get(run):
                more = zip(found[start:], place.words[place.at :], strict=False)
                shared = [mine for mine, _ in takewhile(lambda pair: pair[0] == pair[1], more)]
                return f"{place.item}: '{' '.join(shared)}'"
        whole = next((run for size in self.lengths for run in grams(found, size) if run in self.whole), "")
        return f"{self.whole[whole]}: '{whole}'" if whole else ""

    def _shared_numbers(self, texts: Iterable[str], gold: str) -> str:
        # Message by message too: the numbers of a later one would hide those of the problem.
        for numbers in (signature(text, gold) for text in texts):
            if numbers in self.numbers:
                return f"{self.numbers[numbers]}: same numbers and answer ({', '.join(map(str, numbers))})"
        return ""


class _Place(NamedTuple):
    item: str
    words: list[str]
    at: int


def _runs(item: Item, size: int) -> Iterator[tuple[str, list[str], int]]:
    found = words(item.prompt)
    for at, run in enumerate(grams(found, size)):
        yield run, found, at


def signature(text: str, gold: str) -> tuple[Any, ...]:
    """Return the numbers and the gold answer of a problem; nothing where these are too few to mean anything."""
    numbers = sorted(value for value, _ in quantities(text)) if gold else []
    return (*numbers, gold.replace(" ", "")) if len(numbers) > 1 else ()
