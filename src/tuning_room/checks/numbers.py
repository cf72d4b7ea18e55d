"""Numbers and results in text, in whatever form they are written (number_grammar.py): found, and compared."""

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from tuning_room.checks.as_written import typed, written
from tuning_room.checks.number_grammar import (
    CARDINAL,
    LOOKED_BACK,
    NUMBER,
    WORDS,
    Numeral,
    as_read,
    in_signs,
    read,
    read_at,
)
from tuning_room.checks.number_labels import without_labels
from tuning_room.checks.number_setting import shown
from tuning_room.checks.units import Unit, clock, clocks, unit_at, whole_unit

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
    "without_labels",
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


def mentions(text: str, result: str, besides: str = "", language: str = "", said: str = "") -> bool:
    """Say whether a text contains a result, as it is written or as a number of the same value.

    Numbers that are written the same way in `besides` do not count: a mention of 0.58 does not give away 29/50. Nor
    does what is still to be worked out: a quotient that comes out even or of the user's numbers, a coefficient, a base;
    nor what has digits and is no number, such as a date. What stands before decimals depends on the language (ISO
    639-1); without one, either reading counts. `said` is all that the user wrote, if that is more than `besides`.
    """
    wanted, text, besides, said = (_as_seen(part) for part in (bare(result), text, besides, said or besides))
    forms = {*_single(wanted, language), *_power(wanted)}
    if not forms or not without_labels(wanted).strip():
        return _stands_in(text, wanted) or _has_several(text, wanted, besides, language) or _nearly(text, wanted)
    gold = _alone(wanted, language)
    if (wanted[:1].isalpha() or gold is None) and _stands_in(text, wanted):
        return True
    unit = _unit(gold)
    bare_text = without_labels(text)
    for one, quantity in _results(bare_text, wanted, (besides, said), language, unit):
        if _rounds(one, gold) or (quantity in forms and _has_unit(one.match, unit)):
            return True
    return any(_quantity(one) in forms for one in _spoken(bare_text, wanted, (besides, said), language))


@lru_cache(64)
def _as_seen(text: str) -> str:
    return as_read(shown(text))


def _results(
    text: str, wanted: str, before: tuple[str, str], language: str, measure: "_Measure"
) -> Iterator[tuple[Numeral, Quantity]]:
    """Yield the numbers of a text that may be results: those not in the problem, and words unless they count things.

    `before` is the problem, and all that the user wrote.
    """
    known, given = {one.match.group().lower() for one in read(before[0], language)}, set[Fraction]()
    given |= {one.value for one in read(before[1], language)}
    own = {gold.terms for gold in read(wanted, language)}
    for one in read(text, language):
        match = one.match
        if match.group().lower() in known or _is_factor(match):
            continue
        if _counts_things(match) and not (measure.unit and unit_at(match.string[match.end() :][:_BEHIND])[0]):
            continue
        # "2 over 15" says the user's 2 and 15 again, even where that is the result.
        if one.terms and (one.terms not in own or match["below"]) and _is_open(one, one.terms, given):
            continue
        for value in (one.value, *one.others):
            yield one, Quantity((value, bool(match["percent"])))


_WORD_BEHIND = re.compile(r"\s+(?!(?:is|was)\b)[a-z]|(?<=one)\s+[a-z]", re.IGNORECASE)
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
    return _stands_in(_as_seen(text), _as_seen(bare(result)))


def _stands_in(text: str, result: str) -> bool:
    # A number alone is compared by its value elsewhere: here words that count things would be found.
    if _PLAIN.fullmatch(result):
        return written(text, result)
    text = _in_digits(text)
    if moment := clock(_in_digits(result)):
        return any(one.may_be(moment) for one, _ in clocks(text))
    return written(text, _in_digits(result))


@lru_cache(64)
def _in_digits(text: str) -> str:
    """Return a text with whole numbers in words as digits, and with digits of one script."""
    place, parts, text = 0, [], in_signs(text)
    for one in read(text):
        if one.match["words"] and one.value.denominator == 1 and one.match.end() > place:
            parts += [text[place : one.match.start()], str(one.value)]
            place = one.match.end()
    text = "".join([*parts, text[place:]])
    return text if text.isascii() else _DIGIT.sub(lambda match: str(int(match.group())), text)


_DIGIT, _PLAIN = re.compile(r"\d"), re.compile(r"[-\d.,\s]*")


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
    found = _alone(_as_seen(bare(text)), language)
    return _quantity(found) if found else None


def _alone(result: str, language: str) -> Numeral | None:
    one = read_at(result.strip(_MONEY + "*"), language)
    if one is None:
        return None
    behind = one.match.string[one.match.end() :]
    return one if _UNIT.fullmatch(behind) or whole_unit(behind) else None


class _Measure(NamedTuple):
    """A result's unit: as one that is known, and as it is called."""

    unit: Unit | None
    name: str


