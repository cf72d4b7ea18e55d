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

NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_TOKEN = re.compile(
    rf"(?<![\w.^])(?P<sign>-\s?)?(?P<top>{NUMBER})(?:\s?/\s?(?P<bottom>\d+))?(?P<percent>\s?%|\spercent)?"
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
    if match["word"]:
        value = Fraction(WORDS[match["word"].lower()])
        return value / PARTS[match["part"].lower()] if match["part"] else value
    bottom = int(match["bottom"] or 1)
    if bottom == 0:
        return None
    value = Fraction(match["top"].replace(",", "")) / bottom
    return -value if match["sign"] and _is_sign(match) else value


def _is_sign(match: re.Match[str]) -> bool:
    # "7 - 3" subtracts, "= -3" and "(-3" are negative: a minus behind a number or letter is an operator.
    before = match.string[: match.start()].rstrip()
    return not (before and (before[-1].isalnum() or before[-1] == ")"))


def mentions(text: str, result: str) -> bool:
    """Say whether a result stands in a text, as it is written or as a number of the same value."""
    wanted = bare(result)
    return _as_written(wanted, text) or any(q in set(quantities(text)) for q in _single(wanted))


def bare(result: str) -> str:
    """Return a result without its 'x =' or 'f(x) ='."""
    return re.sub(r"^\s*[a-z](?:'|\([a-z]\))?\s*=\s*", "", result.strip(), flags=re.IGNORECASE)


def _as_written(result: str, text: str) -> bool:
    tokens = re.findall(r"[a-z]+|\d+(?:\.\d+)?|\S", result.lower())
    pattern = r"\s*\*?\s*".join(re.escape(token) for token in tokens)
    return bool(pattern) and re.search(rf"(?<![\w.^]){pattern}(?![\w^]|\.\d|,\d|/\d|\s?%)", text.lower()) is not None


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
