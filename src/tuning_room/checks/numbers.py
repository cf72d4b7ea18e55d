"""Numbers and results in text, in whatever form they are written (number_grammar.py): found, and compared."""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from tuning_room.checks.number_grammar import CARDINAL, LOOKED_BACK, NUMBER, WORDS, Numeral, as_read, read, read_at

__all__ = [
    "CARDINAL",
    "NUMBER",
    "WORDS",
    "bare",
    "equal",
    "mentions",
    "numbers_in",
    "quantities",
    "single",
    "stands_in",
]


class Quantity(tuple[Fraction, bool]):
    """A number as (value, whether it is a percentage): 75 % is not 75."""

    __slots__ = ()


def quantities(text: str, language: str = "") -> Iterator[Quantity]:
    """Yield the numbers of a text in any form: 1,200 1.2e3 3/4 .75 1½ 75 % 'three quarters' 'two hundred' 'four'."""
    yield from (_quantity(one) for one in read(text, language))


class NumberIn(NamedTuple):
    """A number where it stands in a text; the end is exclusive."""

    text: str
    value: Fraction
    begin: int
    end: int


def numbers_in(text: str) -> Iterator[NumberIn]:
    """Yield the numbers of a text with their places; no words that count things ("two more"), no factors ("5x")."""
    for one in read(text):
        if not _counts_things(one.match) and not _is_factor(one.match):
            begin, end = one.match.span()
            yield NumberIn(text[begin:end].strip(), one.value, begin, end)


def _quantity(one: Numeral) -> Quantity:
    return Quantity((one.value, bool(one.match["percent"])))


def mentions(text: str, result: str, besides: str = "", language: str = "") -> bool:
    """Say whether a text contains a result, as it is written or as a number of the same value.

    Numbers that are written the same way in `besides` do not count: a mention of 0.58 does not give away 29/50. Nor
    does what is still to be worked out: a quotient that comes out even or of the user's numbers, a coefficient, a base;
    nor what has digits and is no number, such as a date. What stands before decimals depends on the language (ISO
    639-1); without one, either reading counts.
    """
    wanted, text = as_read(bare(result)), as_read(text)
    forms = set(_single(wanted, language))
    if not forms:
        return _stands_in(text, wanted)
    text, unit = without_labels(text), _unit(wanted, language)
    if wanted[:1].isalpha() and _stands_in(text, wanted):
        return True
    found = _results(text, wanted, as_read(besides), language)
    return any(quantity in forms and _has_unit(one.match, unit) for one, quantity in found)


def _results(text: str, wanted: str, besides: str, language: str) -> Iterator[tuple[Numeral, Quantity]]:
    """Yield the numbers of a text that may be results: those not in `besides`, and words unless they count things."""
    before = read(besides, language)
    known = {one.match.group().lower() for one in before}
    given = {one.value for one in before}
    own = {gold.terms for gold in read(wanted, language)}
    for one in read(text, language):
        match = one.match
        if match.group().lower() in known or _counts_things(match) or _is_factor(match):
            continue
        if one.terms and one.terms not in own and _is_open(one, one.terms, given):
            continue
        for value in (one.value, *one.others):
            yield one, Quantity((value, bool(match["percent"])))


_WORD_BEHIND = re.compile(r"\s+[a-z]", re.IGNORECASE)
_ANSWERS = re.compile(r"(?:=|\b(?:is|are|equals|gets?|makes?|gives?|answer:?))\s*$")


def _counts_things(match: re.Match[str]) -> bool:
    # "two numbers" and "in two steps" count, "is two", "you get two apples" and "one and a half apples" answer.
    if not match["words"] or match["more_share"] or not _WORD_BEHIND.match(match.string, match.end()):
        return False
    return _ANSWERS.search(match.string[max(0, match.start() - LOOKED_BACK) : match.start()]) is None


