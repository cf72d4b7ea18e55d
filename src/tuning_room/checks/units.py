"""Units of measurement by any of their names, and times of day in any of their forms."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

# Every name of a unit, the first of them the one by which it is compared. Names are without capitals; a unit with
# many of them has two lines.
_NAMES = """
m metre metres meter meters mtr mtrs mètre mètres metro metros метр метров 米
km kilometre kilometres kilometer kilometers kms kilomètre kilomètres kilómetro kilómetros км 公里 千米
cm centimetre centimetres centimeter centimeters cms zentimeter centimètre centimètres centímetro \u0441м 厘米
cm centímetros
mm millimetre millimetres millimeter millimeters мм 毫米
dm decimetre decimetres decimeter decimeters dezimeter
nm nanometre nanometres nanometer nanometers
in inch inches ″
ft foot feet \u2032
yd yard yards yds
mi mile miles
g gram grams gramme grammes gm gms gr gramm grammo grammi gramo gramos \u0433 克
kg kilogram kilograms kilogramme kilogrammes kilo kilos kgs kilogramm к\u0433 公斤 千克
mg milligram milligrams milligramme milligrammes
t tonne tonnes ton tons
lb pound pounds lbs
oz ounce ounces
l litre litres liter liters ltr ltrs 升
ml millilitre millilitres milliliter milliliters mls 毫升
cl centilitre centilitres centiliter centiliters
dl decilitre decilitres deciliter deciliters
gal gallon gallons
pt pint pints
h hour hours hr hrs hs stunde stunden std heure heures hora horas ч 小时 時間
min minute minutes mins minuten minuto minutos мин 分钟
s second seconds sec secs sekunde sekunden seconde secondes segundo segundos \u0441 秒
ms millisecond milliseconds
d day days tag tage tagen jour jours día días 天
wk week weeks wks
yr year years yrs
° deg degree degrees º ˚ grad degré degrés grado grados 度
°c celsius centigrade ℃
°f fahrenheit ℉
k kelvin kelvins
rad radian radians
n newton newtons
j joule joules
kj kilojoule kilojoules
cal calorie calories
kcal kilocalorie kilocalories
w watt watts
kw kilowatt kilowatts
v volt volts
a amp amps ampere amperes
ω ohm ohms Ω
hz hertz
khz kilohertz
mhz megahertz
pa pascal pascals
kpa kilopascal kilopascals
bar bars
atm atmosphere atmospheres
mol mole moles
ha hectare hectares
acre acres
b byte bytes
kb kilobyte kilobytes
mb megabyte megabytes
gb gigabyte gigabytes
bit bits
"""
_UNITS = {name: names[0] for names in map(str.split, _NAMES.strip().splitlines()) for name in names}
# What is written as one word and is a quotient.
_QUOTIENTS = {
    **dict.fromkeys(("kph", "kmh", "kmph"), (("km", 1), ("h", -1))),
    "mph": (("mi", 1), ("h", -1)),
    "mps": (("m", 1), ("s", -1)),
    "rpm": (("revolution", 1), ("min", -1)),
}
_POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻\u2212", "0123456789--")
# Single letters are variables where nothing says that they are units.
_VARIABLES = frozenset("abcdefijknopqrtuvwxyz")
_SHORT_CAPITALS = frozenset("NJWVAKΩ")

_WORD = re.compile(r"[°º˚]\s?[CFcf]\b|[^\W\d_¹²³⁰-₟]{1,20}|[°º˚℃℉\u2032″]")
_EXPONENT = re.compile(r"\s?(?:\^\{?|\*\*)\s?([-\u2212]?[1-9])\s?\}?|(⁻?[¹²³⁴])|([23])(?!\d|[.,]\d)")
_POWER_BEFORE = re.compile(r"(square|sq|cubic|cu)\b\.?\s?", re.IGNORECASE)
_POWER_BEHIND = re.compile(r"\s(squared|cubed)\b", re.IGNORECASE)
_SCALE_OF_DEGREES = re.compile(r"\s?(celsius|fahrenheit|centigrade)\b", re.IGNORECASE)
_LINK = re.compile(r"\s?(?:/|\bper\b|\bpro\b|\bpar\b|\bpor\b|\ban?\b(?=\s(?:hour|second|minute)))\s?")
_TIMES = re.compile(r"\s?(?:\\cdot|\\times|[·⋅\u00d7∙*])\s?|\s(?=\w{1,3}(?:\^\{?-|⁻))")

Unit = tuple[tuple[str, int], ...]


class _Factor(NamedTuple):
    """One unit of a compound, its exponent and where it ends."""

    powers: tuple[tuple[str, int], ...]
    end: int


@lru_cache(256)
def unit_at(text: str) -> tuple[Unit, int]:
    """Return the unit that a text begins with, and where it ends; (), 0 where there is none.

    >>> unit_at("km/h, right") == (unit_at("kilometres per hour")[0], 4), unit_at("lines")
    (True, ((), 0))
    >>> unit_at("sq cm")[0] == unit_at("cm^2")[0] == unit_at("square centimetres")[0]
    True
    """
    total: dict[str, int] = {}
    place = len(text) - len(text.lstrip(" \u00a0-"))
    side, end = 1, 0
    for _ in range(6):
        factor = _factor_at(text, place)
        if factor is None:
            break
        for name, exponent in factor.powers:
            total[name] = total.get(name, 0) + side * exponent
        end = factor.end
        if link := _LINK.match(text, end):
            side, place = -1, link.end()
        elif times := _TIMES.match(text, end):
            place = times.end()
        else:
            break
    return tuple(sorted(total.items())), end


def _factor_at(text: str, place: int) -> _Factor | None:
    power, place = _named_power(text, place)
    match = _WORD.match(text, place)
    if not match:
        return None
    name = match.group().lower().replace(" ", "").replace("º", "°").replace("˚", "°")
    if name in _QUOTIENTS:
        return _Factor(_QUOTIENTS[name], match.end())
    if name not in _UNITS:
        return None
    known, end = _UNITS[name], match.end()
    if known == "°" and (scale := _SCALE_OF_DEGREES.match(text, end)):
        known, end = _UNITS[scale[1].lower()], scale.end()
    if exponent := _EXPONENT.match(text, end):
        power = int(next(filter(None, exponent.groups())).translate(_RAISED))
        end = exponent.end()
    elif after := _POWER_BEHIND.match(text, end):
        power, end = _POWERS[after[1].lower()], after.end()
    return _Factor(((known, power),), end)


def _named_power(text: str, place: int) -> tuple[int, int]:
    """Return the power of "square" or "cu." and where the unit begins behind it."""
    before = _POWER_BEFORE.match(text, place)
    return (_POWERS[before[1].lower()], before.end()) if before else (1, place)


def whole_unit(text: str) -> Unit | None:
    """Return the unit that a text is, the full stop of a short form left out; None for a variable and anything else."""
    text = text.strip()
    unit, end = unit_at(text)
    if not unit or text[end:].strip(".") or (len(text) == 1 and text in _VARIABLES):
        return None
    return None if len(text) == 1 and text.isupper() and text not in _SHORT_CAPITALS else unit


_HALVES = ("half", "spoken_half", "bare_half", "full_half", "only_half")


def _half_day(name: str) -> str:
    return rf"(?:\s?(?P<{name}>[ap])\.?\s?m\b\.?|\sin\sthe\s(?P<{name}_named>morning|afternoon|evening))"


_NUMERAL = r"(?<![\w.,:/])(?P<hour>[01]?\d|2[0-3])"
_CLOCK = re.compile(
    rf"{_NUMERAL}\s?(?:[:\uff1a\u2236.]|h(?:ours?|rs?)?(?:\sand)?|uhr|heures?|時|时|点|點|시)\s?"
    rf"(?P<minute>[0-5]\d)(?!\d|[.,:]\d{{3}})(?::[0-5]\d)?(?:\s?(?:min(?:ute)?s?\b|分|분))?{_half_day('half')}?"
    r"|(?<![\w.,:/])(?P<military>[01]\d|2[0-3])(?P<military_minute>[0-5]\d)\s?(?:hours|hrs|h)\b"
    r"|(?:\b(?P<part>half|quarter|[0-5]?\d)(?:\s?min(?:ute)?s?)?)[\s-](?P<side>past|after|to|before|till)[\s-]"
    rf"(?P<spoken>1[0-2]|[1-9])(?![\d.,:]\d|\d){_half_day('spoken_half')}?"
    rf"|(?<![\w.,:/])(?P<bare>1[0-2]|[1-9])[\s-](?P<bare_minute>[1-5]\d)(?![\w/]|[.,:]\d)"
    rf"{_half_day('bare_half')}?"
    r"|(?<![\w.,:/])(?P<full>[01]?\d|2[0-3])(?:\s?(?:o['\u2019]?\s?clock|uhr|時|点|點|시)(?!\w)"
    rf"{_half_day('full_half')}?|{_half_day('only_half')})"
    r"|\b(?P<named>noon|midday|midnight)\b",
    re.IGNORECASE,
)


class Clock(NamedTuple):
    """A time of day: minutes past twelve, and which half of the day, where that is said."""

    minutes: int
    half: str
    by_24: bool

    def may_be(self, gold: "Clock") -> bool:
        """Say whether this may be the time that is wanted; by 24 hours it is another one than by twelve."""
        if self.minutes != gold.minutes:
            return False
        return self.half == gold.half if self.half and gold.half else not (self.by_24 and not gold.half)


def clocks(text: str) -> Iterator[tuple[Clock, re.Match[str]]]:
    """Yield the times of day in a text whose number words are digits, with their places."""
    for match in _CLOCK.finditer(text):
        yield _clock(match), match


def clock(text: str) -> Clock | None:
    """Return the time of day that a text is; None for any other text, such as 9.30 or 5 to 2."""
    match = _CLOCK.fullmatch(text.strip())
    if not match or (match["bare"] and not match["bare_half"]) or ("." in match.group() and not match["half"]):
        return None
    side = (match["side"] or "past").lower()
    return _clock(match) if side == "past" or not match["part"].isdecimal() else None


def _clock(match: re.Match[str]) -> Clock:
    if match["named"]:
        return Clock(0, "a" if match["named"].lower() == "midnight" else "p", False)
    half = next(filter(None, (match[name] or match[f"{name}_named"] for name in _HALVES)), "").lower()
    half = {"morning": "a", "afternoon": "p", "evening": "p"}.get(half, half)
    hour = int(match["hour"] or match["military"] or match["spoken"] or match["bare"] or match["full"])
    minute = int(match["minute"] or match["military_minute"] or match["bare_minute"] or 0)
    if match["spoken"]:
        part = {"half": 30, "quarter": 15}.get(match["part"].lower()) or int(match["part"])
        minute = part if match["side"].lower() in ("past", "after") else -part
    by_24 = hour > 12 and not half
    return Clock((hour % 12 * 60 + minute) % 720, "p" if by_24 else half, by_24)
