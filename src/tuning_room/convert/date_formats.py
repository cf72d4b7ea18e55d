"""Dates and times by a format code of a spreadsheet (ECMA-376, 18.8.31): 46082 by 'yyyy-mm-dd' is '2026-03-01'.

A date is a number of days, counted from 1900 or 1904. Knows nothing of workbooks.
"""

import datetime as dt
import re
from collections.abc import Sequence
from typing import NamedTuple

from tuning_room.convert.format_codes import Token

SECONDS_A_DAY = 86400
# Day 60 of the system of 1900 is a 29 February that never was.
LEAP_FAULT = 60
# The last day that a spreadsheet shows, 9999-12-31.
LAST_DAY = 2958465
BUDDHIST = 543
ISO_DATE, ISO_TIME = "yyyy-mm-dd", "hh:mm:ss"
# What stands here is shown as the reader's own system shows dates: nothing in the file says how.
SYSTEM = re.compile(r"\[\$-(?:f800|x-sysdate)\]|^mm-dd-yy$|^m/d/yy$", re.IGNORECASE)
SYSTEM_TIME = re.compile(r"\[\$-(?:f400|x-systime)\]", re.IGNORECASE)
SYSTEM_BOTH = re.compile(r"^m/d/yy h:mm$", re.IGNORECASE)
MONTHS = "January February March April May June July August September October November December".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


class Moment(NamedTuple):
    """A number of days, taken apart; `total` is all of it in seconds."""

    year: int
    month: int
    day: int
    weekday: int
    seconds: int
    fraction: float
    total: float


def system_code(code: str) -> str:
    """Return a format code with ISO's order of a date where the code leaves it to the reader's system."""
    if SYSTEM_BOTH.search(code):
        return f"{ISO_DATE} hh:mm"
    if SYSTEM.search(code):
        return ISO_DATE
    return ISO_TIME if SYSTEM_TIME.search(code) else code


def render_date(tokens: Sequence[Token], serial: float, *, is_1904: bool) -> str | None:
    """Return a number of days as the tokens of a format show it; None for a number that is no date."""
    if not 0 <= serial < LAST_DAY + 1:
        return None
    decimals = next((token.text.count("0") for token in tokens if token.kind == "fraction"), 0)
    moment = _moment(serial, decimals, is_1904=is_1904)
    is_half_day = any(token.kind == "meridiem" for token in tokens)
    return "".join(_part(token, moment, is_half_day=is_half_day) for token in _with_minutes(tokens))


def _moment(serial: float, decimals: int, *, is_1904: bool) -> Moment:
    total = round(serial * SECONDS_A_DAY, decimals)
    days, rest = divmod(total, SECONDS_A_DAY)
    seconds = int(rest)
    number = int(days) + (1462 if is_1904 else 0)
    if number == 0:
        # As spreadsheets write the day before the first one.
        return Moment(1900, 1, 0, 5, seconds, rest - seconds, total)
    date = dt.date(1899, 12, 30) + dt.timedelta(days=number + (number <= LEAP_FAULT))
    weekday = (number + 5) % 7
    return Moment(date.year, date.month, date.day, weekday, seconds, rest - seconds, total)


def _with_minutes(tokens: Sequence[Token]) -> list[Token]:
    """Return tokens with each 'm' that is a minute, behind an hour or before a second, marked as one."""
    found = list(tokens)
    letters = ["", *(token.text[0] if token.kind in ("date", "elapsed") else "" for token in tokens), ""]
    places = [i for i, letter in enumerate(letters) if letter]
    for before, here, after in zip([0, *places], places, [*places[1:], 0], strict=False):
        is_minute = letters[before] == "h" or letters[after] == "s"
        if letters[here] == "m" and is_minute and found[here - 1].kind == "date":
            found[here - 1] = found[here - 1]._replace(kind="minutes")
    return found


def _part(token: Token, moment: Moment, *, is_half_day: bool) -> str:
    hour, minute = divmod(moment.seconds // 60, 60)
    width = len(token.text)
    match token.kind:
        case "date":
            return _date_part(token.text, moment, (hour - 1) % 12 + 1 if is_half_day else hour)
        case "minutes":
            return f"{minute:0{min(width, 2)}d}"
        case "elapsed":
            unit = {"h": 3600, "m": 60, "s": 1}[token.text[0]]
            return f"{int(moment.total // unit):0{width}d}"
        case "fraction":
            return f"{moment.fraction:.{token.text.count('0')}f}"[1:]
        case "meridiem":
            names = token.text.split("/")
            return names[hour >= 12]
        case _:
            # In a date, what would be a digit of a number is itself.
            return token.text


def _date_part(text: str, moment: Moment, hour: int) -> str:
    """Return a run of one letter: 'yyyy', 'mmm', 'd'."""
    letter, width = text[0], len(text)
    if letter in "ye":
        return f"{moment.year % 100:02d}" if width <= 2 and letter == "y" else f"{moment.year:04d}"
    if letter == "b":
        return f"{(moment.year + BUDDHIST) % 100:02d}" if width <= 2 else str(moment.year + BUDDHIST)
    if letter in "md" and width > 2:
        name = MONTHS[moment.month - 1] if letter == "m" else DAYS[moment.weekday]
        return name[:3] if width == 3 else name[:1] if letter == "m" and width == 5 else name
    number = {"m": moment.month, "d": moment.day, "h": hour, "s": moment.seconds % 60}.get(letter)
    return "" if number is None else f"{number:0{min(width, 2)}d}"