def _is_factor(match: re.Match[str]) -> bool:
    # "5x", "5(x + 2)", "5^2", "5pi". The letters m, g, s, h and l are units: "5m" may be a result.
    if not match["top"] or match["percent"]:
        return False
    return (
        re.match(r"(?:[a-fi-knopqrt-z](?![a-z])|pi\b|sqrt\b|[\u03c0\u221a]|[(^])", match.string[match.end() :])
        is not None
    )


def _is_open(one: Numeral, terms: tuple[Fraction, Fraction], given: set[Fraction]) -> bool:
    """Say whether a fraction, not written like the result, is still to be worked out.

    "1932 / 23" is the question, not its result; so is "57 / 76" where the user has mentioned 57 out of 76, and
    "36 hundredths" where it is their 0.36.
    """
    if one.match["parts"]:
        return one.value in given and terms[1] != one.value.denominator
    comes_out_even = one.value.denominator == 1 and not one.match["under"]
    return comes_out_even or {*terms} <= given


def bare(result: str) -> str:
    """Return a result without its 'x =' or 'f(x) ='."""
    return re.sub(r"^\s*[a-z](?:'|\([a-z]\))?\s*=\s*", "", result.strip(), flags=re.IGNORECASE)


def stands_in(text: str, result: str) -> bool:
    """Say whether a text contains a result as it is written, ignoring white space, case and how it is set."""
    return _stands_in(as_read(text), as_read(bare(result)))


_TIME = re.compile(r"(\d{1,2}):(\d\d)")


def _stands_in(text: str, result: str) -> bool:
    result, text = (part.lower().replace("\u2212", "-") for part in (result, text))
    if time := _TIME.fullmatch(result):
        return re.search(rf"(?<![\w.:])0?{int(time[1])}[:.h]{time[2]}(?![\d:])", text) is not None
    tokens = re.findall(r"[a-z]+|\d+(?:\.\d+)?|\S", result)
    # Most texts lack a part of the result, and need no pattern to be compiled.
    if not tokens or any(token not in text for token in tokens):
        return False
    pattern = r"\s*\*?\s*".join(re.escape(token) for token in tokens)
    # Not the divisor of a quotient, nor an exponent, nor a number with a sign of its own: -3 is not 3.
    before = r"(?<![\w.^])(?<!\d/)(?<!\d / )(?<!\de[-+])(?<![\s=(,\[]-)(?<!= - )(?<!minus )(?<!negative )"
    after = r"(?![\w^(]|\.\d|,\d|\s?/\s?\d|\s?%)"
    return re.search(f"{before}{pattern}{after}", f" {text}") is not None


def equal(one: str, other: str, language: str = "") -> bool:
    """Say whether two results are the same, by value where each holds a single number, else as they are written.

    >>> equal("x = 0.75", "3/4"), equal("54 cm", "56"), equal("(3, 4)", "(3,4)"), equal("0,5", "1/2")
    (True, False, True, True)
    """
    first, second = ({*_single(as_read(bare(text)), language)} for text in (one, other))
    if first and second:
        return single(one, language) in second or single(other, language) in first
    return len({re.sub(r"[\s*]+", "", bare(text)).lower() for text in (one, other)}) == 1


_MONEY = "$\u20ac\u00a3\u00a5\u20b9 "
# What may follow a result's number: "54 cm", but not "3x" nor "36pi".
_UNIT = re.compile(r"\s?(?!(?:\u03c0|[a-fi-knopqrt-z]\b))(?P<unit>[^\W\d_]*)\.?", re.IGNORECASE)
_CURRENCY = re.compile(r"usd|eur|gbp|dollars?|euros?|pounds?|cents?", re.IGNORECASE)


def single(text: str, language: str = "") -> Quantity | None:
    """Return the number of a result that is one, whose unit may follow; None for any other result."""
    found = _alone(as_read(bare(text)), language)
    return _quantity(found) if found else None


def _alone(result: str, language: str) -> Numeral | None:
    one = read_at(result.strip(_MONEY + "*"), language)
    if one is None or not _UNIT.fullmatch(one.match.string[one.match.end() :]):
        return None
    return one


