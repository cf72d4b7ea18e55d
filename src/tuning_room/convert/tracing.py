"""Where chunks are in the markdown of their document, so that every row can be traced to its source.

Docling writes the markdown and the chunks hold plain text, so the two are compared by their letters and digits alone.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import NamedTuple

from tuning_room.records import Chunk

# What markdown has and a chunk lacks: comments in place of pictures, link targets, bars within cells.
UNSEEN = re.compile(r"<!--.*?-->|(?<=\])\([^()\s]*\)|&#124;", re.DOTALL)
HEADING = re.compile(r"^#{1,6} (.*)$", re.MULTILINE)
# A line found more than this many letters after the one before it is a different line with the same text.
REACH = 4000


class Stretch(NamedTuple):
    """A part of a text, in characters; the end is exclusive."""

    begin: int
    end: int


def located(chunks: Iterable[Chunk], markdown: str) -> list[Chunk]:
    """Return a document's chunks, in its order, with their places in its markdown, in bytes of UTF-8.

    A place begins and ends with a line. A chunk that is not found keeps no place.
    """
    chunks = list(chunks)
    letters = _Letters.of(markdown, {title for chunk in chunks for title in chunk.headings})
    sizes = [0, *accumulate(len(character.encode()) for character in markdown)]
    found, start = [], 0
    for chunk in chunks:
        place = letters.find(chunk.text, start)
        if place is None:
            found.append(chunk)
            continue
        start = place.end
        lines = letters.lines(place, markdown)
        found.append(chunk.model_copy(update={"begin": sizes[lines.begin], "end": sizes[lines.end]}))
    return found


class _Letters(NamedTuple):
    """The letters and digits of a markdown text, the place of each, and which of them begin a line."""

    text: str
    places: list[int]
    first: set[int]

    @classmethod
    def of(cls, markdown: str, titles: set[str]) -> "_Letters":
        unseen = [match.span() for match in UNSEEN.finditer(markdown)]
        keys = {letters_of(title) for title in titles}
        unseen += [match.span() for match in HEADING.finditer(markdown) if letters_of(match[1]) in keys]
        hidden = bytearray(len(markdown))
        for begin, end in unseen:
            hidden[begin:end] = b"\1" * (end - begin)
        places = [i for i, character in enumerate(markdown) if character.isalnum() and not hidden[i]]
        breaks = [-1, *(match.start() for match in re.finditer("\n", markdown))]
        return cls("".join(markdown[i] for i in places), places, _first_after(breaks, places))

    def find(self, text: str, start: int) -> Stretch | None:
        """Return where a chunk's text stands after a place, both counted in letters."""
        whole = self._find(letters_of(text), start)
        if whole is not None:
            return whole
        found = list(self._lines_of(text, start))
        return Stretch(min(place.begin for place in found), max(place.end for place in found)) if found else None

    def lines(self, place: Stretch, markdown: str) -> Stretch:
        """Return the characters of the lines that letters stand in."""
        begin, end = self.places[place.begin], self.places[place.end - 1]
        after = markdown.find("\n", end)
        return Stretch(markdown.rfind("\n", 0, begin) + 1, len(markdown) if after < 0 else after)

    def _lines_of(self, text: str, start: int) -> Iterator[Stretch]:
        """Yield where its lines are found: the markdown has something between them that the chunk lacks."""
        at = start
        for line in filter(None, map(letters_of, text.splitlines())):
            place = self._find(line, at) or self._find(line, start)
            if place and place.begin - at <= REACH:
                yield place
                at = max(at, place.end)

    def _find(self, wanted: str, start: int) -> Stretch | None:
        at = self.text.find(wanted, start) if wanted else -1
        while at >= 0 and at not in self.first:
            at = self.text.find(wanted, at + 1)
        return Stretch(at, at + len(wanted)) if at >= 0 else None


def letters_of(text: str) -> str:
    """Return the letters and digits of a text, without anything else."""
    return "".join(filter(str.isalnum, text))


def _first_after(breaks: list[int], places: list[int]) -> set[int]:
    """Return the indices of the letters that come first in their line."""
    first, number = set(), 0
    for line_break in breaks:
        while number < len(places) and places[number] < line_break:
            number += 1
        first.add(number)
    return first
