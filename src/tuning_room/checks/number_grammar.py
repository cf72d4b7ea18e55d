"""The grammar of numbers in any script: groups of digits, decimals, fractions, powers of ten, scales and words."""

import re
import unicodedata
from collections.abc import Iterable
from fractions import Fraction
from functools import cache, lru_cache
from typing import NamedTuple

import regex

# A comma before the decimals, and a point, a space or nothing between thousands (Unicode's CLDR, `numbers.symbols`).
# Spanish is both, by country.
COMMA_LANGUAGES = frozenset(
    "af az be bg bs ca cs da de el et eu fi fo fr fy gl hr hu hy id is it ka kk ky lb lt lv mk nb nl nn no pl pt ro ru "
    "sk sl sq sr sv tk tr uk uz vi".split()
)
BOTH_LANGUAGES = frozenset({"", "es"})

# One sign for one sign, so that what is found stands where it stood.
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-"),
        **dict.fromkeys("\u2044\u2215\uff0f", "/"),
        **dict.fromkeys("\u2018\u2019\u02bc\uff07", "'"),
        **dict.fromkeys("\u066b\uff0e", "."),
        **dict.fromkeys("\u066c\uff0c", ","),
        **dict.fromkeys("\u2007\u2008\u2009\u202f", "\u00a0"),
        **dict.fromkeys("\u00d7\u22c5\u2217", "\u00d7"),
    }
)
_DIGIT = regex.compile(r"(?V1)[\p{Nd}--0-9]")
_HIDDEN = regex.compile(r"[\p{Default_Ignorable_Code_Point}\u20e3]+")
_RAISED_FRACTION = re.compile(
    "(?P<whole>\\d?)(?P<over>[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+)/(?P<under>[\u2080-\u2089]+)|\u00b9/(?=\\d)"
)
SMALL_DIGITS = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089\u207b",
    "01234567890123456789-",
)
_OVER = re.compile(r"\{\s*(-?\d{1,99})\s*\\over\s*(\d{1,99})\s*\}")
_UNDERLINES = re.compile(r"(?<!\w)_+(?=\w)|(?<=\w)_+(?!\w)")
_UNIT = re.compile(r"\\[,;: ]?\s?\\?(?:text|mathrm|rm)\s?\{\s?([^{}\n]{0,40})\}")
_ROOT = re.compile(
    r"\\?(?<![a-z])sqrt\s*(?:\{(\w{1,40})\}|\((\w{1,40})\)|(\w{1,40}))|\u221a\s?(?:\((\w{1,40})\)|\{(\w{1,40})\})"
)
_PI = re.compile(r"\\?(?<![a-z])pi(?![a-z])", re.IGNORECASE)


def in_signs(text: str) -> str:
    """Return a text of the same length with one minus, one fraction stroke, one apostrophe, one decimal point.

    Digits of other scripts become ASCII: which signs stand between them is asked of those.
    """
    return text if text.isascii() else _DIGIT.sub(_in_ascii, text.translate(_SIGNS))


def _in_ascii(digit: "regex.Match[str]") -> str:
    return str(unicodedata.decimal(digit.group()))


def as_read(text: str) -> str:
    """Return a text as a reader sees its numbers: without signs that have no width, underlines and LaTeX's units.

    >>> as_read("_8_ or 3\\\\,\\\\text{cm} or \\\\sqrt{3}"), as_read("1\u200b2, ¹/₂")
    ('8 or 3 cm or √3', '12, 1/2')
    """
    if not text.isascii():
        text = _RAISED_FRACTION.sub(_lowered, in_signs(_HIDDEN.sub("", text)))
    if "_" in text:
        text = _UNDERLINES.sub("", text)
    if "\\" in text:
        text = _UNIT.sub(r" \1", _OVER.sub(r"\1/\2", text))
    if "sqrt" in text or "\u221a" in text:
        text = _ROOT.sub(lambda match: "\u221a" + next(filter(None, match.groups())), text)
    return _PI.sub("\u03c0", text) if "pi" in text.lower() else text


