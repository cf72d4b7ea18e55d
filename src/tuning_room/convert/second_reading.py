"""The text of a page by PDFium where Docling's parser has lost it: old fonts whose encoding it cannot follow.

Import it late: Docling takes seconds.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from docling.datamodel.base_models import InputFormat, Page
from docling.datamodel.document import ConversionResult
from docling.utils.locks import pypdfium2_lock
from docling_core.types.doc import BoundingBox, CoordOrigin
from docling_core.types.doc.page import BoundingRectangle, TextCell

from tuning_room.convert.rule_tables import Box

# Pages that both read well agree by more than nine tenths.
LEAST_AGREEMENT = 0.5
LEAST_LETTERS = 20
# Words further apart than this, over their height, are not of one line: columns, cells of a table.
WORD_GAP = 1.5

Word = tuple[Box, str]


class ReadablePages:
    """Reads the cells of pages as Docling does; where those are garbage and PDFium's text is not, takes PDFium's."""

    def __init__(self, preprocess: Any) -> None:
        self._preprocess = preprocess

    def __call__(self, conv_res: ConversionResult, page_batch: Iterable[Page]) -> Iterable[Page]:
        """Yield the pages with their cells."""
        for page in self._preprocess(conv_res, page_batch):
            if conv_res.input.format == InputFormat.PDF and page.parsed_page:
                self._read_again(page, Path(conv_res.input.file))
            yield page

    def _read_again(self, page: Page, path: Path) -> None:
        lines = page_lines(path, page.page_no, instead_of="".join(cell.text for cell in page.cells))
        if lines:
            page.parsed_page.textline_cells = _cells(joined(line) for line in lines)
            page.parsed_page.word_cells = _cells(word for line in lines for word in line)
            page.parsed_page.char_cells = []


def page_lines(path: Path, number: int, *, instead_of: str) -> list[list[Word]]:
    """Return the lines of a page (from 1) as PDFium reads them; none where the text at hand is as good."""
    import pypdfium2  # type: ignore[import-untyped]

    with pypdfium2_lock, pypdfium2.PdfDocument(path) as document:
        page = document[number - 1]
        text = page.get_textpage()
        if page.get_rotation() or not is_better(text.get_text_range(), instead_of):
            return []
        left, _, _, top = page.get_cropbox()
        return list(lines_of(_words(text, left, top)))


def is_better(text: str, other: str) -> bool:
    """Say whether a text is to stand in place of another one: they hardly agree, and it has more of letters."""
    ours, theirs = _letters(text), _letters(other)
    if min(ours.total(), len("".join(other.split()))) < LEAST_LETTERS:
        return False
    agreement = (ours & theirs).total() / max(ours.total(), theirs.total())
    return agreement < LEAST_AGREEMENT and _legibility(text) > _legibility(other)


def lines_of(words: Iterable[Word]) -> Iterator[list[Word]]:
    """Yield the lines that words in reading order make."""
    line: list[Word] = []
    for box, text in words:
        if line and not _goes_on(line[-1][0], box):
            yield line
            line = []
        line.append((box, text))
    if line:
        yield line


def joined(line: Sequence[Word]) -> Word:
    """Return a line as one word with spaces in it."""
    return _around([box for box, _ in line]), " ".join(text for _, text in line)


def _letters(text: str) -> Counter[str]:
    return Counter(filter(str.isalnum, unicodedata.normalize("NFKC", text)))


def _legibility(text: str) -> float:
    """Return the share of letters, digits and punctuation in what is no space; dingbats and unknown glyphs are not."""
    kinds = [unicodedata.category(character)[0] for character in text if not character.isspace()]
    return sum(kind in "LMNP" for kind in kinds) / max(1, len(kinds))


def _goes_on(last: Box, box: Box) -> bool:
    overlap = min(last.bottom, box.bottom) - max(last.top, box.top)
    height = min(last.bottom - last.top, box.bottom - box.top)
    return overlap > 0.5 * height and -height < box.left - last.right <= WORD_GAP * max(height, 1.0)


def _words(text: Any, left: float, top: float) -> Iterator[Word]:
    """Yield the words of a text page in PDFium's order, placed from the top left corner of the page."""
    boxes: list[Box] = []
    letters = ""
    for index in range(text.count_chars()):
        character = text.get_text_range(index, 1)
        if character.strip():
            x0, y0, x1, y1 = text.get_charbox(index, loose=True)
            boxes.append(Box(x0 - left, top - y1, x1 - left, top - y0))
            # PDFium's sign for a hyphen at the end of a line.
            letters += character.replace("\ufffe", "-").replace("\x02", "-")
        elif letters:
            yield _around(boxes), letters
            boxes, letters = [], ""
    if letters:
        yield _around(boxes), letters


def _around(boxes: Sequence[Box]) -> Box:
    return Box(
        min(box.left for box in boxes),
        min(box.top for box in boxes),
        max(box.right for box in boxes),
        max(box.bottom for box in boxes),
    )


def _cells(words: Iterable[Word]) -> list[TextCell]:
    return [_cell(index, *word) for index, word in enumerate(words)]


def _cell(index: int, box: Box, text: str) -> TextCell:
    place = BoundingBox(l=box.left, t=box.top, r=box.right, b=box.bottom, coord_origin=CoordOrigin.TOPLEFT)
    return TextCell(index=index, text=text, orig=text, from_ocr=False, rect=BoundingRectangle.from_bounding_box(place))
