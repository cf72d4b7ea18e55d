"""Numbers of accounts and persons: banks, payment cards, those that a state gives, and those of students.

python-stdnum says whether the check digits are right. A number of digits alone has right ones by chance once in ten, or
once in eleven, so what is not written as only such a number is counts after a word that says what it is.
"""

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import regex
import yaml

from tuning_room.dataset.cues import BEFORE, Cue, after, any_of, before, words
from tuning_room.dataset.phones import as_ascii

_IBAN = regex.compile(r"(?<![a-z0-9_])[a-z]{2}[ -]?\d{2}(?:[ -]?[a-z0-9]){11,30}", regex.IGNORECASE)
_CARD = regex.compile(r"(?<![A-Za-z0-9_.+-])\d{4}(?:[ -]?\d){8,15}(?![ -]?\d|[A-Za-z_]|\.\d)")
# First digits by ISO/IEC 7812: Visa, Mastercard, American Express, Diners, JCB, Discover, UnionPay, Maestro.
_ISSUER = regex.compile(
    r"4|5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720|3[47]|3(?:0[0-5]|[68])|35|6(?:011|4[4-9]|5)|62|50|5[6-9]|6[37]"
)
_CARD_CUE = (
    r"(?:credit|debit|bank)?\s?cards?|visa|mastercard|amex|kreditkart\w*|karte\w*|carte\w*|tarjeta\w*|cartão|carta"
    r"|kart\w*|карт\w*|カード(?:番号)?|卡号?|카드"
)
_STUDENT = regex.compile(r"(?<![A-Za-z0-9_.+-])[a-z]{0,3}-?\d{5,10}(?![A-Za-z0-9_]|[.,]\d)", regex.IGNORECASE)
_GAP = r"[^\p{L}\p{N}\n]{0,4}(?:[\p{L}.]{1,10}[^\p{L}\p{N}\n]{0,4}){0,3}"


class _Number(NamedTuple):
    """A number of a state: how it is written, who knows its check digits, and which words stand before it."""

    form: "regex.Pattern[str]"
    module: Any
    cue: "regex.Pattern[str] | None"


def ibans(text: str) -> Iterator[tuple[int, int]]:
    """Yield where account numbers stand whose check digits, country and length are right."""
    from stdnum import iban

    plain = as_ascii(text)
    for match in _IBAN.finditer(plain):
        # What stands behind may be letters of the next word. Banks are not looked up: new ones are founded.
        for end in range(match.end(), match.start() + 14, -1):
            if not plain[end : end + 1].isalnum() and iban.is_valid(plain[match.start() : end], check_country=False):
                yield match.start(), end
                break


def cards(text: str) -> Iterator[tuple[int, int]]:
    """Yield where numbers of payment cards stand."""
    from stdnum import luhn

    plain = as_ascii(text)
    for match in _CARD.finditer(plain):
        digits = regex.sub(r"\D", "", match[0])
        if _ISSUER.match(digits) and luhn.is_valid(digits) and _is_meant(plain, match, _card_cue()):
            yield match.span()


@cache
def _card_cue() -> "regex.Pattern[str]":
    return _leading(_CARD_CUE)


def _leading(cue: str) -> "regex.Pattern[str]":
    return regex.compile(rf"(?:{cue}){_GAP}$", regex.IGNORECASE)


def student_numbers(text: str) -> Iterator[tuple[int, int]]:
    """Yield where numbers stand that the words before them call a student's, in other languages than English."""
    plain = as_ascii(text)
    for match in _STUDENT.finditer(plain):
        if _student_cue().search(plain[max(0, match.start() - BEFORE) : match.start()]):
            yield match.span()


@cache
def _student_cue() -> "regex.Pattern[str]":
    return _leading(any_of(words("student")))


def _is_meant(text: str, match: "regex.Match[str]", cue: "regex.Pattern[str]") -> bool:
    """Tell whether nothing says that a number is part of a problem or an order, or a cue says what it is."""
    if cue.search(text[max(0, match.start() - BEFORE) : match.start()]):
        return True
    return not _is_sum(text, match) and not any(_is_other(found) for found in _cues(text, match))


def _cues(text: str, match: "regex.Match[str]") -> tuple[Cue | None, Cue | None]:
    return before(text, match.start()), after(text, match.end())


def _is_other(cue: Cue | None) -> bool:
    return bool(cue and (cue.category == "other" or (cue.category == "unit" and cue.is_adjacent)))


def _is_sum(text: str, match: "regex.Match[str]") -> bool:
    signs = "+*/=^\u00d7\u00f7"
    return text[: match.start()].rstrip()[-1:] in {*signs} or text[match.end() :].lstrip()[:1] in {*signs}


def national_ids(text: str, region: str) -> Iterator[tuple[int, int]]:
    """Yield where numbers stand that a region's state gives to a person."""
    plain = as_ascii(text)
    for number in _numbers(region):
        for match in number.form.finditer(plain):
            if number.module and not number.module.is_valid(match[0]):
                continue
            earlier = plain[max(0, match.start() - BEFORE) : match.start()]
            if number.cue.search(earlier) if number.cue else _stands_alone(plain, match):
                yield match.span()


def _stands_alone(text: str, match: "regex.Match[str]") -> bool:
    return not _is_sum(text, match) and not any(_is_other(found) for found in _cues(text, match))


def regions() -> frozenset[str]:
    """Return the countries whose numbers for persons are known (ISO 3166-1)."""
    return frozenset(_read())


@cache
def _read() -> dict[str, list[dict[str, str]]]:
    text = Path(__file__).with_name("national_ids.yaml").read_text(encoding="utf-8")
    # Without types: NO is a country here.
    found: dict[str, list[dict[str, str]]] = yaml.load(text, yaml.BaseLoader)
    return found


@cache
def _numbers(region: str) -> list[_Number]:
    return [_number(entry) for entry in _read().get(region, [])]


def _number(entry: dict[str, str]) -> _Number:
    form = regex.compile(rf"(?<![A-Za-z0-9_.+-])(?:{entry['form']})(?![A-Za-z0-9_]|[-.,/]\d)", regex.IGNORECASE)
    module = import_module(f"stdnum.{entry['module']}") if entry["module"] else None
    cues = entry.get("cues", "")
    cue = _leading(any_of(cues.split(", "))) if cues else None
    return _Number(form, module, cue)