def _unit(gold: Numeral | None) -> _Measure:
    """Return the unit of a result that is one number: 'cm' of 3 cm; none where there is none, or it is money."""
    behind = gold.match.string[gold.match.end() :] if gold else ""
    match = _UNIT.fullmatch(behind)
    name = match["unit"].lower() if match else ""
    return _Measure(None, "") if _CURRENCY.fullmatch(name) else _Measure(whole_unit(behind), name)


# What goes on with the sentence behind a number without its unit; some are the names of units as well.
_GOES_ON = frozenset(
    "a all altogether am an and as at because but by can do does exactly for from here how if in is it left my no not "
    "now of on or right since so that the then there these this to too total what when where which who why with would "
    "yes you your".split()
)
_BEHIND = 80  # signs behind a number that may be its unit


def _has_unit(match: re.Match[str], measure: _Measure) -> bool:
    """Say whether a number may be of a unit: no word stands behind it, or the unit by any of its names."""
    text = match.string[match.end() : match.end() + _BEHIND]
    behind = re.match(r"[\s-]?([^\W\d_]+)", text)
    if not measure.name and not measure.unit:
        return True
    if measure.unit:
        found, _ = unit_at(text) if not behind or behind[1] not in _GOES_ON else ((), 0)
        return found == measure.unit if found else not behind or behind[1].lower() in _GOES_ON
    if not behind or behind[1].lower() in _GOES_ON:
        return True
    short, long = sorted((measure.name, behind[1].lower()), key=len)
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


_SMALL_POWER = re.compile(r"(\d{1,3})\s?\^\s?(\d{1,2})")


def _power(result: str) -> Iterator[Quantity]:
    """Yield the value of a result that is a power: 32 for 2^5."""
    if match := _SMALL_POWER.fullmatch(typed(result).strip()):
        yield Quantity((Fraction(int(match[1]) ** int(match[2])), False))


_LEAST_PLACES = 3  # of a rounded decimal that gives a result away


def _rounds(one: Numeral, gold: Numeral | None) -> bool:
    """Say whether a decimal is a result without end, rounded or cut off: 0.667 for 2/3."""
    point, percent = (one.match["top"] or "").rpartition("."), bool(one.match["percent"])
    places = len(point[2]) + 2 * percent if point[1] and point[2].isdecimal() else 0
    if gold is None or places < _LEAST_PLACES or 10**_MANY % gold.value.denominator == 0:
        return False
    wanted = gold.value / (100 if gold.match["percent"] else 1)
    return abs(one.value / (100 if percent else 1) - wanted) < Fraction(1, 10**places)


_MANY = 30  # decimals of a result that ends
_IRRATIONAL = re.compile("(\\d{0,6})(?:(π)|√(\\d{1,6}))")


def _nearly(text: str, wanted: str) -> bool:
    """Say whether a text has a root or a multiple of pi as a decimal, of three digits or more."""
    match = _IRRATIONAL.fullmatch(typed(wanted).replace(" ", ""))
    if not match:
        return False
    value = int(match[1] or 1) * (math.pi if match[2] else math.sqrt(int(match[3])))
    decimals = (point for one in read(text) if (point := (one.match["top"] or "").rpartition("."))[1])
    return any(
        len(whole + places) >= _LEAST_PLACES and abs(float(f"{whole}.{places}") - value) < 10.0 ** -len(places)
        for whole, _, places in decimals
        if whole.isascii() and whole.isdecimal() and places.isdecimal()
    )


_LISTED = re.compile(
    r"\s*(?:[,;|&]|\band\b|\bor\b|\bund\b|\boder\b|\bet\b|\by\b(?!\s*(?:=|is\b))|:|\u2236|\bto\b)\s*(?:and\s|or\s)?",
    re.IGNORECASE,
)
_NAMED = re.compile(r"^[\s$(\[{]*(?:([a-z])\s*(?:=|is|equals)\s*)?", re.IGNORECASE)
_BETWEEN = re.compile(
    r"[\s$)*]{0,3}(?:(?P<ratio>:|\u2236|to)|[,;|&]|(?:,\s?)?(?:and|or|und|oder|et|y))[\s$(*]{0,3}(?:(?:and|or)\s)?"
    r"(?:[a-z]\s{0,2}(?:=|is|equals)\s{0,2})?",
    re.IGNORECASE,
)


def _has_several(text: str, wanted: str, besides: str, language: str) -> bool:
    """Say whether a text has all the values of a result of several: a point, a pair, a ratio, solutions."""
    values, ordered, ratio = _several(wanted, language)
    if len(values) < 2:
        return False
    found, size = read(text, language), len(values)
    for at in range(len(found) - size + 1):
        group = found[at : at + size]
        gaps = [text[one.match.end() : other.match.start()] for one, other in pairwise(group)]
        links = [_BETWEEN.fullmatch(gap) if len(gap) < _LONGEST_GAP else None for gap in gaps]
        said = text[group[0].match.start() : group[-1].match.end()]
        if all(link and bool(link["ratio"]) is ratio for link in links) and said not in besides:
            mine = [_quantity(one) for one in group]
            if mine == values or (not ordered and sorted(mine) == sorted(values)):
                return True
    return False