def _lowered(match: re.Match[str]) -> str:
    # One and a half is not eleven halves.
    lowered = match.group().translate(SMALL_DIGITS)
    return f"{match['whole']} {lowered[1:]}" if match["whole"] else lowered


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
    | dict.fromkeys(("millions", "millionen", "millones", "milh\u00f5es", "mio", "mln"), 10**6)
    | dict.fromkeys(("milliarde", "milliarden", "milliard", "milliards", "mrd"), 10**9)
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
_SPOKEN_DIGITS = {word: value for value, word in enumerate(["zero", *UNITS])} | {"oh": 0, "nought": 0}


def _any(words: Iterable[str]) -> str:
    # The longest first: "sixteen" is not "six".
    return "|".join(sorted(words, key=len, reverse=True))


_BELOW_100 = rf"(?:(?:{_any(TENS)})(?:[- ](?:{_any(UNITS)}))?|(?:{_any(set(WORDS) - {'hundred'})}))\b"
_TAIL = rf"(?:[- ](?:and )?{_BELOW_100}(?![- ]hundred\b))?"
_BELOW_1000 = rf"(?:(?:{_any(UNITS + _TEENS)}|an?)[- ]hundred\b{_TAIL}|{_BELOW_100})"
_SCALED = rf"(?:{_BELOW_1000}|an?)[- ](?:{_any(SCALES)})\b"
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
    rf"\b(?:(?P<units>{_BELOW_100}|nought)[- ]point|point(?=(?:[- ](?:{_any(_SPOKEN_DIGITS)})){{2}}))"
    rf"(?P<decimals>(?:[- ](?:{_any(_SPOKEN_DIGITS)})\b){{1,99}})"
)
PLURAL_PARTS = _any(part for part in PARTS if part.endswith("s"))
PERCENT = (
    r"(?:\s?\\?[%\u066a\ufe6a\uff05]|\s?(?:pct|p\.c\.)(?!\w)|[\s-]+(?:per\s?cent|prozent|procent|pour\s?cent|por\s?ciento|por\s?cento|"
    r"per\s?cento|\u043f\u0440\u043e\u0446\u0435\u043d\u0442\w{0,3}|y\u00fczde)\b|\s?(?:\u30d1\u30fc\u30bb\u30f3\u30c8|"
    r"\ud37c\uc13c\ud2b8|\u092a\u094d\u0930\u0924\u093f\u0936\u0924|\u0628\u0627\u0644\u0645\u0626\u0629|\u062f\u0631\u0635\u062f))"
)

# Bounded: a model that repeats a digit endlessly must not produce a number too large to compute with.
_RUN = r"\d{1,99}"
NUMBER = rf"\d{{1,3}}(?:,\d{{3}}){{1,33}}(?:\.{_RUN})?|{_RUN}(?:\.{_RUN})?(?:e[+-]?\d{{1,3}}(?!\d))?"
# What stands between thousands besides comma and point: LaTeX's signs, a narrow space, an apostrophe, a programmer's _.
_SET = r"[\u00a0'_]|\\[,; ]|\{,\}"
_SEPARATORS = re.compile(r"[\u00a0'_ ~]|\\[,; ]")
_WHOLE = rf"\d{{1,3}}(?:(?:,|{_SET}| )\d{{3}}){{1,33}}(?!\d)|{_RUN}"
_VULGAR = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_SIGN = r"(?P<sign>-\s?|(?:minus|negative)\s)?(?:(?<=-)[$€£¥₹])?"
_COMMA = r"(?:,|\{,\})"
_BY_NOTATION = {
    # Where a comma may as well stand in a list, only what can hardly be one is a decimal: 0,5 and €1,50.
    "point": rf"0{_COMMA}{_RUN}|(?<=[$€£]){_RUN},\d\d|{_RUN},\d\d(?=\s?[$€£])",
    "comma": rf"{_RUN}{_COMMA}{_RUN}",
    "both": rf"0{_COMMA}{_RUN}|{_RUN}{_COMMA}(?:\d{{1,2}}|\d{{4,99}})",
}
_POWER = (
    r"(?:\s?(?:[x\u00d7*\u00b7]|\\times|\\cdot)\s?10(?:\^\{?\s?(?P<exponent>-?\d{1,3})(?!\d)\s?\}?|"
    r"\*\*(?P<starred>-?\d{1,3})(?!\d)|(?P<raised>\u207b?[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]{1,3})))"
)
_NAMED = "|".join(sorted((word for word in DIGIT_SCALES if word.isascii()), key=len, reverse=True))
_SIGNED = "|".join(word for word in DIGIT_SCALES if not word.isascii())
_SCALE = (
    rf"(?:\s?(?P<scale>{_SIGNED})|[\s-](?P<scale_word>{_NAMED})\b"
    r"(?:\s(?:and\s)?(?P<tail>\d{1,3})(?![\d/]|[.,]\d))?)"
)


