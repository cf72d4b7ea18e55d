"""Phone numbers as people write them: phonenumbers says which digits could be dialled, the words what they are.

A number counts where the words around it say so, or where it is written as only phone numbers are: with a country
code, with the trunk zero of its region, or in groups as its region writes them, and without arithmetic next to it.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.dataset import cues

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

FEWEST, MOST = 7, 17  # digits, with the prefix of a call abroad

_SPACES = re.compile(r"[^\S\n]|[\u200b-\u200f\u2060\u202a-\u202e\ufeff]")
_DASHES = re.compile(r"[\u2010-\u2015\u2212\u30fc\ufe58\ufe63\uff0d\u2043]")
_WIDE = str.maketrans("\uff0b\uff08\uff09\uff0e\uff0f\u00b7\u2022\u30fb\u2044\u2215", "+()./...//")
# The library looks at every digit of a text; a text without such a run has no phone number.
_DIGITS = re.compile(r"(?:\d[\W_]{0,4}){7}")
_RUN = re.compile(r"(?<![0-9A-Za-z_])(?<![0-9]\.)(?:\(?\+ ?)?\(?\d(?:[ .\-/()]{0,4}\d)+(?![0-9]|[A-Za-z_]{3})")
_EXTENSION = re.compile(
    r"[ ,;]{0,2}(?:ext(?:ension)?|durchwahl|poste|dw|x|#|доб|int|interno|ramal|内線)[. :=]{0,2}\d{1,6}\b", re.I
)
_OR = re.compile(r"(?<=\d\d) ?/ ?$")
_APART = re.compile(r"(?<=\d) [/|\-] (?=[+(]?\d)")  # between two numbers
_NO_CALL = re.compile(
    r"\d{1,2}([./-])\d{1,2}\1(?:19|20)\d{2}|(?:19|20)\d{2}([./-])\d{1,2}\2\d{1,2}"  # a date
    r"|(?:1[5-9]|20)\d{2} ?- ?(?:1[5-9]|20)\d{2}"  # years
    r"|\d{1,5}\.\d{1,5}\.\d{1,5}\.\d{1,5}"  # an address of the internet, or a version
    r"|\d{1,3}(?:\.\d{3})+|(?:0|[1-9]\d*)\.\d+"  # thousands, a decimal
    r"|(?:\d[ .\-/]){5}.*"  # digits one by one
    r"|\d{5}-\d{3,4}"  # postcodes of Brazil and the United States
)
_ARITHMETIC_BEFORE = re.compile(
    r"(?:[-+*/^=<>%\u00d7\u00f7\u00b7\u2212\d)]|(?<![^\W\d_])[^\W\d_])\s*\(?$"
    r"|\b(?:what is|what's|compute|calculate|evaluate|simplify|solve|subtract|add|plus|minus|times|mod"
    r"|sqrt|cbrt|abs|exp|log|ln|sin|cos|tan|min|max|gcd|lcm)\s*\(?$",
    re.IGNORECASE,
)
_ARITHMETIC_AFTER = re.compile(
    r"\s*\)?\s*(?:[+*^=<>%\u00d7\u00f7\u00b7]|/(?!\s*(?:[^\W\d_]{3}|\(?0\d|\+\d|\(\d{2,5}\)\s?\d))|[-\u2212]\s*(?:[\d(]|[a-z]\b)|[x:]\s*[\d(]|\d|(?:plus|minus|times|divided|equals|mod)\b)",
    re.IGNORECASE,
)
# Of a number within: spaces around a sign, a division, a product with a bracket.
_SIGN_WITHIN = re.compile(r"\s-|-\s|\)\s*x|x\s*\(")
_DIVISION = re.compile(r"^[^+0].*/")
_PART_BEFORE, _PART_AFTER = re.compile(r"(?<!\d)\d{1,3},$"), re.compile(r"\.\d")  # of a decimal
_PAIRS = re.compile(r"\d\d(?: \d\d){2,}")  # so do people write numbers of France, and lists of numbers
_AREA_CODE = re.compile(r"\(\d{2,5}\) ?\d")
_GROUPED = re.compile(r"\(\d+\)|\d[-.]\d+[-.]\d|^0\d+[-/]\d")


class _Run(NamedTuple):
    start: int
    end: int


def phones(text: str, region: str) -> Iterator[tuple[int, int]]:
    """Yield where the phone numbers of a text stand; those without a country code are read as dialled in a region."""
    plain = as_ascii(text)
    if not _DIGITS.search(plain):
        return
    for run in _runs(plain):
        if found := _phone_in(plain, run, region):
            more = _EXTENSION.match(plain, found.end)
            yield found.start, more.end() if more else found.end


def as_ascii(text: str) -> str:
    """Return a text with its digits, signs and spaces in ASCII, each character in its place.

    >>> as_ascii("\uff10\uff13\uff0d\u0661\u0662\u202f7")
    '03-12 7'
    """
    if text.isascii():
        return text.replace("\t", " ")
    digits = {ord(char): str(unicodedata.decimal(char)) for char in set(text) if char.isdecimal()}
    return _DASHES.sub("-", _SPACES.sub(" ", text.translate(digits).translate(_WIDE)))


def _runs(text: str) -> Iterator[_Run]:
    for match in _RUN.finditer(text):
        if _digits(match[0]) > 3 * MOST:
            continue
        start = match.start()
        for gap in _APART.finditer(text, *match.span()):
            if min(_digits(text[start : gap.start()]), _digits(text[gap.end() : match.end()])) >= FEWEST:
                yield _closed(text, start, gap.start())
                start = gap.end()
        if _digits(text[start : match.end()]) >= FEWEST:
            yield _closed(text, start, match.end())


def _closed(text: str, start: int, end: int) -> _Run:
    """Return a run without a bracket that nothing closes."""
    raw = text[start:end]
    return _Run(start + (raw.startswith("(") and ")" not in raw), end)


def _digits(text: str) -> int:
    return sum(char.isdigit() for char in text)


def _phone_in(text: str, run: _Run, region: str) -> _Run | None:
    cue, later = cues.before(text, run.start), cues.after(text, run.end)
    if later and later.category == "unit" and later.is_adjacent:
        return None
    if cue and cue.category == "phone" and cue.is_adjacent:
        return next((part for part in _beginnings(text, run) if _may_be_dialled(text, part, region)), None)
    if _NO_CALL.fullmatch(text[run.start : run.end]) or _is_arithmetic(text, run):
        return None
    said = bool(cue and cue.category == "phone") or bool(later and later.category == "phone_after")
    if not said and ((cue and cue.category == "other") or (later and later.category == "other")):
        return None
    return run if _written_as_phone(text[run.start : run.end], region, said) else None


def _beginnings(text: str, run: _Run) -> Iterator[_Run]:
    """Yield a run, and it without its last groups: what stands behind a space may be another number."""
    end = run.end
    while end > run.start and _digits(text[run.start : end]) >= FEWEST:
        yield _Run(run.start, end)
        end = text.rfind(" ", run.start, end)


def _may_be_dialled(text: str, run: _Run, region: str) -> bool:
    import phonenumbers

    raw = text[run.start : run.end]
    number = _parsed(raw, region)
    return bool(number and phonenumbers.is_possible_number(number) and not _NO_CALL.fullmatch(raw))


def _is_arithmetic(text: str, run: _Run) -> bool:
    raw, earlier = text[run.start : run.end], text[max(0, run.start - cues.BEFORE) : run.start]
    if raw[0] in "(+0":
        # Two numbers, not a quotient: neither a divisor nor a dividend begins so.
        earlier = _OR.sub(",", earlier)
    if raw.isdigit() and _PART_BEFORE.search(earlier):
        return True
    if _SIGN_WITHIN.search(raw) or _DIVISION.search(raw) or _ARITHMETIC_BEFORE.search(earlier):
        return True
    return bool(_ARITHMETIC_AFTER.match(text, run.end) or _PART_AFTER.match(text, run.end))


def _written_as_phone(raw: str, region: str, said: bool) -> bool:
    """Tell whether a number is a valid one that is written as such, or that the words near it call a phone number."""
    import phonenumbers

    number = _parsed(raw, region)
    if number is None:
        return False
    if raw.lstrip("(").startswith("+"):
        return phonenumbers.is_possible_number(number)
    leads = raw.lstrip("(").startswith("0")
    # The numbers that are reserved for films are valid in few regions.
    if said and phonenumbers.is_possible_number(number) and (leads or _GROUPED.search(raw)):
        return True
    if not phonenumbers.is_valid_number(number):
        return False
    if said or _AREA_CODE.match(raw):
        return True
    # Where numbers begin with a zero, one without it is no phone number.
    return leads and not _is_list(raw, number) if _trunk(region) == "0" else bool(_GROUPED.search(raw))


def _is_list(raw: str, number: "PhoneNumber") -> bool:
    """Tell whether pairs of digits are a list: their region writes no number so, or they are steps of a sequence."""
    import phonenumbers

    if not _PAIRS.fullmatch(raw):
        return False
    pairs = [int(pair) for pair in raw.split()]
    steps = {later - earlier for earlier, later in pairwise(pairs)}
    return len(steps) == 1 or raw != phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)


@cache
def _trunk(region: str) -> str:
    import phonenumbers

    return phonenumbers.ndd_prefix_for_region(region, True) or ""


def _parsed(raw: str, region: str) -> "PhoneNumber | None":
    import phonenumbers

    if _digits(raw) > MOST:
        return None
    try:
        # So are calls abroad begun in most of the world, and people write it elsewhere too.
        return phonenumbers.parse(re.sub("^00", "+", raw), region)
    except phonenumbers.NumberParseException:
        return None
