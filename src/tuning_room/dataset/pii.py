"""Personal data in everything that a row says of itself, masked before anything else happens.

What looks like a phone number in a problem ("415 555 2671 - 12") is left alone: a number only counts as one where its
form or the words around it say so.
"""

import hashlib
import json
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from tuning_room.bounded import bounded
from tuning_room.dataset.accounts import cards, ibans, national_ids, student_numbers
from tuning_room.dataset.addresses import emails, ips
from tuning_room.dataset.config import PII_KINDS, STUDENT_IDS, Pii
from tuning_room.dataset.phones import phones
from tuning_room.errors import LimitError
from tuning_room.files import atomic_writer
from tuning_room.records import Candidate

MASKS = {
    "email": "[email]",
    "phone": "[phone]",
    "student_id": "[student id]",
    "iban": "[iban]",
    "card": "[card]",
    "ip": "[ip]",
    "national_id": "[national id]",
}
LABELS = ("gold", "error", "topic", "situation")
NAMES = ("id", "source", "group")  # they tell rows apart, so what is masked in them stays unique

OF_DIGITS = ("iban", "card", "national_id", "phone")

_DIGITS = re.compile(r"(?:\d\D{0,4}){4}")  # no number that is looked for has fewer


class Span(NamedTuple):
    """Where personal data stands in a text, and of which kind it is."""

    start: int
    end: int
    kind: str


class Masker:
    """Masks the kinds of personal data that a recipe names."""

    def __init__(self, config: Pii) -> None:
        self.config = config
        self._finders: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
            "email": emails,
            "iban": ibans,
            "card": cards,
            "ip": ips,
            "national_id": lambda text: national_ids(text, config.region),
            "phone": lambda text: phones(text, config.region),
            "student_id": self._ids,
        }
        # The digits of an account are no phone number: what is known more surely comes first.
        self._kinds = [kind for kind in PII_KINDS if kind in config.kinds]

    def text(self, text: str) -> tuple[str, Counter[str]]:
        """Return a text with its personal data masked, and how often each kind was found."""
        found = self.spans(text)
        return _with_masks(text, found), Counter(span.kind for span in found)

    def name(self, name: str) -> tuple[str, Counter[str]]:
        """Return an id, or a file's name, with its personal data masked, and how often each kind was found."""
        masked, found = self.text(name)
        # Where no spaces are wanted, this stands for one; in an address it is a letter.
        more = self.spans(masked.replace("_", " "))
        return _with_masks(masked, more), found + Counter(span.kind for span in more)

    def spans(self, text: str) -> list[Span]:
        """Return where personal data stands, in order and apart from each other."""
        kept: list[Span] = []
        has_digits = bool(_DIGITS.search(text))
        for kind in self._kinds:
            if kind in OF_DIGITS and not has_digits:
                continue
            for start, end in sorted(self._finders[kind](text)):
                place = bisect_left(kept, (start, end))
                is_free = (not place or kept[place - 1].end <= start) and (
                    place == len(kept) or end <= kept[place].start
                )
                if end > start and is_free:
                    kept.insert(place, Span(start, end, kind))
        return kept

    def _ids(self, text: str) -> Iterator[tuple[int, int]]:
        own = self.config.student_ids
        if own is None and _DIGITS.search(text):
            yield from student_numbers(text)
        try:
            yield from _id_places(STUDENT_IDS, text) if own is None else bounded(_id_places, own, text)
        except LimitError as error:
            raise LimitError(f"dataset.pii.student_ids: {error.args[0]}", hint=error.hint) from None


def _with_masks(text: str, found: Sequence[Span]) -> str:
    # From the end: what stands before keeps its place.
    for span in reversed(found):
        text = text[: span.start] + MASKS[span.kind] + text[span.end :]
    return text


def _id_places(patterns: Sequence[str], text: str) -> list[tuple[int, int]]:
    return [_id_in(match) for pattern in patterns for match in re.finditer(pattern, text)]


def _id_in(match: re.Match[str]) -> tuple[int, int]:
    return match.span("id" if "id" in match.re.groupindex else 0)


class Masks:
    """Masks one candidate after another and reports how often each kind was found in which row, never the value."""

    def __init__(self, config: Pii, out: IO[str]) -> None:
        self._masker, self._out = Masker(config), out
        self._names: dict[bytes, str] = {}
        self._taken: set[str] = set()
        self.found: dict[str, int] = dict.fromkeys(config.kinds, 0)

    def mask(self, candidate: Candidate) -> Candidate:
        """Return a candidate with its texts, names and labels masked."""
        masked, found = self._masked(candidate)
        if found:
            comma = "," if any(self.found.values()) else ""
            self._out.write(f"{comma}\n    {json.dumps({'id': masked.id, **found}, ensure_ascii=False)}")
        for kind, count in found.items():
            self.found[kind] += count
        return masked

    def text(self, text: str) -> str:
        """Return a text with its personal data masked, which is counted nowhere."""
        return self._masker.text(text)[0]

    def again(self, candidate: Candidate) -> Candidate:
        """Return a masked candidate whose messages people have edited since, masked."""
        return self._masked(candidate)[0]

    def _masked(self, candidate: Candidate) -> tuple[Candidate, Counter[str]]:
        found: Counter[str] = Counter()

        def masked(text: str, mask: Callable[[str], tuple[str, Counter[str]]] = self._masker.text) -> str:
            text, here = mask(text)
            found.update(here)
            return text

        messages = [message.model_copy(update={"content": masked(message.content)}) for message in candidate.messages]
        labels = {name: masked(text) for name in LABELS if (text := getattr(candidate, name))}
        traits = {masked(name): masked(text) for name, text in candidate.traits.items()}
        words = candidate.model_copy(update={"messages": messages, "traits": traits, **labels})
        names = {
            name: self._name(getattr(candidate, name), partial(masked, mask=self._masker.name), words) for name in NAMES
        }
        return (words.model_copy(update=names) if found else candidate), found

    def _name(self, name: str, masked: Callable[[str], str], words: Candidate) -> str:
        """Return a name without personal data: another one for each name, and the same one wherever it stands.

        What tells them apart is taken from the masked dialogue: a digest of the name itself could be searched for.
        """
        if (short := masked(name)) == name:
            return name
        key = hashlib.sha256(name.encode()).digest()
        if key not in self._names:
            said = [[message.role, message.content] for message in words.messages]
            unique = f"{short}-{hashlib.sha256(json.dumps([short, said]).encode()).hexdigest()[:8]}"
            while unique in self._taken:
                unique += "+"
            self._names[key] = unique
            self._taken.add(unique)
        return self._names[key]


@contextmanager
def masking(config: Pii, report: Path) -> Iterator[Masks]:
    """Yield a masker of candidates; the report is written as they come, and is complete when the block ends."""
    with atomic_writer(report) as out:
        out.write('{\n  "rows": [')
        masks = Masks(config, out)
        yield masks
        out.write(f'\n  ],\n  "counts": {json.dumps(masks.found)}\n}}\n')