def _latex(name: str) -> str:
    return (
        rf"\\[dtc]?frac\s?(?:\{{\s?(?P<{name}over>-?(?:{_WHOLE}))\s?\}}|(?P<{name}over_digit>\d))\s?"
        rf"(?:\{{\s?(?P<{name}under>{_WHOLE})\s?\}}|(?P<{name}under_digit>\d))"
    )


_MIXED = (
    rf"(?P<whole>{_RUN})(?:(?:\s|\\[,; ])?(?P<mark>[{_VULGAR}])"
    rf"|(?:\s|\\[,; ])(?:and\s)?(?P<mixed_top>\d{{1,4}})\s?/\s?(?P<mixed_bottom>\d{{1,4}})(?![\d/.,]\d|\d)"
    rf"|(?:\s|\\[,; ])?{_latex('mixed_')}|[- ]and[- ]{SHARE})|"
)


@cache
def _pattern(notation: str, mixed: bool) -> re.Pattern[str]:
    # Not a point on the plane, an interval or a set: (0,5) [0,5] {0,5}. Not the rest of a list: 1,2,3.
    comma = rf"(?<!\d,)(?!(?<=[(\[{{])\d+,\d+\s*[)\]}}])(?:{_BY_NOTATION[notation]})(?!,?\d)"
    groups = (
        rf"\d{{1,3}}(?:(?:{_SET}|[. ~])\d{{3}}){{1,33}}{_COMMA}{_RUN}(?![,\d])"
        rf"|\d{{1,2}}(?:,\d\d){{1,16}},\d{{3}}(?!,?\d)(?:\.{_RUN})?"
        rf"|[1-9]\d{{0,2}}(?:\.\d{{3}}){{2,33}}(?!\.?\d)"
        rf"|[1-9]\d{{0,2}}(?:[ ~]\d{{3}}){{1,33}}(?! ?\d|\w|\s?/\s?\d)(?:\.{_RUN})?"
    )
    thousands = rf"\d{{1,3}}(?:(?:,|{_SET})\d{{3}}){{1,33}}(?!\d)(?:\.{_RUN})?"
    # With a decimal comma 1,234 is no thousand.
    ordered = (groups, comma, thousands) if notation == "comma" else (groups, thousands, comma)
    return re.compile(
        rf"(?<![\w.^]){_SIGN}(?:(?:{'' if mixed else '(?!)'}{_MIXED}"
        rf"(?P<top>{'|'.join(ordered)}|{NUMBER}|\.{_RUN})(?:\s?/\s?(?P<bottom>{_WHOLE})|\sover\s(?P<below>{_WHOLE})|"
        rf"[\s-](?P<parts>{PLURAL_PARTS})\b)?|{_latex('')}|(?P<vulgar>[{_VULGAR}]))(?:{_POWER}|{_SCALE})?"
        rf"|{SPOKEN}|{ALONE}|{CARDINAL}(?:[- ]and[- ]{SHARE.replace('<', '<more_')})?{_SCALE.replace('<', '<more_')}?"
        rf")(?P<percent>{PERCENT})?",
        re.IGNORECASE,
    )


