"""Numbers and results in text, whatever form they are written in."""

import re
from collections.abc import Iterator
from fractions import Fraction

WORDS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split()
    )
} | {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100}
PARTS = {"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fifth": 5, "fifths": 5}

TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
UNITS = "one two three four five six seven eight nine".split()

# Bounded: a model that repeats a digit without end must not make a number that nothing can compute with.
_RUN = r"\d{1,99}"
NUMBER = rf"\d{{1,3}}(?:,\d{{3}}){{1,33}}(?:\.{_RUN})?|{_RUN}(?:\.{_RUN})?(?:e[+-]?\d{{1,3}}(?!\d))?"
_TOKEN = re.compile(
    rf"(?<![\w.^])(?P<sign>[-\u2212]\s?)?(?P<top>{NUMBER})(?:\s?/\s?(?P<bottom>{_RUN}))?(?P<percent>\s?%|\spercent)?"
    rf"|\b(?P<tens>{'|'.join(TENS)})[- ](?P<unit>{'|'.join(UNITS)})\b"
    rf"|\b(?P<word>{'|'.join(sorted(WORDS, key=len, reverse=True))})(?:[- ](?P<part>{'|'.join(PARTS)}))?\b",
    re.IGNORECASE,
)


class Quantity(tuple[Fraction, bool]):
    """A number as (value, whether it is a percentage): 75 % is not 75."""

    __slots__ = ()


def quantities(text: str) -> Iterator[Quantity]:
    """Yield the numbers of a text: 1,200 1200 1.2e3 3/4 0.75 75 % 'three quarters' 'four'."""
    for match in _TOKEN.finditer(text):
        value = _value(match)
        if value is not None:
            yield Quantity((value, bool(match["percent"])))


def _value(match: re.Match[str]) -> Fraction | None:
    if match["tens"]:
        return Fraction(WORDS[match["tens"].lower()] + WORDS[match["unit"].lower()])
    if match["word"]:
        value = Fraction(WORDS[match["word"].lower()])
        return value / PARTS[match["part"].lower()] if match["part"] else value
    bottom = int(match["bottom"] or 1)
    if bottom == 0:
        return None
    value = Fraction(match["top"].replace(",", "")) / bottom
    return -value if match["sign"] and _is_sign(match) else value


def _is_sign(match: re.Match[str]) -> bool:
    # "7 - 3" and "x -3" subtract, "= -3", "(-3" and "is -3" are negative: a minus behind a number or a single letter
    # is an operator, one that stands at its number behind a word is not.
    before = match.string[: match.start()]
    if len(match["sign"]) == 1 and re.search(r"[^\W\d_]{2}\s$", before):
        return True
    last = before.rstrip()[-1:]
    return not (last.isalnum() or last == ")")


def mentions(text: str, result: str, besides: str = "") -> bool:
    """Say whether a result stands in a text, as it is written or as a number of the same value.

    Numbers that are written the same way in `besides` do not count: to speak of 0.58 is not to say 29/50.
    """
    wanted = bare(result)
    results = set(_results(text, besides))
    return stands_in(text, wanted) or any(quantity in results for quantity in _single(wanted))


def _results(text: str, besides: str) -> Iterator[Quantity]:
    """Yield the numbers of a text that may be results: new ones, and words only where they do not count things."""
    known = {match.group().lower() for match in _TOKEN.finditer(besides)}
    for match in _TOKEN.finditer(text):
        value = _value(match)
        if value is not None and match.group().lower() not in known and not _counts_things(match):
            yield Quantity((value, bool(match["percent"])))


_ANSWERS = re.compile(r"(?:=|\b(?:is|are|equals|gets?|makes?|gives?|answer:?))\s*$")


def _counts_things(match: re.Match[str]) -> bool:
    # "two numbers" and "in two steps" count, "is two" and "you get two apples" answer.
    if match["top"] or not re.match(r"\s+[a-z]", match.string[match.end() :], re.IGNORECASE):
        return False
    return (
        re.search(r"(?:=|\b(?:is|are|equals|gets?|makes?|gives?|answer:?))\s*$", match.string[: match.start()]) is None
    )


def bare(result: str) -> str:
    """Return a result without its 'x =' or 'f(x) ='."""
    return re.sub(r"^\s*[a-z](?:'|\([a-z]\))?\s*=\s*", "", result.strip(), flags=re.IGNORECASE)


def stands_in(text: str, result: str) -> bool:
    """Say whether a result stands in a text as it is written, white space and case aside."""
    result = bare(result)
    result, text = (said.lower().replace("\u2212", "-") for said in (result, text))
    tokens = re.findall(r"[a-z]+|\d+(?:\.\d+)?|\S", result)
    pattern = r"\s*\*?\s*".join(re.escape(token) for token in tokens)
    return bool(pattern) and re.search(rf"(?<![\w.^]){pattern}(?![\w^]|\.\d|,\d|/\d|\s?%)", text) is not None


def _single(result: str) -> Iterator[Quantity]:
    """Yield the forms in which a result that is one number may be said; nothing for any other result."""
    match = _TOKEN.fullmatch(result)
    value = _value(match) if match else None
    if match is None or value is None:
        return
    percent = bool(match["percent"])
    yield Quantity((value, percent))
    # 75 % and 3/4 say the same; 5 and 500 % hardly ever do, and 5 would then be found in every percentage.
    if percent:
        yield Quantity((value / 100, False))
    elif value.denominator != 1:
        yield Quantity((value * 100, True))
