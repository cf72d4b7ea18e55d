"""A presentation as Docling reads it: raised, lowered and struck text as text, the items of a cell apart.

All of it is done in the file's own tree before Docling walks over it. Import it late: Docling takes seconds.
"""

from itertools import pairwise

from docling.backend.mspowerpoint_backend import MsPowerpointDocumentBackend
from docling_core.types.doc import DoclingDocument
from lxml import etree
from pptx.oxml.ns import qn
from pptx.presentation import Presentation

from tuning_room.convert.signs import BULLET, lowered, raised, struck


class SlidesBackend(MsPowerpointDocumentBackend):
    """Docling's reader of presentations, given one that is put in order."""

    def convert(self) -> DoclingDocument:
        """Return the document."""
        if self.pptx_obj is not None:
            put_in_order(self.pptx_obj)
        return super().convert()


def put_in_order(presentation: Presentation) -> None:
    """Write what is set in a way of its own as text."""
    for slide in presentation.slides:
        elements = [slide._element, *([slide.notes_slide._element] if slide.has_notes_slide else [])]
        for element in elements:
            for paragraph in element.iter(qn("a:p")):
                write_signs(paragraph)
            for cell in element.iter(qn("a:tc")):
                set_items_apart(cell)


def write_signs(paragraph: etree._Element) -> None:
    """Write raised, lowered and struck text as text; neighbours that are set alike are taken together."""
    runs = list(paragraph.iter(qn("a:r")))
    for run, following in pairwise([*runs, None]):
        kind, text = _kind(run), run.find(qn("a:t"))
        if text is None or kind == ("", False):
            continue
        if following is not None and _kind(following) == kind and run.getnext() is following:
            beginning = following.find(qn("a:t"))
            beginning.text, text.text = (text.text or "") + (beginning.text or ""), ""
            continue
        beginning = following.find(qn("a:t")) if following is not None else None
        _write(text, kind, (beginning.text or "") if beginning is not None else "")


def _kind(run: etree._Element) -> tuple[str, bool]:
    """Return how a run is set: raised, lowered or neither, and whether it is struck out."""
    properties = run.find(qn("a:rPr"))
    if properties is None:
        return "", False
    shift = int(properties.get("baseline", "0").rstrip("%") or 0)
    place = "raised" if shift > 0 else "lowered" if shift < 0 else ""
    return place, properties.get("strike", "noStrike") != "noStrike"


def _write(text: etree._Element, kind: tuple[str, bool], after: str) -> None:
    place, is_struck = kind
    whole = text.text or ""
    inner = whole.strip()
    if inner:
        after = "" if whole[-1].isspace() else after
        new = raised(inner, after) if place == "raised" else lowered(inner, after) if place == "lowered" else inner
        text.text = whole.replace(inner, struck(new) if is_struck else new)


def set_items_apart(cell: etree._Element) -> None:
    """Put a mark before each of several paragraphs in a table's cell: a row of a table is one line."""
    firsts = [paragraph.find(f".//{qn('a:t')}") for paragraph in cell.iter(qn("a:p"))]
    texts = [text for text in firsts if text is not None]
    if len(texts) > 1:
        for text in texts:
            text.text = f"{BULLET} {text.text or ''}"
