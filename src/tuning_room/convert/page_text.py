"""The text of a page where Docling's parser finds none, or has lost it.

A page without text (a scan) is recognised on its image: RapidOCR by way of Docling, with the models of its package, so
that nothing is fetched. A page whose text is garbage (old fonts whose encoding the parser cannot follow) is read by
PDFium. Both take the place of Docling's step that reads the cells of pages, before their layout is found.
Import it late: Docling takes seconds.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from docling.datamodel.accelerator_options import AcceleratorOptions
from docling.datamodel.base_models import InputFormat, Page
from docling.datamodel.document import ConversionResult
from docling.datamodel.pipeline_options import OcrMode, RapidOcrOptions
from docling.models.stages.ocr.rapid_ocr_model import RapidOcrModel
from docling.utils.locks import pypdfium2_lock
from docling_core.types.doc import BoundingBox, CoordOrigin
from docling_core.types.doc.page import BoundingRectangle, TextCell

from tuning_room.convert.boxes import Box, Word, around_words

if TYPE_CHECKING:
    from pypdfium2 import PdfTextPage  # type: ignore[import-untyped]

# 216 dpi for paper; larger pages, such as photographs without a resolution, are read at fewer dots.
SCALE = 3.0
LONGEST_SIDE = 2600.0
# The lightest and the darkest grey of a page that shows something differ by more than this, of 255.
LEAST_CONTRAST = 16
# Pages that both read well agree by more than nine tenths.
LEAST_AGREEMENT = 0.5
LEAST_LETTERS = 20
# Words further apart than this, over their height, are not of one line: columns, cells of a table.
WORD_GAP = 1.5

# A step of Docling's pipeline that works on pages, such as the one that reads their cells.
PageStep = Callable[[ConversionResult, Iterable[Page]], Iterable[Page]]


class TextlessPages:
    """Reads the cells of pages as Docling does; pages without text get those that are recognised on their image."""

    def __init__(
        self, preprocess: PageStep, *, threads: int, recognised: Callable[[Page], None] = lambda page: None
    ) -> None:
        self._preprocess = preprocess
        self._threads = threads
        self._recognised = recognised
        self._ocr: RapidOcrModel | None = None

    def __call__(self, conv_res: ConversionResult, page_batch: Iterable[Page]) -> Iterable[Page]:
        """Yield the pages with their cells."""
        for page in self._preprocess(conv_res, page_batch):
            if not any(cell.text.strip() for cell in page.cells) and _shows_something(page):
                self._recognise(conv_res, page)
            yield page

    def _recognise(self, conv_res: ConversionResult, page: Page) -> None:
        # Made for the first such page: it takes a second, and most documents have none.
        self._ocr = self._ocr or _recogniser(self._threads)
        self._ocr.scale = min(SCALE, LONGEST_SIDE / max(page.size.width, page.size.height))
        list(self._ocr(conv_res, [page]))
        self._recognised(page)


def _recogniser(threads: int) -> RapidOcrModel:
    """Return Docling's RapidOCR over whole pages, with the models in its package."""
    options = RapidOcrOptions(mode=OcrMode.FULL_PAGE)
    accelerator = AcceleratorOptions(device="cpu", num_threads=threads)
    return RapidOcrModel(enabled=True, artifacts_path=None, options=options, accelerator_options=accelerator)


def _shows_something(page: Page) -> bool:
    """Say whether there is anything on a page but its paper."""
    image = page.get_image(scale=1.0)
    low, high = image.convert("L").getextrema() if image else (0, 0)
    return bool(high - low > LEAST_CONTRAST)


class ReadablePages:
    """Reads the cells of pages as Docling does; where those are garbage and PDFium's text is not, takes PDFium's."""

    def __init__(self, preprocess: PageStep) -> None:
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
    import pypdfium2

    with pypdfium2_lock, pypdfium2.PdfDocument(path) as document:
        page = document[number - 1]
        text = page.get_textpage()
        if page.get_rotation() or not is_better(text.get_text_range(), instead_of):
            return []
        left, _, _, top = page.get_cropbox()
        return list(lines_of(_words(text, left, top)))


def is_better(text: str, other: str) -> bool:
    """Say whether a text is to replace another one: they hardly agree, and it has the larger share of letters.

    Letters are compared as multisets, so their order does not count: "❆ ♠✉❧a116✐✲" shares next to none with the words
    "A multi-" that it stands for, and is less legible.
    """
    ours, theirs = _letters(text), _letters(other)
    if min(ours.total(), len("".join(other.split()))) < LEAST_LETTERS:
        return False
    agreement = (ours & theirs).total() / max(ours.total(), theirs.total())
    return agreement < LEAST_AGREEMENT and _legibility(text) > _legibility(other)


def _letters(text: str) -> Counter[str]:
    return Counter(filter(str.isalnum, unicodedata.normalize("NFKC", text)))


def _legibility(text: str) -> float:
    """Return the share of letters, digits and punctuation in what is not space; dingbats and unknown glyphs are not."""
    kinds = [unicodedata.category(character)[0] for character in text if not character.isspace()]
    return sum(kind in "LMNP" for kind in kinds) / max(1, len(kinds))


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


def _goes_on(last: Box, box: Box) -> bool:
    height = min(last.height, box.height)
    return last.is_level_with(box) and -height < box.left - last.right <= WORD_GAP * max(height, 1.0)


def joined(line: Sequence[Word]) -> Word:
    """Return a line as one word with spaces in it."""
    return around_words(line), " ".join(text for _, text in line)


def _words(text: "PdfTextPage", left: float, top: float) -> Iterator[Word]:
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
            yield Box.around(boxes), letters
            boxes, letters = [], ""
    if letters:
        yield Box.around(boxes), letters


def _cells(words: Iterable[Word]) -> list[TextCell]:
    return [
        TextCell(
            index=index,
            text=text,
            orig=text,
            from_ocr=False,
            rect=BoundingRectangle.from_bounding_box(
                BoundingBox(l=box.left, t=box.top, r=box.right, b=box.bottom, coord_origin=CoordOrigin.TOPLEFT)
            ),
        )
        for index, (box, text) in enumerate(words)
    ]
