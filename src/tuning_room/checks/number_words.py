"""English numbers in words: whole, with parts, spoken as decimals; and how other languages say percent."""

import re
from collections.abc import Iterable
from fractions import Fraction

# English number words, from 'four' and 'three quarters' to 'one hundred and twenty thousand'.
WORDS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split()
    )
} | {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100}
SCALES = {"dozen": 12, "thousand": 10**3, "million": 10**6, "billion": 10**9}
# Behind digits the scales of other scripts as well: 15 lakh, 1.5\u4e07.
DIGIT_SCALES = (
    {"hundred": 100, "trillion": 10**12, "lakh": 10**5, "crore": 10**7}
    | SCALES
    | dict.fromkeys("\u4e07\u842c", 10**4)
    | dict.fromkeys("\u4ebf\u5104", 10**8)
    | {"\u0932\u093e\u0916": 10**5, "\u0915\u0930\u094b\u0921\u093c": 10**7}
)
PARTS = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4, "third": 3, "thirds": 3} | {
    ordinal + plural: value
    for ordinal, value in (
        *((word, value) for value, word in enumerate("fourth fifth sixth seventh eighth ninth tenth".split(), start=4)),
        ("twelfth", 12),
        ("twentieth", 20),
        ("hundredth", 100),
        ("thousandth", 1000),
    )
    for plural in ("", "s")
}

TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
UNITS = "one two three four five six seven eight nine".split()
_TEENS = "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_DIGITS = {word: value for value, word in enumerate(["zero", *UNITS])} | {"oh": 0, "nought": 0}


def _any(words: Iterable[str]) -> str:
    # The longest first: "sixteen" is not "six".
    return "|".join(sorted(words, key=len, reverse=True))


_BELOW_100 = rf"(?:(?:{_any(TENS)})(?:[- ](?:{_any(UNITS)}))?|(?:{_any(set(WORDS) - {'hundred'})}))\b"
_SCALE = _any(SCALES)
_TAIL = rf"(?:[- ](?:and )?{_BELOW_100}(?![- ]hundred\b))?"
_BELOW_1000 = rf"(?:(?:{_any(UNITS + _TEENS)}|an?)[- ]hundred\b{_TAIL}|{_BELOW_100})"
_SCALED = rf"(?:{_BELOW_1000}|an?)[- ](?:{_SCALE})\b"
# A whole number in words, and the denominator that may follow it.
CARDINAL = (
    rf"\b(?P<words>{_SCALED}(?:,? (?:and )?{_SCALED})*(?: (?:and )?{_BELOW_1000})?|"
    rf"{_BELOW_1000}|hundred\b)(?:(?<!ty)(?<!hundred)(?<!sand)(?<!lion)(?<!dozen)[- ](?P<part>{_any(PARTS)})\b)?"
)
# "One and a half", "2 and three quarters": what stands behind the "and".
_ORDINALS = _any(part for part in PARTS if part not in ("half", "halves", "hundredth", "thousandth"))
SHARE = rf"(?:(?P<times>an?|{_any(UNITS)})[- ])(?P<share>half|{_ORDINALS})\b"
# A third, but neither a third person nor a hundredth.
ALONE = (
    rf"\ban?[- ](?P<alone>half|quarter|{_any(ordinal for ordinal in PARTS if ordinal.endswith(('rd', 'th')))})\b"
    r"(?<!dth)(?!-)(?!\s(?!of\b|and\b|or\b|as\b|is\b|so\b|then\b|each\b|there\b|here\b)[a-z])"
)
SPOKEN = (
    rf"\b(?:(?P<units>{_BELOW_100}|nought)[- ]point|point(?=(?:[- ](?:{_any(_DIGITS)})){{2}}))"
    rf"(?P<decimals>(?:[- ](?:{_any(_DIGITS)})\b){{1,99}})"
)
PLURAL_PARTS = _any(part for part in PARTS if part.endswith("s"))
PERCENT = (
    r"(?:\s?\\?[%\u066a\ufe6a\uff05]|[\s-]+(?:per\s?cent|pct|prozent|procent|pour\s?cent|por\s?ciento|por\s?cento|"
    r"per\s?cento|\u043f\u0440\u043e\u0446\u0435\u043d\u0442\w{0,3}|y\u00fczde)\b|\s?(?:\u30d1\u30fc\u30bb\u30f3\u30c8|"
    r"\ud37c\uc13c\ud2b8|\u092a\u094d\u0930\u0924\u093f\u0936\u0924|\u0628\u0627\u0644\u0645\u0626\u0629|\u062f\u0631\u0635\u062f))"
)


def whole(words: str) -> int:
    """Return the value of a whole number in words that CARDINAL has matched.

    >>> whole("one hundred and twenty thousand"), whole("fifteen hundred")
    (120000, 1500)
    """
    total = group = 0
    for word in re.findall(r"[a-z]+", words.lower()):
        if word in SCALES:
            total, group = total + max(group, 1) * SCALES[word], 0
        elif word == "hundred":
            group = max(group, 1) * 100
        else:
            group += WORDS.get(word, 0)
    return total + group


def spoken(units: str | None, decimals: str) -> Fraction:
    """Return a decimal that is spoken digit by digit.

    >>> spoken("two", " seven five")
    Fraction(11, 4)
    """
    digits = "".join(str(_DIGITS[word]) for word in re.findall(r"[a-z]+", decimals.lower()))
    return whole(units or "") + Fraction(int(digits), 10 ** len(digits))
