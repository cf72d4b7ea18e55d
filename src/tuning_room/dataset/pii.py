"""Personal data in dialogues: e-mail addresses, phone numbers and student ids, masked before anything else happens.

What looks like a phone number in a problem ("415 555 2671 - 12") is left alone: a number only counts as one where its
form or the words before it say so.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from tuning_room.bounded import bounded
from tuning_room.dataset.config import STUDENT_IDS, Pii
from tuning_room.errors import LimitError
from tuning_room.files import atomic_writer
from tuning_room.records import Candidate

if TYPE_CHECKING:
    from phonenumbers import PhoneNumberMatch

MASKS = {"email": "[email]", "phone": "[phone]", "student_id": "[student id]"}
NEAR = 40  # characters before a number that are looked at for what it is

_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[a-z]{2,24}\b", re.IGNORECASE)
# The library looks at every digit of a text; a text without such a run has no phone number.
_DIGITS = re.compile(r"(?:\d[\s().\-/\u2010-\u2015]{0,4}){7}")
_CUE = re.compile(
    r"\b(?:phone|telephone|tel|mobile|cell|fax|whatsapp|hotline|my number"
    r"|(?:call|text|ring|reach|dial)(?: \w+)?(?: at| on)?)"
    r"\W{0,3}(?:(?:no|number|nr)\b\W{0,3})?(?:(?:is|at|on|under)\b\W{0,3})?$",
    re.IGNORECASE,
)
_ARITHMETIC_BEFORE = re.compile(
    r"(?:[-+*/^=<>%\u00d7\u00f7\u00b7\u2212\d)]|(?<![^\W\d_])[^\W\d_])\s*\(?$"
    r"|\b(?:what is|what's|compute|calculate|evaluate|simplify|solve|subtract|add|plus|minus|times|mod"
    r"|sqrt|cbrt|abs|exp|log|ln|sin|cos|tan|min|max|gcd|lcm)\s*\(?$",
    re.IGNORECASE,
)
_ARITHMETIC_AFTER = re.compile(
    r"\s*\)?\s*(?:[+*/^=<>%\u00d7\u00f7\u00b7]|[-\u2212]\s*(?:[\d(]|[a-z]\b)|x\s*[\d(]|\d|(?:plus|minus|times|divided|equals|mod)\b)",
    re.IGNORECASE,
)
# Of a number within: spaces around a sign, a division, a product with a bracket.
_SIGN_WITHIN = re.compile(r"\s[-\u2010-\u2015\u2212]|[-\u2010-\u2015\u2212]\s|^[^+].*/|\)\s*x|x\s*\(")
_PART_BEFORE, _PART_AFTER = re.compile(r"\d\.$"), re.compile(r"\.\d")  # a decimal
_GROUPED = re.compile(r"\(\d+\)|\d[-.\u2010-\u2015]\d+[-.\u2010-\u2015]\d")


class Span(NamedTuple):
    """Where personal data stands in a text, and of which kind it is."""

    start: int
    end: int
    kind: str


class Masker:
    """Masks the kinds of personal data that a recipe names."""

    def __init__(self, config: Pii) -> None:
        self.config = config

    def text(self, text: str) -> tuple[str, Counter[str]]:
        """Return a text with its personal data masked, and how often each kind was found."""
        found: Counter[str] = Counter()
        for kind in self.config.kinds:
            # From the end: what stands before keeps its place.
            for span in sorted(self._spans(kind, text), reverse=True):
                text = text[: span.start] + MASKS[kind] + text[span.end :]
                found[kind] += 1
        return text, found

    def _spans(self, kind: str, text: str) -> set[Span]:
        if kind == "email":
            return {Span(*match.span(), kind) for match in _EMAIL.finditer(text)} if "@" in text else set()
        if kind == "phone":
            return set(_phones(text, self.config.region)) if _DIGITS.search(text) else set()
        return _apart(Span(begin, end, kind) for begin, end in self._ids(text))

    def _ids(self, text: str) -> list[tuple[int, int]]:
        own = self.config.student_ids
        try:
            return _id_places(STUDENT_IDS, text) if own is None else bounded(_id_places, own, text)
        except LimitError as error:
            raise LimitError(f"dataset.pii.student_ids: {error.args[0]}", hint=error.hint) from None

    def candidate(self, candidate: Candidate) -> tuple[Candidate, Counter[str]]:
        """Return a candidate with its texts masked, and how often each kind was found."""
        found: Counter[str] = Counter()

        def masked(text: str) -> str:
            text, here = self.text(text)
            found.update(here)
            return text

        messages = [message.model_copy(update={"content": masked(message.content)}) for message in candidate.messages]
        texts = {name: masked(text) for name in ("gold", "group", "error") if (text := getattr(candidate, name))}
        return (candidate.model_copy(update={"messages": messages, **texts}) if found else candidate), found


def _id_places(patterns: Sequence[str], text: str) -> list[tuple[int, int]]:
    return [_id_in(match) for pattern in patterns for match in re.finditer(pattern, text)]


def _id_in(match: re.Match[str]) -> tuple[int, int]:
    return match.span("id" if "id" in match.re.groupindex else 0)


def _apart(spans: Iterator[Span]) -> set[Span]:
    """Return spans that do not overlap; of those that do, the first one."""
    kept: list[Span] = []
    for span in sorted(spans):
        if span.end > span.start and (not kept or span.start >= kept[-1].end):
            kept.append(span)
    return set(kept)


def _phones(text: str, region: str) -> Iterator[Span]:
    import phonenumbers

    matcher = phonenumbers.PhoneNumberMatcher(text, region, leniency=phonenumbers.Leniency.POSSIBLE)
    for match in matcher:
        if _is_phone(text, match):
            yield Span(match.start, match.end, "phone")


def _is_phone(text: str, match: "PhoneNumberMatch") -> bool:
    """Tell whether a number that could be dialled is meant as a phone number."""
    before, after, raw = text[max(0, match.start - NEAR) : match.start], text[match.end :], match.raw_string
    if _CUE.search(before):
        return True
    if _SIGN_WITHIN.search(raw) or _ARITHMETIC_BEFORE.search(before) or _ARITHMETIC_AFTER.match(after):
        return False
    if _PART_BEFORE.search(before) or _PART_AFTER.match(after):
        return False
    return raw.startswith("+") or bool(_GROUPED.search(raw))


class Masks:
    """Masks one candidate after another and reports how often each kind was found in which row, never the value."""

    def __init__(self, config: Pii, out: IO[str]) -> None:
        self._masker, self._out = Masker(config), out
        self.found: dict[str, int] = dict.fromkeys(config.kinds, 0)

    def mask(self, candidate: Candidate) -> Candidate:
        """Return a candidate with its texts masked."""
        masked, found = self._masker.candidate(candidate)
        if found:
            comma = "," if any(self.found.values()) else ""
            self._out.write(f"{comma}\n    {json.dumps({'id': candidate.id, **found})}")
        for kind, count in found.items():
            self.found[kind] += count
        return masked


@contextmanager
def masking(config: Pii, report: Path) -> Iterator[Masks]:
    """Yield a masker of candidates; the report is written as they come, and is complete when the block ends."""
    with atomic_writer(report) as out:
        out.write('{\n  "rows": [')
        masks = Masks(config, out)
        yield masks
        out.write(f'\n  ],\n  "counts": {json.dumps(masks.found)}\n}}\n')
