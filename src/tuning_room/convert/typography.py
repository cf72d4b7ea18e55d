"""How a PDF is set: the size of its body text, which text is bold, and the lines that every page repeats.

Docling's parser gives the place of each line but, for many files, neither the name nor the weight of its font;
PDFium gives both. Nothing in a PDF says "this is a heading": what is a heading, a paragraph or a running head shows
only beside the rest of the document. So the whole file is measured once, and each page is then read by these measures.

A worked example, a handbook of three pages (842 points high) of which each is set like this; sizes are in points:

    baseline   size   text
          38      8   Handbook                  <- same text in the outer tenth of every page: furniture
         110     18   Chapter 2  (bold)         <- 1.8 times the body: above HEADING_SCALE, so a heading
         140     10   An equation is a ...      <- most characters have this size: body_size = 10
         153     10   statement about ...       <- 13 points further down, over 10: line_step = 1.3
         166     10   Guidance   (bold)         <- bold at body size: heading or label? bold_lines counts how often
         812     10   2                         <- a bare number in the outer tenth: furniture

All large text here is bold, so `bold_headings` is True: large text that is not bold would then be no heading, such as a
formula in display, unless its size comes on several pages (`plain_headings`).

Coordinates are points from the top left corner of the page.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.convert.boxes import Box, Word
from tuning_room.convert.outline import Bookmark, read_outline

if TYPE_CHECKING:
    from pypdfium2 import PdfPage, PdfTextObj  # type: ignore[import-untyped]

BOLD_NAME = re.compile(r"bold|black|heavy|demi|cmbx|[-,]bd", re.IGNORECASE)
# PDFium works out the weight of a font from its stems, often wrongly: it counts only if the name says nothing.
PLAIN_NAME = re.compile(r"regu|roma|ital|obli|slant|light|book|medium|math|mono", re.IGNORECASE)
BOLD_WEIGHT = 600
# At least two letters together; numbers and single letters are those of figures and formulas.
WORD = re.compile(r"[^\W\d_]{2}")
# The dots of a table of contents.
LEADERS = re.compile(r"(\. ?){4}")
# Running heads stand in the outer tenth of a page.
BAND_SHARE = 0.1
# Steps from line to line, over the size of the type: below the least, two runs are on one line (an index, a change of
# font); above the widest, there is something else between them.
LEAST_STEP = 0.9
WIDEST_STEP = 3.0
# Where a document has no two lines to measure. Typesetters usually set 10 points on 12.
USUAL_STEP = 1.2
# Text from this size upwards, over the size of the body text, is a heading: 11 points over 10, but not 10.5.
HEADING_SCALE = 1.08
# Type of this size is a heading even where the other headings are bold and it is not.
LARGE_SCALE = 1.3
# Type below this size, over the size of the body text, is small.
SMALL_SCALE = 0.97
# The box of a recognised line is this much higher than its type is large, and its height varies by this share.
BOX_OVER_SIZE = 1.2
NEAR_USUAL = 0.2


class Run(NamedTuple):
    """A piece of text in one font; `baseline` and the edges are points from the top left, `size` is in points."""

    left: float
    top: float
    right: float
    bottom: float
    baseline: float
    size: float
    bold: bool
    text: str

    @property
    def box(self) -> Box:
        """Return the place of the text, in points."""
        return Box(self.left, self.top, self.right, self.bottom)


class Band(NamedTuple):
    """A strip across a page, in points from its top."""

    top: float
    bottom: float


class Page(NamedTuple):
    """The runs of one page and its height in points."""

    height: float
    runs: list[Run]


@dataclass(frozen=True)
class Typography:
    """How a document is set; dictionaries by page number, from 1.

    `body_size` is in points; `line_step` is the distance of two lines of a paragraph over their size.
    `bold_headings` says that large text is bold as a rule; `plain_headings` are the large sizes that are not bold.
    `furniture` is where the running heads stand; `bold_lines` counts how often a bold text comes (see `label_key`).
    """

    body_size: float = 10.0
    line_step: float = USUAL_STEP
    bold_headings: bool = False
    runs: dict[int, list[Run]] = field(default_factory=dict)
    furniture: dict[int, list[Band]] = field(default_factory=dict)
    outline: tuple[Bookmark, ...] = ()
    bold_lines: Counter[str] = field(default_factory=Counter)
    plain_headings: frozenset[float] = frozenset()


def read_typography(path: Path) -> Typography:
    """Return how a PDF file is set; pages are numbered from 1. Errors of PDFium are passed on."""
    import pypdfium2

    with pypdfium2.PdfDocument(path) as document:
        pages = {number: _read_page(page) for number, page in enumerate(document, start=1)}
        return replace(describe(pages), outline=tuple(read_outline(document)))


def describe(pages: dict[int, Page]) -> Typography:
    """Return how pages are set."""
    runs = [run for page in pages.values() for run in page.runs]
    body = body_size(runs)
    return Typography(
        body_size=body,
        line_step=_line_step(pages.values(), body),
        bold_headings=_are_headings_bold(runs, body),
        runs={number: page.runs for number, page in pages.items()},
        furniture=_furniture(pages, body),
        bold_lines=Counter(label_key(run.text) for run in runs if run.bold),
        plain_headings=_plain_headings(pages, body),
    )


def body_size(runs: Iterable[Run]) -> float:
    """Return the size that most characters have, in points."""
    sizes: Counter[float] = Counter()
    for run in runs:
        sizes[run.size] += len(run.text.strip())
    return sizes.most_common(1)[0][0] if sizes else Typography.body_size


def label_key(text: str) -> str:
    """Return what two bold lines with the same text have in common."""
    return " ".join(text.split()).casefold()


def recognised_runs(lines: Sequence[Word]) -> list[Run]:
    """Return recognised lines with the size of their type, as a share of their height.

    The height of such a box depends on which letters are in it ("one" is lower than "Happy"). So lines within a fifth
    of the page's median size get that size, or every other line of a paragraph would be a heading.
    """
    measured = [box.height / BOX_OVER_SIZE for box, _ in lines]
    usual = round(sorted(measured)[len(lines) // 2], 1) if lines else 0.0
    sizes = [usual if abs(size - usual) <= NEAR_USUAL * usual else round(size, 1) for size in measured]
    return [Run(*box, box.bottom, size, False, text) for (box, text), size in zip(lines, sizes, strict=True)]


def _read_page(page: "PdfPage") -> Page:
    from pypdfium2.raw import FPDF_PAGEOBJ_TEXT  # type: ignore[import-untyped]

    left, _, _, top = page.get_cropbox()
    objects = page.get_objects(filter=[FPDF_PAGEOBJ_TEXT], textpage=page.get_textpage())
    runs = [_read_run(item, left, top) for item in objects]
    return Page(page.get_height(), [run for run in runs if run.text.strip()])


def _read_run(item: "PdfTextObj", left: float, top: float) -> Run:
    """Return a text object of PDFium's, which counts from the bottom left, by the page's upper left corner."""
    x0, y0, x1, y1 = item.get_bounds()
    matrix, font = item.get_matrix(), item.get_font()
    # The size in the file is in the units of the text matrix, which many programs use for scaling: '/F1 1 Tf' with a
    # matrix of (12 0 0 12 x y) is type of 12 points. (c, d) is where the matrix takes the unit that points upwards.
    size = round(item.get_font_size() * math.hypot(matrix.c, matrix.d), 1)
    bold = is_bold(font.get_base_name(), font.get_weight())
    return Run(x0 - left, top - y1, x1 - left, top - y0, top - matrix.f, size, bold, item.extract())


def is_bold(name: str, weight: float) -> bool:
    """Say whether a font is bold by its name, and by its weight (400 is regular) where the name does not say."""
    return bool(BOLD_NAME.search(name)) or (weight >= BOLD_WEIGHT and not PLAIN_NAME.search(name))


def _line_step(pages: Iterable[Page], body: float) -> float:
    """Return the distance of two lines of a paragraph over the body's size.

    Most steps from one baseline to the next are within paragraphs, but some lead over the space between two of them:
    of steps such as 1.3 1.3 1.3 1.3 1.8 1.8 2.6, a low percentile is sure to be one of the former.
    """
    steps = sorted(step for page in pages for step in _steps(page.runs, body))
    return steps[len(steps) // 5] if steps else USUAL_STEP


def _steps(runs: Iterable[Run], body: float) -> list[float]:
    lines = sorted({round(run.baseline, 1) for run in runs if run.size == body})
    steps = [(below - above) / body for above, below in pairwise(lines)]
    return [step for step in steps if LEAST_STEP <= step <= WIDEST_STEP]


def _are_headings_bold(runs: Iterable[Run], body: float) -> bool:
    large = [run for run in runs if run.size >= HEADING_SCALE * body and WORD.search(run.text)]
    bold = sum(len(run.text) for run in large if run.bold)
    return bold > 0.5 * sum(len(run.text) for run in large)


def _plain_headings(pages: dict[int, Page], body: float) -> frozenset[float]:
    """Return the sizes of large type that is not bold and comes on several pages; on one only, it is a cover's."""
    sizes = {(run.size, number) for number, page in pages.items() for run in page.runs if not run.bold}
    counts = Counter(size for size, _ in sizes if size >= LARGE_SCALE * body)
    return frozenset(size for size, count in counts.items() if count > 1)


