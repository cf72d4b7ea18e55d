"""Values as a spreadsheet shows them: 0.475 by the format code '0.0%' is '47.5%'.

The rules are those of ECMA-376, 18.8.31. Separators are the English ones, which is how codes are written; the names of
months and days are English too. Knows nothing of workbooks.
"""

import operator
import re
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from tuning_room.convert.date_formats import render_date, system_code
from tuning_room.convert.format_codes import Token, sections, tokens

# A spreadsheet keeps fifteen digits, and shows a number without a format in eleven characters.
DIGITS = 15
WIDTH = 11
PLAIN_DIGITS = 10
# Below this if it is too long, or from 10^15 on, a number without a format is written with an exponent.
LEAST_PLAIN = Decimal("1E-4")
MOST_PLAIN = Decimal("1E15")
# So that no code can ask for a text of any length.
MOST_DECIMALS = 30
LONGEST_CODE = 255
EXACT = Context(prec=400)
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq, "<>": operator.ne,
}  # fmt: skip


class NumberPart(NamedTuple):
    """A part of a format: which numbers it is for, and whether it has taken their sign."""

    tokens: list[Token]
    holds: Callable[[float], bool]
    drops_sign: bool


class Format(NamedTuple):
    """A format code: its parts for numbers, in the order in which they are tried, and the one for text if any."""

    numbers: list[NumberPart]
    text: list[Token] | None