class Numeral(NamedTuple):
    """A number where it stands, its value, and what else it may mean where the language does not say."""

    match: re.Match[str]
    value: Fraction
    others: tuple[Fraction, ...] = ()

    @property
    def terms(self) -> tuple[Fraction, Fraction] | None:
        """Return the numerator and the denominator, as they are written, of what is a fraction in digits."""
        match = self.match
        if match["parts"]:
            return plain(match["top"]), Fraction(PARTS[match["parts"].lower()])
        top = match["over"] or match["over_digit"] or match["top"]
        bottom = match["bottom"] or match["below"] or match["under"] or match["under_digit"]
        return (abs(plain(top.lstrip("-"))), plain(bottom)) if top and bottom else None


def notation_of(language: str) -> str:
    """Return which sign stands before decimals in a language (ISO 639-1), or that either may."""
    if language in BOTH_LANGUAGES:
        return "both"
    return "comma" if language in COMMA_LANGUAGES else "point"


# The checks, the decontamination and the split read the same message one after the other.
@lru_cache(64)
def read(text: str, language: str = "") -> list[Numeral]:
    """Return the numbers of a text, in its order."""
    notation, text, place, found = notation_of(language), in_signs(text), 0, []
    while match := _pattern(notation, True).search(text, place):
        if match["whole"] and not _is_proper(match):
            # "4 10/3" is no mixed number.
            match = _pattern(notation, False).match(text, match.start()) or match
        value = _value(match, notation)
        if value is not None:
            found.append(Numeral(match, value, _others(match, value, notation)))
        place = max(match.end(), place + 1)
    return found


def read_at(text: str, language: str = "") -> Numeral | None:
    """Return the number that a text begins with."""
    first = next(iter(read(text, language)), None)
    return first if first and first.match.start() == 0 else None


def _is_proper(match: re.Match[str]) -> bool:
    fraction = _fraction(match)
    return fraction is not None and 0 <= fraction < 1


def _fraction(match: re.Match[str]) -> Fraction | None:
    """Return what stands behind the whole of a mixed number; None for a division by zero."""
    if match["mark"]:
        return vulgar(match["mark"])
    if match["share"]:
        return _share(match["times"], match["share"])
    if match["mixed_top"]:
        return _quotient(match["mixed_top"], match["mixed_bottom"])
    return _quotient(
        match["mixed_over"] or match["mixed_over_digit"], match["mixed_under"] or match["mixed_under_digit"]
    )


def _share(times: str, part: str) -> Fraction:
    return Fraction(UNITS.index(times.lower()) + 1 if times.lower() in UNITS else 1, PARTS[part.lower()])


def _quotient(top: str, bottom: str) -> Fraction | None:
    over, under = plain(top.lstrip("-")), plain(bottom)
    return None if under == 0 else over / under * (-1 if top.startswith("-") else 1)


def _value(match: re.Match[str], notation: str) -> Fraction | None:
    value = _unsigned(match, notation)
    return -value if value is not None and match["sign"] and _is_sign(match) else value


def _unsigned(match: re.Match[str], notation: str) -> Fraction | None:
    """Return the value of a match without its sign; None for a division by zero."""
    if match["words"]:
        # 'three quarters' is 3/4.
        value = Fraction(whole(match["words"]), PARTS[match["part"].lower()] if match["part"] else 1)
        value += _share(match["more_times"], match["more_share"]) if match["more_share"] else 0
        return _scaled(value, match["more_scale"] or match["more_scale_word"], match["more_tail"])
    if match["decimals"]:
        return spoken(match["units"], match["decimals"])
    if match["alone"]:
        return Fraction(1, PARTS[match["alone"].lower()])
    number = _in_digits(match, notation)
    if number is None:
        return None
    if power := match["exponent"] or match["starred"] or (match["raised"] or "").translate(SMALL_DIGITS):
        return number * Fraction(10) ** int(power)
    return _scaled(number, match["scale"] or match["scale_word"], match["tail"])


def _in_digits(match: re.Match[str], notation: str) -> Fraction | None:
    if match["whole"]:
        fraction = _fraction(match)
        return None if fraction is None else plain(match["whole"]) + fraction
    if match["vulgar"]:
        return vulgar(match["vulgar"])
    if not match["top"]:
        return _quotient(match["over"] or match["over_digit"], match["under"] or match["under_digit"])
    top, bottom = plain(match["top"], notation), match["bottom"] or match["below"]
    if match["parts"]:
        return top / PARTS[match["parts"].lower()]
    if bottom:
        under = plain(bottom)
        return top / under if under else None
    return top


