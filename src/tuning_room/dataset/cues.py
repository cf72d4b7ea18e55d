"""The words by which people say what a number is, in the languages of cues.yaml, read from the text around it."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import regex
import yaml

BEFORE, AFTER = 48, 32  # characters around a number that are looked at
# They stand inside words where a script has no spaces; elsewhere a cue is a word of its own.
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}]")
_PREFIXES = r"(?:ال|[وبلהובלמש]){0,2}"  # articles and prepositions that Arabic and Hebrew write together with the word
_LETTER = r"[\p{L}\p{M}]"
# Neither the sentence before nor another line says what a number is.
_ENDS = regex.compile("[\n!?\u3002\uff01\uff1f\u061f\u0964]|" r"(?<=\p{L}{4})\.\s+(?=\p{L})")


class Cue(NamedTuple):
    """A word beside a number: the category it belongs to, and whether only words without meaning stand between."""

    category: str
    is_adjacent: bool


@cache
def languages() -> frozenset[str]:
    """Return the languages whose words for phone numbers are known (ISO 639-1)."""
    return frozenset(_read()["phone"])


@cache
def _read() -> dict[str, dict[str, list[str]]]:
    text = Path(__file__).with_name("cues.yaml").read_text(encoding="utf-8")
    # Without types: `no` is a language and a word here.
    categories = yaml.load(text, yaml.BaseLoader)
    return {name: {code: words.split(", ") for code, words in found.items()} for name, found in categories.items()}


def any_of(patterns: Iterable[str]) -> str:
    """Return a pattern of any of several words, each whole where its script has spaces; `*` stands for any ending."""
    forms = [word.replace("*", f"{_LETTER}*") for word in patterns]
    unspaced = [form for form in forms if _UNSPACED.search(form)]
    spaced = [form for form in forms if form not in unspaced]
    whole = rf"(?<![\p{{L}}\p{{M}}\p{{N}}_]){_PREFIXES}(?:{'|'.join(spaced)})(?!{_LETTER})"
    return "|".join([*([whole] if spaced else []), *unspaced])


def words(category: str) -> list[str]:
    """Return a category's words in all languages."""
    return [word for found in _read()[category].values() for word in found]


@cache
def _pattern(category: str) -> "regex.Pattern[str]":
    return regex.compile(any_of(words(category)), regex.IGNORECASE)


@cache
def _filler() -> "regex.Pattern[str]":
    return regex.compile(rf"(?:[^\p{{L}}\p{{N}}\n+]|{any_of(words('filler'))}){{0,40}}", regex.IGNORECASE)


def before(text: str, start: int) -> Cue | None:
    """Return the nearest cue before a place: `phone` or `other`."""
    window = _ENDS.split(text[max(0, start - BEFORE) : start])[-1]
    found = [
        (match.end(), category) for category in ("other", "phone") for match in _pattern(category).finditer(window)
    ]
    if not found:
        return None
    end, category = max(found)
    # Then the word was about that number, unless it was a phone number as well.
    if category == "phone" and 0 < sum(char.isdigit() for char in window[end:]) < 7:
        return None
    return Cue(category, bool(_filler().fullmatch(window, end)))


def after(text: str, end: int) -> Cue | None:
    """Return the first cue behind a place: `phone_after`, `other` or `unit`."""
    window = _ENDS.split(text[end : end + AFTER])[0]
    found = [
        (match.start(), category)
        for category in ("phone_after", "other", "unit")
        if (match := _pattern(category).search(window))
    ]
    if not found:
        return None
    start, category = min(found)
    return Cue(category, not window[:start].strip())