def _furniture(pages: dict[int, Page], body: float) -> dict[int, list[Band]]:
    """Find the running heads: outer lines whose text, or whose place in small type, comes back on other pages.

    Numbers in the text do not count: 'Page 3 of 9' and 'Page 4 of 9' are both 'Page # of #'. A text has to stand at
    one height on a quarter of the pages, since left and right pages and chapters differ; a place with any small text,
    such as the titles of the chapters, on half of them.
    """
    texts: Counter[tuple[int, str]] = Counter()
    places: Counter[int] = Counter()
    lines = {number: _outer_lines(page) for number, page in pages.items()}
    for found in lines.values():
        texts.update({(place, _pattern(runs)) for place, runs in found.items()})
        places.update({place for place, runs in found.items() if _is_small(runs, body)})
    often, mostly = max(2, math.ceil(len(pages) / 4)), max(2, math.ceil(len(pages) / 2))

    def repeats(place: int, runs: list[Run]) -> bool:
        # A bare page number is a running head even on the only page.
        if _pattern(runs) == "#" or texts[place, _pattern(runs)] >= often:
            return True
        return _is_small(runs, body) and places[place] >= mostly

    return {
        number: [
            Band(min(run.top for run in runs), max(run.bottom for run in runs))
            for place, runs in found.items()
            if repeats(place, runs)
        ]
        for number, found in lines.items()
    }


def _outer_lines(page: Page) -> dict[int, list[Run]]:
    """Return the runs in a page's outer tenths by their baseline in whole points, each from left to right."""
    lines: dict[int, list[Run]] = defaultdict(list)
    for run in sorted(page.runs, key=lambda run: run.left):
        if not BAND_SHARE * page.height < run.baseline < (1 - BAND_SHARE) * page.height:
            lines[round(run.baseline)].append(run)
    return lines


def _pattern(runs: list[Run]) -> str:
    return re.sub(r"\d+", "#", " ".join(run.text.strip() for run in runs))


def _is_small(runs: list[Run], body: float) -> bool:
    return all(run.size < SMALL_SCALE * body for run in runs)