_LONGEST_GAP = 20


def _several(wanted: str, language: str) -> tuple[list[Quantity], bool, bool]:
    """Return the values of a result, whether their order matters, and whether they are a ratio."""
    inner = wanted.strip(" $")
    pieces = _LISTED.split(inner)
    named = (_NAMED.match(piece) for piece in pieces)
    names = {match[1] for match in named if match and match[1]}
    ratio = len(pieces) > 1 and re.search(r":|\u2236|\bto\b", inner) is not None
    values = [_alone(_NAMED.sub("", piece, count=1).strip(" $)]}"), language) for piece in pieces]
    if len(values) < 2 or not all(values):
        return [], False, False
    ordered = ratio or inner[:1] in "([" or len(names) > 1
    return [_quantity(one) for one in values if one], ordered, ratio


_OUT_OF = re.compile(r"(?<![\w.,/])(\d{1,4}) (?:(?:out )?of|over|in(?: every)?) (?:every )?(\d{1,4})(?![\w/]|[.,]\d)")
_ONLY_HALF = re.compile(
    r"\b(?:is|are|equals|be|gives|answer:?)\s(?:just |exactly |only )?half"
    r"(?=\s*(?:[.,;!?)]|$)|\s(?:then|so|right|agreed)\b)",
    re.IGNORECASE,
)
_HYPHENATED = re.compile(r"(?<![\w.,/-])(\d{1,3})-(\d{1,2}/\d{1,2})(?![\w/]|[.,]\d)")
_RAISED_POINT = re.compile(
    r"(?<![\w.,\u00b7])(\d{1,4})[\u00b7\u02d9\u2e33](\d{1,6})(?![\d^\u00b7]|\.\d|\s?[=*\u00b7\u00d7])"
)
_COINS = re.compile(
    r"(?<![\w.,])(\d{1,9})\s?(?:dollars?|euros?|pounds?|\$|\u20ac|\u00a3)[\s,]{0,2}(?:and\s)?(\d\d)(?![\d.,]\d|\d)"
)
_CENTS = re.compile(r"(?<![\w.,])(\d{1,9})\s?(?:cents?|pence|\u00a2|ct)\b", re.IGNORECASE)
_SHORT_SCALE = re.compile(r"(?<![\w.,])(\d{1,3}(?:\.\d{1,3})?)\s?(?:([kK])|[mM])(?![\w^(/])")
_POWER_OF_TEN = re.compile(
    r"(?:=|\b(?:is|are|needs?|gets?|equals|gives?|makes?|answer:?))"
    r"\s?\$?10\s?(?:\^\s?\{?\s?|\*\*)(-?\d{1,2})\s?\}?(?![\w^]|\.\d)"
)
_BELOW = re.compile(r"(?<![\w.,])(\d{1,9}(?:\.\d{1,9})?)(?:\s?\u00b0|\sdegrees?)?\sbelow\s(?:0|freezing)(?!\w)")


_LEAST_SCALED = 1000  # what is written with a k or as a power of ten


def _spoken(text: str, wanted: str, before: tuple[str, str], language: str) -> Iterator[Numeral]:
    """Yield the numbers in phrases that mean one only beside such a result: "one in four" beside 25 %."""
    gold = _alone(wanted, language)
    if gold is None or (gold.value.denominator == 1 and 0 <= gold.value < _LEAST_SCALED and not gold.match["percent"]):
        return
    text, known = _in_digits(text), _in_digits(before[0]).lower()
    given = {one.value for one in read(before[1], language)}
    for match, form in _phrases(text, gold):
        if match.group().lower() in known:
            continue
        for one in read(form):
            if not (one.terms and set(one.terms) <= given):
                yield one


def _phrases(text: str, gold: Numeral) -> Iterator[tuple[re.Match[str], str]]:
    if gold.value < 0:
        yield from ((match, f"-{match[1]}") for match in _BELOW.finditer(text))
    if gold.value >= _LEAST_SCALED:
        yield from (
            (match, f"{match[1]} {'thousand' if match[2] else 'million'}") for match in _SHORT_SCALE.finditer(text)
        )
    yield from ((match, f"1e{match[1]}") for match in _POWER_OF_TEN.finditer(typed(text)))
    if gold.value.denominator == 1 and not gold.match["percent"]:
        return
    yield from ((match, f"{match[1]}/{match[2]}") for match in _OUT_OF.finditer(text) if int(match[1]) < int(match[2]))
    yield from ((match, "1/2") for match in _ONLY_HALF.finditer(text))
    yield from ((match, f"{match[1]} {match[2]}") for match in _HYPHENATED.finditer(text))
    yield from ((match, f"{match[1]}.{match[2]}") for match in (*_RAISED_POINT.finditer(text), *_COINS.finditer(text)))
    yield from ((match, f"{int(match[1]) / 100:.2f}") for match in _CENTS.finditer(text))
