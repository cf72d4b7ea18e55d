"""The format codes of spreadsheets (ECMA-376, 18.8.31) as tokens: '#,##0.00 "EUR"' is six digits, marks and a word.

Knows nothing of values.
"""

import re
from typing import Literal, NamedTuple, get_args

Kind = Literal[
    "literal", "text", "general", "digit", "point", "comma", "percent", "exponent", "slash",
    "date", "elapsed", "fraction", "meridiem", "minutes", "condition",
]  # fmt: skip
PATTERN = re.compile(
    r"""
      "(?P<quoted>[^"]*)(?:"|$)
    | \\(?P<escaped>.)
    | _(?P<space>.)
    | \*(?P<fill>.)
    | \[\$(?P<currency>[^\]-]*)(?:-[^\]]*)?\]
    | \[(?P<condition>(?:<>|<=|>=|<|>|=)\s*-?[0-9.]+(?:E[+-]?\d+)?)\]
    | \[(?P<elapsed>h+|m+|s+)\]
    | \[(?P<dropped>[^\]]*)\]
    | (?P<general>General)
    | (?P<meridiem>AM/PM|A/P|上午/下午)
    | (?P<fraction>(?<=s)\.0+|(?<=s\])\.0+)
    | (?P<exponent>E[+-](?=[0#?]))
    | (?P<date>y+|m+|d+|h+|s+|b+|g+|e+)
    | (?P<digit>[0#?])
    | (?P<point>\.)
    | (?P<comma>,)
    | (?P<percent>%)
    | (?P<slash>/)
    | (?P<text>@)
    | (?P<literal>.)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
SECTION = re.compile(r'(?:"[^"]*(?:"|$)|\\.|\[[^\]]*\]|[^;"\\\[]|[\\\[])*', re.DOTALL)
MOST_SECTIONS = 4
KINDS: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}


class Token(NamedTuple):
    """A piece of a format code, and what it stands for."""

    kind: Kind
    text: str


def sections(code: str) -> list[str]:
    """Return the parts of a format code between its semicolons: for positive and negative numbers, zero and text."""
    found, place = [], 0
    while place <= len(code):
        match = SECTION.match(code, place)
        assert match is not None
        found.append(match.group())
        place = match.end() + 1
    return found[:MOST_SECTIONS]


def tokens(section: str) -> list[Token]:
    """Return what a part of a format code is made of; whatever is no code stands for itself."""
    found = [token for match in PATTERN.finditer(section) if (token := _token(match))]
    if any(token.kind in ("date", "elapsed", "meridiem") for token in found):
        # A comma or a stroke of a date is a mark; in a number they are codes.
        marks = {"comma", "slash", "percent", "point"}
        return [Token("literal", token.text) if token.kind in marks else token for token in found]
    return [part for token in found for part in _apart(token)]


def _apart(token: Token) -> list[Token]:
    """Return a token of a number: what looked like parts of a second is a point and digits."""
    if token.kind != "fraction":
        return [token]
    return [Token("point", "."), *(Token("digit", "0") for _ in token.text[1:])]


def _token(match: re.Match[str]) -> Token | None:
    name = match.lastgroup or "literal"
    text = match.group(name)
    if name in ("dropped", "fill") or (name == "date" and text[0] in "gG"):
        return None
    if name in ("quoted", "escaped", "currency"):
        return Token("literal", text)
    if name == "space":
        return Token("literal", " ")
    return Token(KINDS[name], text if name in ("literal", "meridiem") else text.lower())
