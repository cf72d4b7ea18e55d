"""How numbers are set: signs and digits of any script, separators by language, and what only looks like a number."""

import re

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
    """Return a text of the same length with one minus, one fraction stroke, one apostrophe, one decimal point."""
    return text if text.isascii() else text.translate(_SIGNS)


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


_LABELS = (
    r"steps?|question|exercise|problem|page|chapter|section|figure|table|version|slide|lesson|unit|room|task|hint|"
    r"example|schritt|aufgabe|frage|seite|kapitel|exercice|\u00e9tape|chapitre|paso|ejercicio|p\u00e1gina|cap\u00edtulo"
)
_NO_NUMBERS = re.compile(
    r"(?:https?://|www\.)\S+"
    r"|\b\d{4}-\d{1,2}-\d{1,2}\b|\b\d{1,2}(?P<dot>[/.])\d{1,2}(?P=dot)(?:\d{4}|\d{2})\b"
    r"|\b\d{1,2}:[0-5]\d(?::[0-5]\d)?\b|\b\d{1,2}[.h][0-5]\d\s?(?:am|pm|a\.m|p\.m|uhr|o'clock)\b"
    r"|(?<![\d.])(?!\d{1,3}(?:\.\d{3})+\b)\d{1,4}(?:\.\d{1,4}){2,9}(?![\d,])"
    r"|\b\d{3}-\d{4}\b|\+\d[\d\s()-]{6,20}\d"
    r"|(?<!this )(?<!that )(?<!last )(?<!next )(?<!each )(?<!first )(?<!one )"
    rf"\b(?:{_LABELS})\s\d{{1,4}}(?:\.\d{{1,3}})*\b"
    r"(?!\s?[%=+*/,^\u00d7]|\.\d)|(?<!\w)#\d{1,4}\b|\b\d{1,6}(?:st|nd|rd|th)\b|\b[a-z]{2,20}-\d{1,6}\b",
    re.IGNORECASE,
)
_MARKER = re.compile(r"^[ \t]*(?:[-*][ \t]+)?(?:\*\*)?\d{1,2}[.)](?=\s+\S)", re.MULTILINE)


def without_labels(text: str) -> str:
    """Return a text without what has digits and is no number: dates, times, versions, addresses, labels, list marks.

    >>> without_labels("Step 2: is it 12 on 27/11/2026?"), without_labels("1. Read.\\\\n2. Draw 12.")
    (' : is it 12 on  ?', '1. Read.\\\\n2. Draw 12.')
    """
    if len(_MARKER.findall(text)) > 1:
        text = _MARKER.sub(" ", text)
    return _NO_NUMBERS.sub(" ", text)
