"""Numbers and results in text, in whatever form they are written."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

# English number words, from 'four' and 'three quarters' to 'one hundred and twenty thousand'.
WORDS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split()
    )
} | {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
PARTS = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4, "third": 3, "thirds": 3} | {
    ordinal + plural: value
    for value, ordinal in enumerate("fifth sixth seventh eighth ninth tenth".split(), start=5)
    for plural in ("", "s")
}

TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
UNITS = "one two three four five six seven eight nine".split()


def _any(words: Iterable[str]) -> str:
    # The longest first: "sixteen" is not "six".
    return "|".join(sorted(words, key=len, reverse=True))


_BELOW_100 = rf"(?:(?:{_any(TENS)})(?:[- ](?:{_any(UNITS)}))?|(?:{_any(set(WORDS) - {'hundred'})}))\b"
_SCALE = _any(SCALES)
_TAIL = rf"(?:[- ](?:and )?{_BELOW_100}(?![- ]hundred\b))?"
_BELOW_1000 = rf"(?:(?:{_any(UNITS)}|an?)[- ]hundred\b{_TAIL}|{_BELOW_100})"
_SCALED = rf"(?:{_BELOW_1000}|an?)[- ](?:{_SCALE})\b"
# A whole number in words, and the denominator that may follow it.
CARDINAL = (
    rf"\b(?P<words>{_SCALED}(?:,? (?:and )?{_SCALED})*(?: (?:and )?{_BELOW_1000})?|"
    rf"{_BELOW_1000}|hundred\b)(?:(?<!ty)(?<!hundred)(?<!sand)(?<!lion)[- ](?P<part>{_any(PARTS)})\b)?"
)

# Bounded: a model that repeats a digit endlessly must not produce a number too large to compute with.
_RUN = r"\d{1,99}"
NUMBER = rf"\d{{1,3}}(?:,\d{{3}}){{1,33}}(?:\.{_RUN})?|{_RUN}(?:\.{_RUN})?(?:e[+-]?\d{{1,3}}(?!\d))?"
# Separators of thousands: a comma, LaTeX's {,} or one of the narrow spaces.
_THOUSANDS = r"(?:,|\{,\}|[\u00a0\u2009\u202f])"
_GROUPED = rf"\d{{1,3}}(?:{_THOUSANDS}\d{{3}}){{1,33}}(?!\d)(?:\.{_RUN})?"
_VULGAR = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_SIGN = r"(?P<sign>[-\u2212]\s?|(?:minus|negative)\s)?"
_TOKEN = re.compile(
    rf"(?<![\w.^]){_SIGN}(?:"
    rf"(?P<top>{_GROUPED}|{NUMBER}|\.{_RUN})(?:\s?/\s?(?P<bottom>{_RUN})|(?P<mixed>[{_VULGAR}]))?"
    rf"|\\[dt]?frac\{{(?P<over>{_RUN})\}}\{{(?P<under>{_RUN})\}}"
    rf"|(?P<vulgar>[{_VULGAR}])"
    rf"|{CARDINAL}"
    rf")(?P<percent>\s?\\?%|\sper\s?cent\b)?",
    re.IGNORECASE,
)
_NUMBER_BEFORE = re.compile(rf"(?:\d|\)|\b[a-z]|\b(?:{'|'.join([*WORDS, *SCALES, *PARTS])}))\s*$", re.IGNORECASE)


class Quantity(tuple[Fraction, bool]):
    """A number as (value, whether it is a percentage): 75 % is not 75."""

    __slots__ = ()


def quantities(text: str) -> Iterator[Quantity]:
    """Yield the numbers of a text: 1,200 1200 1.2e3 3/4 0.75 .75 ½ 75 % 'three quarters' 'two hundred' 'four'."""
    yield from (_quantity(match, value) for match, value in _read(text) if value is not None)


# The checks, the decontamination and the split read the same message one after the other.
@lru_cache(64)
def _read(text: str) -> list[tuple[re.Match[str], Fraction | None]]:
    return [(match, _value(match)) for match in _TOKEN.finditer(text)]


class NumberIn(NamedTuple):
    """A number where it stands in a text; the end is exclusive."""

    text: str
    value: Fraction
    begin: int
    end: int


def numbers_in(text: str) -> Iterator[NumberIn]:
    """Yield the numbers of a text with their places; no words that count things ("two more"), no factors ("5x")."""
    for match, value in _read(text):
        if value is not None and not _counts_things(match) and not _is_factor(match):
            yield NumberIn(match.group().strip(), value, *match.span())


def _quantity(match: re.Match[str], value: Fraction) -> Quantity:
    return Quantity((value, bool(match["percent"])))


def _value(match: re.Match[str]) -> Fraction | None:
    """Return the value of a match of _TOKEN; None for a division by zero."""
    bottom = int(match["bottom"] or match["under"] or 1)
    if match["words"]:
        # 'three quarters' is 3/4.
        value = Fraction(_whole(match["words"]), PARTS[match["part"].lower()] if match["part"] else 1)
    elif match["vulgar"]:
        value = _vulgar(match["vulgar"])
    elif bottom == 0:
        return None
    else:
        top = _plain(match["top"] or match["over"])
        value = top if bottom == 1 else top / bottom
        value += _vulgar(match["mixed"]) if match["mixed"] else 0
    return -value if match["sign"] and _is_sign(match) else value


def _plain(digits: str) -> Fraction:
    # Most numbers are plain digits, and a fraction is built from an integer in a third of the time.
    return Fraction(int(digits) if digits.isdecimal() else re.sub(_THOUSANDS, "", digits))


def _whole(words: str) -> int:
    """Return the value of a whole number in words that CARDINAL has matched."""
    total = group = 0
    for word in re.findall(r"[a-z]+", words.lower()):
        if word in SCALES:
            total, group = total + max(group, 1) * SCALES[word], 0
        elif word == "hundred":
            group = max(group, 1) * 100
        else:
            group += WORDS.get(word, 0)
    return total + group


def _vulgar(character: str) -> Fraction:
    # The exact fraction behind the floating-point value.
    return Fraction(unicodedata.numeric(character)).limit_denominator(10)


def _is_sign(match: re.Match[str]) -> bool:
    # "7 - 3" and "x -3" subtract, "= -3", "(-3" and "is -3" are negative: a minus after a number or a single letter is
    # an operator; one attached to its number after a word is a sign.
    before = match.string[: match.start()]
    if match["sign"][0].isalpha():
        return match["sign"][0] in "nN" or _NUMBER_BEFORE.search(before) is None
    if len(match["sign"]) == 1 and re.search(r"[^\W\d_]{2}\s$", before):
        return True
    last = before.rstrip()[-1:]
    return not (last.isalnum() or last == ")")


def mentions(text: str, result: str, besides: str = "") -> bool:
    """Say whether a text contains a result, as it is written or as a number of the same value.

    Numbers that are written the same way in `besides` do not count: a mention of 0.58 does not give away 29/50. Nor
    does what is still to be worked out: a quotient that comes out even or of the user's numbers, a coefficient, a base.
    """
    wanted = bare(result)
    if stands_in(text, wanted):
        return True
    forms = set(_single(wanted))
    return bool(forms) and any(quantity in forms for quantity in _results(text, besides))


def _results(text: str, besides: str) -> Iterator[Quantity]:
    """Yield the numbers of a text that may be results: those not in `besides`, and words unless they count things."""
    known = {match.group().lower() for match, _ in _read(besides)}
    given = {value for _, value in _read(besides)}
    for match, value in _read(text):
        if value is None or match.group().lower() in known or _counts_things(match) or _is_factor(match):
            continue
        if not _is_quotient(match, value, given):
            yield _quantity(match, value)


_ANSWERS = re.compile(r"(?:=|\b(?:is|are|equals|gets?|makes?|gives?|answer:?))\s*$")


def _counts_things(match: re.Match[str]) -> bool:
    # "two numbers" and "in two steps" count, "is two" and "you get two apples" answer.
    if not match["words"] or not re.match(r"\s+[a-z]", match.string[match.end() :], re.IGNORECASE):
        return False
    return _ANSWERS.search(match.string[: match.start()]) is None


def _is_factor(match: re.Match[str]) -> bool:
    # "5x", "5(x + 2)", "5^2", "5pi". The letters m, g, s, h and l are units: "5m" may be a result.
    if not match["top"] or match["percent"]:
        return False
    return re.match(r"(?:[a-fi-knopqrt-z](?![a-z])|pi\b|sqrt\b|[(^])", match.string[match.end() :]) is not None


def _is_quotient(match: re.Match[str], value: Fraction, given: set[Fraction | None]) -> bool:
    # "1932 / 23" is the question, not its result; so is "57 / 76" where the user has mentioned 57 out of 76.
    if not match["bottom"]:
        return False
    return value.denominator == 1 or {_plain(match["top"]), _plain(match["bottom"])} <= given


def bare(result: str) -> str:
    """Return a result without its 'x =' or 'f(x) ='."""
    return re.sub(r"^\s*[a-z](?:'|\([a-z]\))?\s*=\s*", "", result.strip(), flags=re.IGNORECASE)


def stands_in(text: str, result: str) -> bool:
    """Say whether a text contains a result as it is written, ignoring white space and case."""
    result, text = (part.lower().replace("\u2212", "-") for part in (bare(result), text))
    tokens = re.findall(r"[a-z]+|\d+(?:\.\d+)?|\S", result)
    # Most texts lack a part of the result, and need no pattern to be compiled.
    if not tokens or any(token not in text for token in tokens):
        return False
    pattern = r"\s*\*?\s*".join(re.escape(token) for token in tokens)
    # Not the divisor of a quotient, nor an exponent, nor a number with a sign of its own: -3 is not 3.
    before = r"(?<![\w.^])(?<!\d/)(?<!\d / )(?<!\de[-+])(?<![\s=(,\[]-)(?<!= - )(?<!minus )(?<!negative )"
    after = r"(?![\w^(]|\.\d|,\d|\s?/\s?\d|\s?%)"
    return re.search(f"{before}{pattern}{after}", f" {text}") is not None


def equal(one: str, other: str) -> bool:
    """Say whether two results are the same, by value where each holds a single number, else as they are written.

    >>> equal("x = 0.75", "3/4"), equal("54 cm", "56"), equal("(3, 4)", "(3,4)")
    (True, False, True)
    """
    values = [single(text) for text in (one, other)]
    if values[0] is not None and values[1] is not None:
        return values[0] in _forms(other) or values[1] in _forms(one)
    return len({re.sub(r"[\s*]+", "", bare(text)).lower() for text in (one, other)}) == 1


# What may follow a result's number: "54 cm", but not "3x" nor "36pi".
_UNIT = re.compile(r"\s?(?!(?:pi|[a-fi-knopqrt-z])\b)[^\W\d_]*\.?", re.IGNORECASE)


def single(text: str) -> Quantity | None:
    """Return the number of a result that is one, whose unit may follow; None for any other result."""
    match = _TOKEN.match(bare(text).strip("$€£ "))
    value = _value(match) if match else None
    if match is None or value is None or not _UNIT.fullmatch(match.string[match.end() :]):
        return None
    return _quantity(match, value)


def _forms(result: str) -> set[Quantity]:
    number = single(result)
    return {number, *_single(bare(result))} if number else set()


def _single(result: str) -> Iterator[Quantity]:
    """Yield the equivalent forms of a result that is a single number; nothing for any other result."""
    match = _TOKEN.fullmatch(result.strip("$€£ "))
    value = _value(match) if match else None
    if match is None or value is None:
        return
    yield _quantity(match, value)
    # 75 % and 3/4 mean the same; 5 and 500 % hardly ever do, and 5 would then be found in every percentage.
    if match["percent"]:
        yield Quantity((value / 100, False))
    elif value.denominator != 1:
        yield Quantity((value * 100, True))
