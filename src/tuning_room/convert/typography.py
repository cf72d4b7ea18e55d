"""How a PDF is set: the size of its body text, which text is bold, and the lines that every page repeats.

Docling's parser gives the place of each line but, for many files, neither the name nor the weight of its font;
PDFium gives both. Coordinates are points from the top left corner of the page.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from tuning_room.convert.outline import Bookmark, read_outline

BOLD_NAME = re.compile(r"bold|black|heavy|demi|cmbx|[-,]bd", re.IGNORECASE)
# PDFium works out the weight of a font from its stems, often wrongly: it counts only if the name says nothing.
PLAIN_NAME = re.compile(r"regu|roma|ital|obli|slant|light|book|medium|math|mono", re.IGNORECASE)
BOLD_WEIGHT = 600
WORD = re.compile(r"[^\W\d_]{2}")
# Running heads stand in the outer tenth of a page.
BAND_SHARE = 0.1
# Lines of one size are set at least this far apart; what is closer is on the same line.
LEAST_STEP = 0.9
WIDEST_STEP = 3.0
USUAL_STEP = 1.2
# Text from this size upwards, relative to the body text, is a heading.
HEADING_SCALE = 1.08
# Type of this size is a heading, even where the other headings are bold and it is not.
LARGE_SCALE = 1.3


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
    """How a document is set; sizes are points, `line_step` is the distance of two lines over their size."""

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
    import pypdfium2  # type: ignore[import-untyped]

    document = pypdfium2.PdfDocument(path)
    try:
        pages = {number: _read_page(page) for number, page in enumerate(document, start=1)}
        return replace(describe(pages), outline=tuple(read_outline(document)))
    finally:
        document.close()


def describe(pages: dict[int, Page]) -> Typography:
    """Return how pages are set."""
    runs = [run for page in pages.values() for run in page.runs]
    body = _body_size(runs)
    return Typography(
        body_size=body,
        line_step=_line_step(pages.values(), body),
        bold_headings=_are_headings_bold(runs, body),
        runs={number: page.runs for number, page in pages.items()},
        furniture=_furniture(pages, body),
        bold_lines=Counter(label_key(run.text) for run in runs if run.bold),
        plain_headings=_plain_headings(pages, body),
    )


def label_key(text: str) -> str:
    """Return what two bold lines with the same text have in common."""
    return " ".join(text.split()).casefold()


def _read_page(page: Any) -> Page:
    import pypdfium2.raw as pdfium  # type: ignore[import-untyped]

    left, _, _, top = page.get_cropbox()
    objects = page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_TEXT], textpage=page.get_textpage())
    runs = [_read_run(item, left, top) for item in objects]
    return Page(page.get_height(), [run for run in runs if run.text.strip()])


def _read_run(item: Any, left: float, top: float) -> Run:
    x0, y0, x1, y1 = item.get_bounds()
    matrix, font = item.get_matrix(), item.get_font()
    # The size in the file is in the units of the text matrix, which many programs use for scaling.
    size = round(item.get_font_size() * math.hypot(matrix.c, matrix.d), 1)
    bold = is_bold(font.get_base_name(), font.get_weight())
    return Run(x0 - left, top - y1, x1 - left, top - y0, top - matrix.f, size, bold, item.extract())


def is_bold(name: str, weight: float) -> bool:
    """Say whether a font is bold by its name, and by its weight (400 is regular) where the name does not say."""
    return bool(BOLD_NAME.search(name)) or (weight >= BOLD_WEIGHT and not PLAIN_NAME.search(name))


def _body_size(runs: Iterable[Run]) -> float:
    sizes: Counter[float] = Counter()
    for run in runs:
        sizes[run.size] += len(run.text.strip())
    return sizes.most_common(1)[0][0] if sizes else Typography.body_size


def _line_step(pages: Iterable[Page], body: float) -> float:
    steps = sorted(step for page in pages for step in _steps(page.runs, body))
    # A low percentile: the tightest lines are those within paragraphs.
    return steps[len(steps) // 5] if steps else USUAL_STEP


def _steps(runs: Iterable[Run], body: float) -> list[float]:
    lines = sorted({round(run.baseline, 1) for run in runs if run.size == body})
    steps = [(below - above) / body for above, below in pairwise(lines)]
    return [step for step in steps if LEAST_STEP <= step <= WIDEST_STEP]


def _are_headings_bold(runs: Iterable[Run], body: float) -> bool:
    # Numbers and single letters are those of figures.
    large = [run for run in runs if run.size >= HEADING_SCALE * body and WORD.search(run.text)]
    bold = sum(len(run.text) for run in large if run.bold)
    return bold > 0.5 * sum(len(run.text) for run in large)


def _plain_headings(pages: dict[int, Page], body: float) -> frozenset[float]:
    """Return the sizes of large type that is not bold and comes on several pages; on one only, it is a cover's."""
    sizes = {(run.size, number) for number, page in pages.items() for run in page.runs if not run.bold}
    counts = Counter(size for size, _ in sizes if size >= LARGE_SCALE * body)
    return frozenset(size for size, count in counts.items() if count > 1)


def _furniture(pages: dict[int, Page], body: float) -> dict[int, list[Band]]:
    """Find the running heads: outer lines whose text, or whose place in small type, comes back on other pages."""
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
        number: [_band(runs) for place, runs in found.items() if repeats(place, runs)]
        for number, found in lines.items()
    }


def _outer_lines(page: Page) -> dict[int, list[Run]]:
    lines: dict[int, list[Run]] = defaultdict(list)
    for run in sorted(page.runs, key=lambda run: run.left):
        if not BAND_SHARE * page.height < run.baseline < (1 - BAND_SHARE) * page.height:
            lines[round(run.baseline)].append(run)
    return lines


def _pattern(runs: list[Run]) -> str:
    return re.sub(r"\d+", "#", " ".join(run.text.strip() for run in runs))


def _is_small(runs: list[Run], body: float) -> bool:
    return all(run.size < 0.97 * body for run in runs)


def _band(runs: list[Run]) -> Band:
    return Band(min(run.top for run in runs), max(run.bottom for run in runs))
