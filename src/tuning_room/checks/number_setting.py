"""How numbers are set: a text as a reader sees its numbers, without HTML, Markdown and LaTeX, in one typography."""

import html
import re
from decimal import Decimal
from fractions import Fraction

# Bounded, since a character with thousands of digits is none and cannot be computed with.
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_TAGS = (
    "a|abbr|b|big|bdi|br|code|dd|del|div|dl|dt|em|font|h[1-6]|i|ins|kbd|li|mark|math|mfrac|mn|mo|mrow|ol|p|pre|q|s|samp|"
    "small|span|strong|sub|sup|table|tbody|td|th|tr|tt|u|ul|var"
)
_BREAK = re.compile(r"<(?:br|p|div|li|td|tr)(?:\s+[\w-]{1,30}\s?=[^<>]{0,200})?\s?/?>", re.IGNORECASE)
_TAG = re.compile(rf"<!--[^<>]{{0,200}}-->|</?(?:{_TAGS})(?:\s+[\w-]{{1,30}}\s?=[^<>]{{0,200}})?\s?/?>", re.IGNORECASE)
_HTML_FRACTION = re.compile(r"(\d?)<sup>(\d{1,9})</sup>\s?[/\u2044\u2215]\s?<sub>(\d{1,9})</sub>", re.IGNORECASE)
_HTML_POWER = re.compile(r"(?<=[\w)])<sup>\s?([-\u2212]?\w{1,9})\s?</sup>", re.IGNORECASE)
# Emphasis around a number or a word; between two factors an asterisk multiplies.
_INNER = r"([^\W_](?:[^\n*`~=_]{0,60}[^\s*`~=_])?)"
_STRONG = re.compile(
    rf"(?P<sign>\*\*|~~|==)(?<![\w)][*~=]{{2}}){_INNER}(?P=sign)|(?<=[\d.,])\*\*([\d.,]{{1,20}})\*\*(?!\w)"
)
_LIGHT = re.compile(rf"(?<![\w)*])(?P<sign>[*`]){_INNER}(?P=sign)(?![\w(*])")

_SPACING = re.compile(
    r"(?<!\d)\\[,;: ]|\\[,;: ](?!\d)|(?<=[\w}])~(?=\\)|\\(?:quad|qquad|thinspace|enspace|medspace|thickspace)\b"
)
_NOTHING = re.compile(r"\\!|\\(?:left|right|displaystyle|limits|bigl|bigr)\b")
_GROUP = re.compile(r"\{([:.=+*<>/\-])\}")
_WORDS = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf|tt|bb|cal)|mbox|operatorname|boxed|bm|fbox|num|emph)\s?"
    r"\{([^{}\n]{0,80})\}"
)
_CRAMPED = re.compile(r"\\(?:cdot|times)(?=\\)")
_QUANTITY = re.compile(r"\\(?:qty|SI)\s?(?:\[[^\]\n]{0,40}\])?\{([^{}\n]{1,40})\}\s?\{([^{}\n]{1,40})\}")
_ANGLE = re.compile(r"\\ang\{([^{}\n;]{1,40})\}")
_FRACTIONS = re.compile(r"\\(?:nice|s|x|c|flat)frac\b")
_NEGATIVE = re.compile(r"(\\[dtc]?frac\s?\{)\s?(-?)\s?([\d.,]{1,40}\s?\}\s?\{)\s?-\s?(?=\d)")
_APART = re.compile(r"\^\s?\{?\s?(\d{1,9})\s?\}?\s?/\s?_\s?\{?\s?(\d{1,9})\s?\}?")
_COMMANDS = (
    (re.compile(r"\s?\^\s?\{?\s?\\circ\b\s?\}?|\s?\\degree\b|\s?\\textdegree\b"), "°"),
    (re.compile(r"\\(?:leq?|leqslant)\b\s?"), "≤ "),
    (re.compile(r"\\(?:geq?|geqslant)\b\s?"), "≥ "),
    (re.compile(r"\\neq?\b\s?"), "≠ "),
    (re.compile(r"\\(?:lt)\b\s?"), "< "),
    (re.compile(r"\\(?:gt)\b\s?"), "> "),
    (re.compile(r"\\pm\b\s?"), "±"),
    (re.compile(r"\s?\\div\b\s?"), "/"),
    (re.compile(r"\\(?:mathord|mathbin)?\{?:\}?(?=\d)"), ":"),
    (re.compile(r"\\sqrt\s?\[2\]"), r"\\sqrt"),
    (re.compile(r"\\surd\s?"), "\u221a"),
)

