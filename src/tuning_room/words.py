"""Texts as words, in every script: the one place that says what a word is and when two are the same.

Words are compared as people read them. What only looks different is the same (composed and decomposed letters, full
width, ligatures, capitals, signs without width); what differs by one combining mark is not. Scripts that are written
without spaces have no words that a rule could find: there each letter with its marks stands for itself and weighs less.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import regex

# Letters of scripts without spaces between words; for those of South-East Asia see UAX 14, class SA.
_IDEOGRAPHS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Tangut}\u30fc"
_SYLLABLES = r"\p{Line_Break=SA}\p{Javanese}\p{Balinese}"
SPACELESS = rf"{_IDEOGRAPHS}{_SYLLABLES}"
_LETTER = r"\p{L}\p{Nl}\p{No}"
OPERATORS = r"-+*/=^%"
# The parts of a word that one letter of such a script is: Chinese words have about two, Thai ones about three.
_WHOLE, _IDEOGRAPH, _SYLLABLE = 6, 3, 2

_HIDDEN = regex.compile(r"[\p{Default_Ignorable_Code_Point}\u0640]+")  # and the stroke that only widens Arabic words
_RAISED = regex.compile(r"[\u00b2\u00b3\u00b9\u2070-\u207b]+")
_FRACTION = regex.compile(r"[\u00bc-\u00be\u2150-\u215f\u2189]")
_DIGIT = regex.compile(r"(?V1)[\p{Nd}--0-9]")
_TURKISH = regex.compile(r"\u0131|i\u0307")
_ONE_LETTER = regex.compile(rf"(?:(?P<ideograph>[{_IDEOGRAPHS}])|[{_SYLLABLES}])\p{{M}}*")
# Marks that people leave out, in capitals or everywhere: accents, and the vowels of Hebrew and Arabic.
_ACCENT = regex.compile(r"[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670]+")
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u02bc\u02b9\u00b4\u2032\uff07", "'"),
        **dict.fromkeys("\u2010\u2011\u2212", "-"),
        **dict.fromkeys("\u00d7\u2217", "*"),
        **dict.fromkeys("\u00f7\u2044\u2215", "/"),
        "\u066b": ".",
        "\u066c": ",",
    }
)


def seen(text: str) -> bool:
    """Return whether a text has anything in it that is seen: more than white space and signs without width."""
    return bool(_HIDDEN.sub("", text).strip())


def folded(text: str) -> str:
    """Return a text as it is compared: in one normal form, without capitals, signs without width, and typography.

    Powers and fractions stay what they are, where the normal form alone would make 32 of a squared 3.

    >>> folded("ＤＩＥ GROSSE ﬁ\u00adle"), folded("die große file"), folded("3² ½")
    ('die grosse file', 'die grosse file', '3^2  1/2')
    """
    if text.isascii():
        return text.lower()
    text = _HIDDEN.sub("", text)
    text = _RAISED.sub(lambda match: f"^{match.group()}", text)
    text = _FRACTION.sub(lambda match: f" {match.group()}", text)
    # Signs before the normal form, which takes some of them apart.
    text = unicodedata.normalize("NFKC", text.translate(_SIGNS)).casefold()
    text = _HIDDEN.sub("", unicodedata.normalize("NFKC", text)).translate(_SIGNS)
    text = _TURKISH.sub("i", text)
    return str(_DIGIT.sub(lambda match: str(unicodedata.digit(match.group())), text))


def words(text: str, *, joined: str = "", alone: str = OPERATORS) -> list[str]:
    """Return a text's words, numbers and operators as they are compared, without punctuation.

    `joined` names signs that belong to the word they stand in ("don't", "x^2"), `alone` those that are one by
    themselves.

    >>> words("Don’t add 1.5 + x!"), words("Don’t add 1.5 + x!", joined="'.", alone="")
    (['don', 't', 'add', '1.5', '+', 'x'], ["don't", 'add', '1.5', 'x'])
    >>> words("दिन दान"), words("周长 ABC")
    (['दिन', 'दान'], ['周', '长', 'abc'])
    """
    found: list[str] = _pattern(joined, alone).findall(folded(text))
    return found


@cache
def _pattern(joined: str, alone: str) -> Any:
    letter = rf"[{_LETTER}--[{SPACELESS}]]"
    more = rf"[{_LETTER}\p{{M}}--[[{SPACELESS}]&&\p{{L}}]]"
    one = rf"[[{SPACELESS}]&&\p{{L}}]\p{{M}}*"
    if joined:
        # The last sign of a sentence is none of its last word. What is possessive takes no square of the time.
        part = rf"(?:{letter}|\d)\p{{M}}*+"
        choices = [one, rf"(?:(?<![{joined}])[{joined}]++)?+{part}(?:[{joined}]*+{part})*+"]
    else:
        choices = [one, rf"{letter}{more}*", r"\d+(?:[.,]\d+)*"]
    return regex.compile("|".join([*choices, *([f"[{alone}]"] if alone else [])]), regex.V1)


def without_accents(found: Sequence[str]) -> list[str]:
    """Return words without the marks that people leave out: accents, and the vowel signs of Hebrew and Arabic."""
    return [word if word.isascii() else _bare(word) for word in found]


def _bare(word: str) -> str:
    return unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFD", word)))


def is_one_letter(word: str) -> bool:
    """Return whether a word is one letter of a script without spaces, and so only part of what people call a word."""
    return not word.isascii() and _ONE_LETTER.fullmatch(word) is not None


def _weight(word: str) -> int:
    match = None if word.isascii() else _ONE_LETTER.fullmatch(word)
    if match is None:
        return _WHOLE
    return _IDEOGRAPH if match["ideograph"] else _SYLLABLE


def count(found: Sequence[str]) -> int:
    """Return how many words these are, about so many where a script has no spaces.

    >>> count(words("How many sides?")), count(words("周长是由哪几条边加起来的"))
    (3, 6)
    """
    return round(sum(map(_weight, found)) / _WHOLE)


def runs(found: Sequence[str], size: int) -> Iterator[tuple[int, str]]:
    """Yield every run of so many words with its place, longer ones where a script has no spaces; none if too few."""
    weights, end, total = [*map(_weight, found)], 0, 0
    for start in range(len(found)):
        while total < size * _WHOLE:
            if end == len(found):
                return
            total += weights[end]
            end += 1
        yield start, " ".join(found[start:end])
        total -= weights[start]
