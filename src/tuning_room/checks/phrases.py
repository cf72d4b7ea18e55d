"""Phrases in a text, however it is written: in any script, with any apostrophe, with markup inside."""

import html
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

import regex

from tuning_room.words import SPACELESS, folded

_LINK = regex.compile(r"!?\[([^\[\]\n]{0,400})\]\([^()\s]{0,400}\)")
_TAG = regex.compile(r"</?[A-Za-z][^<>\n]{0,200}>")
_COMMAND = regex.compile(r"\\(?:text(?:bf|it|rm)?|emph|mathrm)\{([^{}\n]{0,400})\}")
_ESCAPE = regex.compile(r"\\([^\w\s])")
_EMPHASIS = regex.compile(r"[*`~]+|(?<![\w\p{M}])_+|_+(?![\w\p{M}])")
_SPACELESS = rf"[[{SPACELESS}]&&\p{{L}}]\p{{M}}*"
_NO_WORD_BEFORE, _NO_WORD_AFTER = rf"(?<![[\w\p{{M}}]--[{SPACELESS}]])", rf"(?![[\w\p{{M}}]--[{SPACELESS}]])"
_ZERO_WIDTH_SPACE = "\u200b"


def plain(text: str) -> str:
    """Return a text without the markup that a reader does not see: Markdown's, HTML's and LaTeX's.

    >>> plain("As an **AI** [language](https://example.org) <b>model</b>, I don&#39;t.")
    "As an AI language model, I don't."
    """
    text = _TAG.sub("", _COMMAND.sub(r"\1", _LINK.sub(r"\1", text)))
    return str(_EMPHASIS.sub("", _ESCAPE.sub(r"\1", html.unescape(text))))


def occurrences(phrase: str, text: str) -> Iterator[Any]:
    """Yield the matches of a phrase as whole words in a text, folded, as it is written and as it is read.

    Capitals, white space, hyphens between words, the kind of apostrophe, signs without width and markup make no
    difference. In a script without spaces a phrase may stand anywhere.
    """
    for reading in _readings(text):
        yield from _pattern(phrase).finditer(reading)


@lru_cache(maxsize=64)
def _readings(text: str) -> list[str]:
    # A space without width divides words in some texts, and is only hidden in others.
    spaced = text.replace(_ZERO_WIDTH_SPACE, " ")
    return list(dict.fromkeys(folded(one) for one in (text, plain(text), spaced, plain(spaced))))


@cache
def _pattern(phrase: str) -> Any:
    found = folded(phrase).strip()
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