def _scaled(value: Fraction, scale: str | None, tail: str | None) -> Fraction:
    return value * DIGIT_SCALES[scale.lower()] + int(tail or 0) if scale else value


def vulgar(character: str) -> Fraction:
    """Return the value of a fraction in one character."""
    # The exact fraction behind the floating-point value.
    return Fraction(unicodedata.numeric(character)).limit_denominator(10)


def plain(digits: str, notation: str = "point") -> Fraction:
    """Return the value of digits with their separators.

    >>> plain("1.234,5"), plain("1 500"), plain("1,234"), plain("1,234", "comma")
    (Fraction(2469, 2), Fraction(1500, 1), Fraction(1234, 1), Fraction(617, 500))
    """
    # Most numbers are plain digits, and a fraction is built from an integer in a third of the time.
    if digits.isdecimal():
        return Fraction(int(digits))
    digits = _SEPARATORS.sub("", digits.replace("{,}", ","))
    marks = [sign for sign in digits if sign in ".,"]
    if len(marks) > 1 or (marks and _groups(digits, notation)):
        digits = digits.replace(marks[0], "")
    return Fraction(digits.replace(",", "."))


_AMBIGUOUS = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")


def _groups(digits: str, notation: str) -> bool:
    # 1,234 and 1.234: a point stands between thousands only where a comma stands before the decimals.
    return bool(_AMBIGUOUS.fullmatch(digits)) and ("." in digits) == (notation == "comma")


def _others(match: re.Match[str], value: Fraction, notation: str) -> tuple[Fraction, ...]:
    """Return what else a number may mean: 1.234 in any language, 1 500 and 1,5 as two numbers, 3 quarters as coins."""
    top = match["top"]
    if match["mixed_top"] and "and" in match.group():
        return plain(match["whole"]), Fraction(int(match["mixed_top"]), int(match["mixed_bottom"]))
    if not top or match["bottom"] or match["below"]:
        return ()
    if match["parts"]:
        return (plain(top),)
    if notation == "both" and _AMBIGUOUS.fullmatch(top):
        # 5,000 is hardly ever 5, but 5.000 often 5000.
        return () if re.search(r",\d*0$", top) else (value / plain(top) * plain(top, "comma"),)
    if re.fullmatch(r"[\d ~]+", top) or (notation == "both" and re.fullmatch(r"[1-9]\d*,\d+", top)):
        pieces = re.split(r"[ ~,]", top)
        return tuple(plain(piece) for piece in pieces) if len(pieces) > 1 else ()
    return ()


LOOKED_BACK = 60  # signs before a number that may say what it is; a long text is not to be read again for each
_NUMBER_BEFORE = re.compile(rf"(?:\d|\)|\b[a-z]|\b(?:{'|'.join([*WORDS, *SCALES, *PARTS])}))\s*$", re.IGNORECASE)

# What a result stands behind: a minus apart from its number is a sign there, and elsewhere as well a dash.
_ANSWERED = re.compile(r"\b(?:is|are|be|was|gets?|got|gives?|makes?|equals|to|at|on|by|answer:?)\s$", re.IGNORECASE)


def _is_sign(match: re.Match[str]) -> bool:
    # "7 - 3" and "x -3" subtract, "= -3", "(-3" and "is -3" are negative: a minus after a number or a single letter is
    # an operator; one attached to its number after a word is a sign.
    before = match.string[max(0, match.start() - LOOKED_BACK) : match.start()]
    if match["sign"][0].isalpha():
        return match["sign"][0] in "nN" or _NUMBER_BEFORE.search(before) is None
    if re.search(r"[^\W\d_]{2}\s$" if len(match["sign"]) == 1 else _ANSWERED, before):
        return True
    last = before.rstrip()[-1:]
    return not (last.isalnum() or last == ")")


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
    digits = "".join(str(_SPOKEN_DIGITS[word]) for word in re.findall(r"[a-z]+", decimals.lower()))
    return whole(units or "") + Fraction(int(digits), 10 ** len(digits))
