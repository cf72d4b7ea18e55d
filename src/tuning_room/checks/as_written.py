"""Results compared as they are written, where they are no single number: formulas, points, conditions, dates."""

import re
from collections.abc import Iterator
from itertools import permutations

_RAISED = re.compile("(?<=[\\w)])([\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b\u207f]{1,9})")
_SMALL = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b\u207f", "0123456789-n")
_BRACES = re.compile(r"\^\s?\{\s?([-+]?\w{1,20})\s?\}")
_TIMES = re.compile(r"\s?(?:\\cdot|\\times|[\u00b7\u22c5\u00d7\u2217])\s?")
_RELATIONS = tuple(
    (re.compile(pattern), sign)
    for pattern, sign in (
        (r"(?:is )?(?:less|smaller) than or equal to|(?:is )?at most|<=|=<|\u2264|\u2a7d", " \u2264 "),
        (r"(?:is )?(?:greater|more|larger|bigger) than or equal to|(?:is )?at least|>=|=>|\u2265|\u2a7e", " \u2265 "),
        (r"(?:is )?(?:less|smaller) than", " < "),
        (r"(?:is )?(?:greater|larger|bigger|more) than", " > "),
        (r"!=|\u2260|is not equal to", " \u2260 "),
    )
)
_ROOT = re.compile(r"(?:(\d{1,6})\s?(?:times\s|\*\s?)?)?(?:\bthe\s)?(?:\bsquare\s)?\broot\s(?:of\s)?(\d{1,9})\b")
_HALF_POWER = re.compile(r"(?<![\w.])(\d{1,9})\s?(?:\^|\*\*)\s?(?:\{\s?1/2\s?\}|\(\s?1/2\s?\)|1/2|0?\.5)(?!\d)")
_PI = re.compile(r"(\d)\s?(?:\*|times)?\s?\u03c0")
_TERMS = re.compile(r"[+-]?[^+\-]+")
_MOST_TERMS = 4  # of a sum whose order does not matter
_MONTH = re.compile(
    r"(\d{1,2})(?:st|nd|rd|th)?\.?\s(?:of\s)?(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?|"
    r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s(\d{1,2})(?:st|nd|rd|th)?"
)


def typed(text: str) -> str:
    """Return a formula in one typography: powers, products, relations, roots and pi, in small letters.

    >>> typed("3·x² ≥ 2"), typed("2 times the square root of 3"), typed("2^{1/2}")
    ('3*x^2  ≥  2', '2√3', '√2')
    """
    text = _BRACES.sub(r"^\1", _RAISED.sub(lambda match: f"^{match[1].translate(_SMALL)}", text.lower()))
    text = _HALF_POWER.sub("\u221a\\1", _TIMES.sub("*", text))
    for pattern, sign in _RELATIONS:
        text = pattern.sub(sign, text)
    if "root" in text:
        text = _ROOT.sub(lambda match: f"{match[1] or ''}\u221a{match[2]}", text)
    return _PI.sub("\\1\u03c0", text.replace("**", "^"))


def written(text: str, result: str) -> bool:
    """Say whether a text has a result as it is written, in any typography and order of a sum."""
    text, result = (typed(part.replace("\u2212", "-")) for part in (text, result))
    if day := _MONTH.fullmatch(result.strip()):
        return any(_day(found) == _day(day) for found in _MONTH.finditer(text))
    return any(_has(text, form) for form in _orders(result))


def _day(match: re.Match[str]) -> tuple[int, str]:
    return int(match[1] or match[4]), match[2] or match[3]


def _orders(result: str) -> Iterator[str]:
    """Yield a result, and a sum in its other orders."""
    yield result
    terms = _TERMS.findall(re.sub(r"\s", "", result)) if re.fullmatch(r"[\w\s^*+\-\u03c0\u221a.]{1,60}", result) else []
    if not 1 < len(terms) <= _MOST_TERMS or "^-" in result:
        return
    signed = [term if term[0] in "+-" else f"+{term}" for term in terms]
    yield from ("".join(order).removeprefix("+") for order in permutations(signed))


def _has(text: str, result: str) -> bool:
    tokens = re.findall(r"[a-z]+|\d+(?:\.\d+)?|[^\s*]", result)
    # Most texts lack a part of the result, and need no pattern to be compiled.
    if not tokens or any(token not in text for token in tokens):
        return False
    pattern = r"\s*\*?\s*".join(re.escape(token) for token in tokens)
    # Not the divisor of a quotient, nor an exponent, nor a number with a sign of its own: -3 is not 3.
    before = r"(?<![\w.^\u221a])(?<!\d/)(?<!\d / )(?<!\de[-+])(?<![\s=(,\[]-)(?<!= - )(?<!minus )(?<!negative )"
    after = r"(?![\w^(]|\.\d|,\d|\s?/\s?\d|\s?%)"
    return re.search(f"{before}{pattern}{after}", f" {text}") is not None
