"""A PDF's own outline (its bookmarks): which lines it names as headings, and of which level.

Coordinates are points from the top left corner of the page. Knows nothing of Docling.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pypdfium2 import PdfDest, PdfDocument, PdfPage  # type: ignore[import-untyped]

# What numbers a title: '3', '3.4', 'A.1)'.
TITLE_NUMBER = re.compile(r"^\s*([A-Z]|\d+)(\.\d+)*[.):]?\s+")


class Bookmark(NamedTuple):
    """An entry of an outline: its page (from 1), depth (from 0), title, and how far down the page it leads if known."""

    page: int
    depth: int
    title: str
    top: float | None = None


class PageHeading(NamedTuple):
    """A heading of the document: its page, its text, and its level (from 1) by the look of its type."""

    page: int
    text: str
    level: int


def read_outline(document: "PdfDocument") -> list[Bookmark]:
    """Return the bookmarks of an open PDFium document that lead to a page of it."""
    found = []
    for mark in document.get_toc():
        place = mark.get_dest()
        number = place.get_index() if place else None
        title = (mark.get_title() or "").strip()
        if number is not None and title:
            found.append(Bookmark(number + 1, mark.level, title, _top(place, document[number])))
    return found


def _top(place: "PdfDest", page: "PdfPage") -> float | None:
    import pypdfium2.raw as pdfium  # type: ignore[import-untyped]

    mode, position = place.get_view()
    index = {pdfium.PDFDEST_VIEW_XYZ: 1, pdfium.PDFDEST_VIEW_FITH: 0, pdfium.PDFDEST_VIEW_FITBH: 0}.get(mode)
    if index is None or index >= len(position):
        return None
    return float(page.get_cropbox()[3] - position[index])


def titled(lines: Sequence[tuple[float, str]], bookmarks: Iterable[Bookmark]) -> set[int]:
    """Return which of a page's lines (place from the top, and text) are titles of its bookmarks: one for each."""
    keys = [title_key(text) for _, text in lines]
    found: set[int] = set()
    for mark in bookmarks:
        key = title_key(mark.title)
        same = [i for i, other in enumerate(keys) if key and other == key and i not in found]
        if same:
            found.add(min(same, key=lambda i: abs(lines[i][0] - (mark.top or 0.0))))
    return found


def levels(headings: Sequence[PageHeading], bookmarks: Iterable[Bookmark]) -> list[int]:
    """Return the level (from 1) of each heading: its bookmark's; without one, that of headings that look like it.

    A look that no bookmark knows stands below the larger ones that bookmarks know, or above all of them. So in a book
    whose outline names "One" (depth 0) and "Part" (depth 2):

        look   heading   depth in the outline   rank    level
           1   Book      -                      -0.999      1
           2   One       0                       0          2
           3   Part      2                       2          3
           3   Note      -, looks like "Part"    2          3
    """
    known = _depths(headings, bookmarks)
    looks: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for index, depth in known.items():
        looks[headings[index].level][depth] += 1
    usual = {look: depths.most_common(1)[0][0] for look, depths in looks.items()}
    ranks = [known.get(index, _rank(heading.level, usual)) for index, heading in enumerate(headings)]
    order = sorted(set(ranks))
    return [order.index(rank) + 1 for rank in ranks]


def title_key(title: str) -> str:
    """Return the letters and digits of a title without its number, in one case."""
    plain = TITLE_NUMBER.sub("", title) or title
    return "".join(filter(str.isalnum, plain)).casefold()


def _depths(headings: Sequence[PageHeading], bookmarks: Iterable[Bookmark]) -> dict[int, int]:
    """Return the depth of the headings that have a bookmark, by their index."""
    waiting: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    for mark in bookmarks:
        waiting[mark.page, title_key(mark.title)].append(mark.depth)
    found = {}
    for index, heading in enumerate(headings):
        if depths := waiting[heading.page, title_key(heading.text)]:
            found[index] = depths.pop(0)
    return found


def _rank(look: int, usual: dict[int, int]) -> float:
    """Return where a heading without a bookmark stands among depths; `usual` is the depth of each look that has one."""
    if not usual:
        return look
    if look in usual:
        return usual[look]
    larger = [other for other in usual if other < look]
    # Between the depths of those that look more and less important: below its larger neighbour.
    return usual[max(larger)] + 1 - 1 / (look + 1) if larger else min(usual.values()) - 1 + look / 1000
