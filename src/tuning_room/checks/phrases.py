"""Phrases in a text, however it is written: in any script, with any apostrophe, with markup inside."""

import html
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

import regex

from tuning_room.words import SPACELESS, folded

_LINK = regex.compile(r"!?\[([^\[\]\n]{0,400})\]\([^()\s]{0,400}\)")
# An attribute's value may hold the sign that ends a tag.
_TAG = regex.compile(
    r"<!--[^<>]{0,400}-->|</?[A-Za-z](?:[^<>\"'\n]|\"[^\"\n]{0,200}\"|'[^'\n]{0,200}'){0,200}+>|</?[A-Za-z][^<>\n]{0,200}>"
)
_BREAK = regex.compile(r"<(?:br|hr|p|div|li|td|tr|h[1-6])\b[^<>\n]{0,200}>|\\(?=\n)|\\newline\b", regex.IGNORECASE)
_BLOCK_QUOTE = regex.compile(r"^[ \t]{0,3}(?:>[ \t]?)+", regex.MULTILINE)
# Bounded, since a character with thousands of digits is none and cannot be computed with.
_ENTITY = regex.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});?")
_SOFT = regex.compile(
    r"\\-|\{\}|[\u0334-\u0338]"
)  # a break within a word, a group of nothing, and what strikes a letter
_APOSTROPHE = regex.compile(r"(?<=\p{Latin})[`\u05f3\u201b\u02bb\u2035\ua78c](?=\p{Latin})")
_COMMAND = regex.compile(r"\\(?:text(?:bf|it|rm)?|emph|mathrm)\{([^{}\n]{0,400})\}")
_ESCAPE = regex.compile(r"\\([^\w\s])")
_EMPHASIS = regex.compile(r"[*`~]+|(?<!=)==(?!=)|(?<![\w\p{M}])_+|_+(?![\w\p{M}])")
_SPACELESS = rf"[[{SPACELESS}]&&\p{{L}}]\p{{M}}*"
_NO_WORD_BEFORE, _NO_WORD_AFTER = rf"(?<![[\w\p{{M}}]--[{SPACELESS}]])", rf"(?![[\w\p{{M}}]--[{SPACELESS}]])"
_ZERO_WIDTH_SPACE = "\u200b"


def plain(text: str) -> str:
    """Return a text without the markup that a reader does not see: Markdown's, HTML's and LaTeX's.

    >>> plain("As an **AI** [language](https://example.org) <b>model</b>, I don&#39;t.")
    "As an AI language model, I don't."
    """
    text = _BLOCK_QUOTE.sub("", _COMMAND.sub(r"\1", _LINK.sub(r"\1", text)))
    text = _ENTITY.sub(lambda match: html.unescape(match.group()), _TAG.sub("", _BREAK.sub(" ", text)))
    text = _APOSTROPHE.sub("'", _SOFT.sub("", text))
    return str(_EMPHASIS.sub("", _ESCAPE.sub(r"\1", text)))


def occurrences(phrase: str, text: str) -> Iterator[Any]:
    """Yield the matches of a phrase as whole words in a text, folded, as it is written and as it is read.

    Capitals, white space, hyphens between words, the kind of apostrophe, signs without width and markup make no
    difference. In a script without spaces a phrase may stand anywhere.
    """
    for reading in _readings(text):
        yield from _pattern(phrase).finditer(reading)


_WRAPPED = regex.compile(r"(?<=\p{L})-[ \t]*\r?\n[ \t]*(?=\p{Ll})")
_INNER_SIGNS = regex.compile(r"_+|[\"\u201c-\u201f\u00ab\u00bb\u300c-\u300f]+")
# Stress in Cyrillic words is for learners; й and ё have other marks. Some set a space before a sign, some none.
_STRESS = regex.compile(r"(?<=\p{Cyrillic})[\u0300\u0301]+|(?<=\d) (?=[%\u2030\u00b0])")


@lru_cache(maxsize=64)
def _readings(text: str) -> list[str]:
    # A space without width divides words in some texts, and is only hidden in others.
    spaced, shown = text.replace(_ZERO_WIDTH_SPACE, " "), plain(text)
    joined = _INNER_SIGNS.sub("", _WRAPPED.sub("", shown))
    return list(dict.fromkeys(map(_compared, (text, shown, spaced, plain(spaced), joined))))


def _compared(text: str) -> str:
    return str(_STRESS.sub("", folded(text)))


@cache
def _pattern(phrase: str) -> Any:
    found = _compared(phrase).strip()
    parts = [_part(part) for part in regex.split(r"\s+|(?<=\w)-(?=\w)", found)]
    body = r"[\s\p{Pd}]+".join(parts)
    starts = regex.match(_SPACELESS, found, regex.V1)
    ends = regex.search(rf"{_SPACELESS}$", found, regex.V1)
    before, after = "" if starts else _NO_WORD_BEFORE, r"(?!\p{M})" if ends else _NO_WORD_AFTER
    return regex.compile(f"{before}{body}{after}", regex.V1)


def _part(part: str) -> str:
    """Return the pattern of what stands between spaces; beside a letter of a script without them, one may stand."""
    letters = regex.findall(rf"{_SPACELESS}|(?:(?!{_SPACELESS}).)+", part, regex.V1)
    return r"\s*".join(map(regex.escape, letters))