def _unit(result: str, language: str) -> str:
    """Return the unit of a result that is one number: 'cm' of 3 cm; '' where there is none, or it is money."""
    one = _alone(result, language)
    match = one and _UNIT.fullmatch(one.match.string[one.match.end() :])
    unit = match["unit"].lower() if match else ""
    return "" if _CURRENCY.fullmatch(unit) else unit


# Names that are no shorter form of each other.
_LONG_UNITS = {"kilo": "kg", "kilos": "kg", "lb": "pound", "lbs": "pounds", "oz": "ounces"}


def _has_unit(match: re.Match[str], unit: str) -> bool:
    """Say whether a number may be of a unit: no word stands behind it, or the unit in a longer or shorter form."""
    behind = re.match(r"[\s-]?([^\W\d_]+)", match.string[match.end() :])
    if not unit or not behind:
        return True
    short, long = sorted((_LONG_UNITS.get(name, name) for name in (unit, behind[1].lower())), key=len)
    letters = iter(long)
    return short[0] == long[0] and all(letter in letters for letter in short)


def _single(result: str, language: str = "") -> Iterator[Quantity]:
    """Yield the equivalent forms of a result that is a single number; nothing for any other result."""
    one = _alone(result, language)
    if one is None:
        return
    yield _quantity(one)
    # 75 % and 3/4 mean the same; 5 and 500 % hardly ever do, and 5 would then be found in every percentage.
    if one.match["percent"]:
        yield Quantity((one.value / 100, False))
    elif one.value.denominator != 1:
        yield Quantity((one.value * 100, True))


_LABELS = (
    r"steps?|question|exercise|problem|page|chapter|section|figure|table|version|slide|lesson|unit|room|task|hint|"
    r"example|schritt|aufgabe|frage|seite|kapitel|exercice|\u00e9tape|chapitre|paso|ejercicio|p\u00e1gina|cap\u00edtulo"
)
_NO_NUMBERS = re.compile(
    r"(?:https?://|www\.)\S+"
    r"|\b\d{4}-\d{1,2}-\d{1,2}\b|\b\d{1,2}(?P<dot>[/.])\d{1,2}(?P=dot)(?:\d{4}|\d{2})\b"
    r"|\b\d{1,2}:[0-5]\d(?::[0-5]\d)?\b|\b\d{1,2}[.h][0-5]\d\s?(?:am|pm|a\.m|p\.m|uhr|o'clock)\b"
    r"|(?<![\d.])(?!\d{1,3}(?:\.\d{3})+\b)\d{1,4}(?:\.\d{1,4}){2,9}(?![\d,])"
    r"|\b\d{3}-\d{4}\b|\+\d[\d\s()-]{6,20}\d"
    r"|(?<!this )(?<!that )(?<!last )(?<!next )(?<!each )(?<!first )(?<!one )"
    rf"\b(?:{_LABELS})\s\d{{1,4}}(?:\.\d{{1,3}})*\b"
    r"(?!\s?[%=+*/,^\u00d7]|\.\d)|(?<!\w)#\d{1,4}\b|\b\d{1,6}(?:st|nd|rd|th)\b|\b[a-z]{2,20}-\d{1,6}\b",
    re.IGNORECASE,
)
_MARKER = re.compile(r"^[ \t]*(?:[-*][ \t]+)?(?:\*\*)?\d{1,2}[.)](?=\s+\S)", re.MULTILINE)


def without_labels(text: str) -> str:
    """Return a text without what has digits and is no number: dates, times, versions, addresses, labels, list marks.

    >>> without_labels("Step 2: is it 12 on 27/11/2026?"), without_labels("1. Read.\\\\n2. Draw 12.")
    (' : is it 12 on  ?', '1. Read.\\\\n2. Draw 12.')
    """
    if len(_MARKER.findall(text)) > 1:
        text = _MARKER.sub(" ", text)
    return _NO_NUMBERS.sub(" ", text)