# Three digits behind a comma and dots are thousands in a sentence that trails off, unless a zero begins them.
_PERIOD = re.compile(
    r"(?<![\d.,])(?P<whole>\d{1,9})(?:\.|(?<=\b0),|,(?!\d{3}(?:\.{3}|\u2026)))(?P<before>\d{0,9}?)(?:\\overline\s?\{(?P<over>\d{1,9})\}|"
    r"\\dot\s?\{?(?P<dot>\d)\}?(?![\d\\])|\((?P<brackets>\d{1,9})\)|(?P<marked>(?:\d[\u0304\u0305\u0307]){1,9})|"
    r"(?P<more>(?!0+(?:\.{3}|\u2026))(?P<one>\d)(?P=one){1,20}|(?P<some>\d{2,6})(?P=some){1,9})(?:\.{3}|\u2026))"
)
_PER_MILLE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s?(?:\u2030|&permil;)")
_PERCENT_FIRST = re.compile(r"(?<![\w%)\]])%(\d{1,3}(?:[.,]\d{1,4})?)(?![\w%])")
_DIVIDED = re.compile(r"(?<=\d)\s?\u00f7\s?(?=\d)")
_RAISED_SIGN = re.compile("\u207b(?=\\d)|(?<=\\s)\u2014(?=\\d)")


def shown(text: str) -> str:
    """Return a text as its numbers are seen, without markup.

    >>> shown("1,<b>500</b> or **3**/**4** or 25&nbsp;%"), shown(r"-\\,\\nicefrac{3}{4}"), shown("0.(6)")
    ('1,500 or 3/4 or 25\\xa0%', '- \\\\frac{3}{4}', '2/3')
    """
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match.group()), text)
    if "<" in text:
        text = _without_tags(text)
    if any(sign in text for sign in "*`~="):
        text = _LIGHT.sub(r"\2", _STRONG.sub(lambda match: match[2] or match[3], text))
    if "\\" in text or "{" in text or "^" in text:
        text = _without_latex(text)
    return _in_one_typography(text)


def _without_tags(text: str) -> str:
    text = _HTML_FRACTION.sub(lambda match: f"{match[1]} {match[2]}/{match[3]}".lstrip(), text)
    return _TAG.sub("", _BREAK.sub(" ", _HTML_POWER.sub(r"^\1", text)))


def _without_latex(text: str) -> str:
    text = _QUANTITY.sub(
        lambda match: f"{match[1]} {match[2].replace(chr(92) + 'per', '/').replace(chr(92), '')}", text
    )
    text = _CRAMPED.sub(r"\g<0> ", text)
    text = _WORDS.sub(r"\1", _WORDS.sub(r"\1", _ANGLE.sub("\\1°", text)))
    text = _GROUP.sub(r"\1", _NOTHING.sub("", _SPACING.sub(" ", text)))
    for pattern, sign in _COMMANDS:
        text = pattern.sub(sign, text)
    text = _APART.sub(r"\1/\2", _FRACTIONS.sub(r"\\frac", text))
    return _NEGATIVE.sub(lambda match: f"{'' if match[2] else '-'}{match[1]}{match[3]}", text)


def _in_one_typography(text: str) -> str:
    text = _PERIOD.sub(_as_fraction, text)
    if "%" in text:
        text = _PERCENT_FIRST.sub(r"\1%", text)
    if text.isascii():
        return text
    text = _PER_MILLE.sub(lambda match: f"{Decimal(match[1]) / 10:f}%", text)
    return _RAISED_SIGN.sub("-", _DIVIDED.sub("/", text))


def _as_fraction(match: re.Match[str]) -> str:
    """Return a periodic decimal as the fraction that it is."""
    marked = re.sub(r"\D", "", match["marked"] or "")
    period = match["over"] or match["dot"] or match["brackets"] or marked or match["one"] or match["some"]
    before = match["before"]
    value = int(match["whole"]) + Fraction(int(before or 0), 10 ** len(before))
    value += Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(before))
    return str(value)