def shown(value: float | bool | str, code: str, *, is_1904: bool = False) -> str:
    """Return a value as a spreadsheet shows it under a format code; dates are numbers of days."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    parsed = _parsed(code if 0 < len(code) <= LONGEST_CODE else "General")
    if isinstance(value, str):
        return value if parsed.text is None else _with_text(parsed.text, value)
    section = next((part for part in parsed.numbers if part.holds(value)), None)
    if section is None:
        # A format for text alone takes numbers too; else no condition holds for this one.
        return plain(value) if parsed.numbers or parsed.text is None else _with_text(parsed.text, plain(value))
    number = abs(value) if section.drops_sign else value
    return " ".join(_rendered(section.tokens, number, is_1904=is_1904).split())


def plain(value: float) -> str:
    """Return a number as a spreadsheet shows it without a format: in eleven characters, whole numbers with all digits.

    A spreadsheet writes a whole number of twelve digits or more with an exponent; here an account number stays one.
    """
    number = _decimal(value)
    size = abs(number)
    if size == 0:
        return "0"
    is_short = len(f"{size.normalize():f}") <= WIDTH
    if size >= MOST_PLAIN or (size < LEAST_PLAIN and not is_short):
        mantissa, _, exponent = f"{number:.5E}".partition("E")
        return f"{_trimmed(mantissa)}E{exponent[0]}{exponent[1:]:0>2}"
    decimals = max(0, PLAIN_DIGITS - 1 - max(0, size.adjusted()))
    return _trimmed(f"{_rounded(number, decimals):f}")


def _trimmed(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


@lru_cache(maxsize=4096)
def _parsed(code: str) -> Format:
    parts = [tokens(part) for part in sections(system_code(code))]
    text = None
    if len(parts) == 4 or any(token.kind == "text" for token in parts[-1]):
        text = parts.pop()
    return Format([_section(index, parts) for index in range(len(parts))], text)


def _section(index: int, parts: Sequence[list[Token]]) -> NumberPart:
    """Return a part with the numbers that it is for: those of its condition, or by its place."""
    kept = [token for token in parts[index] if token.kind != "condition"]
    stated = [token.text for token in parts[index] if token.kind == "condition"]
    any_stated = any(token.kind == "condition" for part in parts for token in part)
    if stated:
        match = re.match(r"(<>|<=|>=|<|>|=)(.*)", stated[0].replace(" ", ""))
        assert match is not None
        compare, limit = COMPARE[match[1]], _limit(match[2])
        is_negative = (match[1] == "<" and limit <= 0) or (match[1] in ("<=", "=") and limit < 0)
        return NumberPart(kept, lambda value: compare(value, limit), is_negative)
    if len(parts) == 1 or index == len(parts) - 1:
        # The last part is for what is left: zero, or negative numbers too.
        is_negative = len(parts) == 2 and index == 1 and not any_stated
        return NumberPart(kept, lambda value: True, is_negative)
    if index == 0:
        return NumberPart(kept, (lambda value: value >= 0) if len(parts) == 2 else (lambda value: value > 0), False)
    return NumberPart(kept, lambda value: value < 0, True)


def _limit(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _with_text(parts: Sequence[Token], value: str) -> str:
    return "".join(value if token.kind == "text" else token.text for token in parts)


def _rendered(parts: list[Token], value: float, *, is_1904: bool) -> str:
    kinds = {token.kind for token in parts}
    if kinds & {"date", "elapsed", "meridiem"}:
        date = render_date(parts, value, is_1904=is_1904)
        return plain(value) if date is None else date
    sign = "-" if value < 0 else ""
    number = abs(_decimal(value))
    if "general" in kinds:
        words = [plain(abs(value)) if token.kind == "general" else token.text for token in parts]
        return sign + "".join(words)
    if not kinds & {"digit"}:
        return (sign if parts else "") + "".join(token.text for token in parts)
    number = number * Decimal(100) ** sum(token.kind == "percent" for token in parts)
    if "slash" in kinds and _is_fraction(parts):
        return sign + _fraction(parts, number)
    if "exponent" in kinds:
        return sign + _scientific(parts, number)
    return sign + _fixed(parts, number)


def _decimal(value: float) -> Decimal:
    return Decimal(f"{value:.{DIGITS}g}") if isinstance(value, float) else Decimal(value)


def _rounded(number: Decimal, decimals: int) -> Decimal:
    # Away from zero, as spreadsheets do, and not to the even digit.
    return number.quantize(Decimal(1).scaleb(-min(decimals, MOST_DECIMALS)), ROUND_HALF_UP, EXACT)


# Numbers with a point


def _fixed(parts: list[Token], number: Decimal) -> str:
    """Return a number in its places; literal text may stand between them: '000-00'."""
    before, after = _at_point(parts)
    scale = _trailing_commas(before) + _trailing_commas(after)
    decimals = sum(token.kind == "digit" for token in after)
    number = _rounded(number.scaleb(-3 * scale, EXACT), decimals)
    whole, _, rest = f"{number:f}".partition(".")
    digits = whole.lstrip("0")
    return _whole(before, digits) + _decimals(after, rest)


def _at_point(parts: list[Token]) -> tuple[list[Token], list[Token]]:
    """Return what stands before and behind the decimal point, which goes with the latter."""
    place = next((i for i, token in enumerate(parts) if token.kind == "point"), len(parts))
    return parts[:place], parts[place:]


def _trailing_commas(parts: Sequence[Token]) -> int:
    """Return how many commas follow the last digit: each divides by a thousand."""
    count = 0
    for token in reversed(parts):
        if token.kind == "digit":
            return count
        count += token.kind == "comma"
    return 0


def _whole(parts: Sequence[Token], digits: str) -> str:
    """Return the part before the point: digits fill their places from the right, the first place takes the rest."""
    places = [i for i, token in enumerate(parts) if token.kind == "digit"]
    if not places:
        return "".join(t.text for t in parts if t.kind != "comma") + digits
    groups = any(token.kind == "comma" for token in parts[places[0] : places[-1]])
    written, rest, count = "", digits, 0
    for index in reversed(range(len(parts))):
        token = parts[index]
        if token.kind != "digit":
            written = ("" if token.kind == "comma" else token.text) + written
            continue
        taken = len(rest) if index == places[0] else 1
        filled = rest[-taken:] if taken and rest else ""
        rest = rest[: len(rest) - len(filled)]
        filled = filled or {"0": "0", "?": " "}.get(token.text, "")
        for digit in reversed(filled):
            written = digit + ("," if groups and count and count % 3 == 0 and digit != " " else "") + written
            count += 1
    return written


def _decimals(parts: Sequence[Token], digits: str) -> str:
    """Return the point and what is behind it: '#' leaves out the zeros at the end, '?' puts a space for each."""
    written, places, needed = "", sum(token.kind == "digit" for token in parts), False
    digits = digits.ljust(places, "0")
    for token in reversed(parts):
        if token.kind != "digit":
            written = ("" if token.kind == "comma" else token.text) + written
            continue
        places -= 1
        needed = needed or digits[places] != "0" or token.text == "0"
        written = (digits[places] if needed else {"?": " "}.get(token.text, "")) + written
    return written


# Numbers with an exponent


def _scientific(parts: list[Token], number: Decimal) -> str:
    place = next(i for i, token in enumerate(parts) if token.kind == "exponent")
    before, after = parts[:place], parts[place + 1 :]
    whole, rest = _at_point(before)
    period = max(1, sum(token.kind == "digit" for token in whole))
    decimals = sum(token.kind == "digit" for token in rest)
    exponent = _exponent(number, period)
    if _rounded(number.scaleb(-exponent, EXACT), decimals) >= Decimal(10) ** period:
        exponent += period
    sign = "-" if exponent < 0 else parts[place].text[1].replace("-", "")
    mantissa = _fixed(before, number.scaleb(-exponent, EXACT))
    return f"{mantissa}E{sign}{_whole(after, str(abs(exponent)).lstrip('0'))}"


def _exponent(number: Decimal, period: int) -> int:
    return number.adjusted() // period * period if number else 0


# Fractions


def _is_fraction(parts: Sequence[Token]) -> bool:
    """Say whether a stroke stands between digits: a numerator and a denominator."""
    place = next(i for i, token in enumerate(parts) if token.kind == "slash")
    behind = next((token for token in parts[place + 1 :] if token.text.strip()), None)
    return any(t.kind == "digit" for t in parts[:place]) and (
        behind is not None and (behind.kind == "digit" or behind.text.isdecimal())
    )


def _fraction(parts: list[Token], number: Decimal) -> str:
    """Return a number as '1 1/2', or '3/2' where the format has no place for the whole."""
    place = next(i for i, token in enumerate(parts) if token.kind == "slash")
    start = place
    while start and parts[start - 1].kind == "digit":
        start -= 1
    end = place + 1
    while end < len(parts) and (parts[end].kind == "digit" or parts[end].text.isdecimal()):
        end += 1
    has_whole = any(token.kind == "digit" for token in parts[:start])
    whole, above, below = _divided(number, "".join(t.text for t in parts[place + 1 : end]), has_whole=has_whole)
    tail = "".join(token.text for token in parts[end:])
    if has_whole:
        front = _whole(parts[:start], str(whole) if whole or not above else "")
        return f"{front}{f'{above}/{below}' if above else ''}{tail}"
    return "".join(token.text for token in parts[:start]) + f"{above}/{below}{tail}"


def _divided(number: Decimal, denominator: str, *, has_whole: bool) -> tuple[int, int, int]:
    """Return the whole, the numerator and the denominator that come nearest to a number."""
    exact = Fraction(number)
    whole = int(exact) if has_whole else 0
    fixed = denominator.isdecimal() and bool(denominator.strip("0"))
    if fixed:
        below = int(denominator)
        above = int((exact - whole) * below + Fraction(1, 2))
    else:
        nearest = (exact - whole).limit_denominator(10 ** min(len(denominator), DIGITS) - 1)
        above, below = nearest.numerator, nearest.denominator
    if has_whole and above == below:
        return whole + 1, 0, below
    return whole, above, below
