"""English number words, from 'four' and 'three quarters' to 'one hundred and twenty thousand'."""

import re
from collections.abc import Iterable
from fractions import Fraction

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
# A pattern of one group: a whole number, and the parts of a fraction that may follow it.
CARDINAL = (
    rf"\b(?P<words>{_SCALED}(?:,? (?:and )?{_SCALED})*(?: (?:and )?{_BELOW_1000})?|"
    rf"{_BELOW_1000}|hundred\b)(?:(?<!ty)(?<!hundred)(?<!sand)(?<!lion)[- ](?P<part>{_any(PARTS)})\b)?"
)


def whole(words: str) -> int:
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


def value(match: re.Match[str]) -> Fraction:
    """Return the value of a match of CARDINAL: 'three quarters' is 3/4."""
    return Fraction(whole(match["words"]), PARTS[match["part"].lower()] if match["part"] else 1)
