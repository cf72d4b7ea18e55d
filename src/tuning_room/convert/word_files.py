"""A Word file as Docling reads it: changes accepted, notes in the text, raised and struck text written as text.

All of it is done in the file's own tree before Docling walks over it. Import it late: Docling takes seconds.
"""

from collections.abc import Iterator
from itertools import pairwise

from docling.backend.msword_backend import MsWordDocumentBackend
from docling_core.types.doc import DoclingDocument
from docx.document import Document
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml import OxmlElement, parse_xml
from docx.oxml.ns import qn
from docx.text.paragraph import Paragraph
from docx.text.run import Run
from lxml import etree

from tuning_room.convert.signs import BULLET, GLUED, lowered, raised, struck

DELETED = ("w:del", "w:moveFrom")
# What only wraps what it holds: accepted changes, content controls, marks for programs.
WRAPPERS = ("w:ins", "w:moveTo", "w:smartTag", "w:customXml", "w:fldSimple", "w:dir", "w:bdo")
PLAIN = ("", False)
NOTES = {"w:footnoteReference": RELATIONSHIP_TYPE.FOOTNOTES, "w:endnoteReference": RELATIONSHIP_TYPE.ENDNOTES}


class WordBackend(MsWordDocumentBackend):
    """Docling's reader of Word files, given a file that is put in order."""

    def convert(self) -> DoclingDocument:
        """Return the document."""
        if self.docx_obj is not None:
            put_in_order(self.docx_obj)
        return super().convert()

    def _add_footnotes_and_endnotes(self, docx_obj: Document, doc: DoclingDocument) -> None:
        """Add none: they stand in the text by now."""


def put_in_order(document: Document) -> None:
    """Accept the changes, then write what is set in a way of its own as text."""
    body = document.element.body
    accept_changes(body)
    put_notes_in_text(document)
    for paragraph in body.iter(qn("w:p")):
        write_signs(Paragraph(paragraph, document))
    for cell in body.iter(qn("w:tc")):
        set_items_apart(cell, document)
    for paragraph in body.iter(qn("w:p")):
        mark_glued(paragraph)


def accept_changes(body: etree._Element) -> None:
    """Leave out what a tracked change deletes, rows and paragraph marks too, and keep what one inserts."""
    for row in _having(body, "w:tr", "w:trPr/w:del"):
        _remove(row)
    for cell in _having(body, "w:tc", "w:tcPr/w:cellDel"):
        _remove(cell)
    for table in [table for table in body.iter(qn("w:tbl")) if table.find(f".//{qn('w:tc')}") is None]:
        _remove(table)
    for paragraph in _having(body, "w:p", "w:pPr/w:rPr/w:del") + _having(body, "w:p", "w:pPr/w:rPr/w:moveFrom"):
        _join_to_next(paragraph)
    for element in list(body.iter(*map(qn, DELETED))):
        if element.getparent() is not None and etree.QName(element.getparent()).localname != "rPr":
            _remove(element)
    for element in list(body.iter(*map(qn, WRAPPERS))):
        _unwrap(element)
    for control in list(body.iter(qn("w:sdt"))):
        content = control.find(qn("w:sdtContent"))
        is_inline = control.getparent() is not None and control.getparent().tag in (qn("w:p"), qn("w:hyperlink"))
        if is_inline and content is not None and not _is_checkbox(control):
            control.getparent().replace(control, content)
            _unwrap(content)


def _is_checkbox(control: etree._Element) -> bool:
    properties = control.find(qn("w:sdtPr"))
    return properties is not None and any(etree.QName(child).localname == "checkbox" for child in properties)


def _having(body: etree._Element, tag: str, path: str) -> list[etree._Element]:
    steps = "/".join(qn(step) for step in path.split("/"))
    return [element for element in body.iter(qn(tag)) if element.find(steps) is not None]


def _remove(element: etree._Element) -> None:
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)


def _unwrap(element: etree._Element) -> None:
    """Put what an element holds in its place; one that marks a property of something holds nothing."""
    parent = element.getparent()
    if parent is None:
        return
    place = parent.index(element)
    parent[place : place + 1] = [child for child in element if not child.tag.endswith("Pr")]


def _join_to_next(paragraph: etree._Element) -> None:
    """Put a paragraph whose mark is deleted before the text of the next one, or leave it out if it is empty."""
    following = paragraph.getnext()
    pieces = [child for child in paragraph if child.tag != qn("w:pPr")]
    if following is not None and following.tag == qn("w:p"):
        first = 1 if len(following) and following[0].tag == qn("w:pPr") else 0
        following[first:first] = pieces
        _remove(paragraph)
    elif not any(child.tag not in map(qn, DELETED) for child in pieces) and _may_go(paragraph):
        _remove(paragraph)


def _may_go(paragraph: etree._Element) -> bool:
    """Say whether a paragraph is not its cell's only one: a cell must have one."""
    parent = paragraph.getparent()
    return parent is not None and (parent.tag != qn("w:tc") or len(parent.findall(qn("w:p"))) > 1)


def put_notes_in_text(document: Document) -> None:
    """Put a mark such as [^1] where a footnote or endnote is referred to, and the note before the next heading."""
    parts = {tag: _notes(document, kind) for tag, kind in NOTES.items()}
    waiting: list[etree._Element] = []
    number = 0
    for block in list(document.element.body):
        if waiting and (_is_heading(block, document) or block.tag == qn("w:sectPr")):
            for paragraph in waiting:
                block.addprevious(paragraph)
            waiting = []
        for reference in list(block.iter(*map(qn, NOTES))):
            tag = next(tag for tag in NOTES if qn(tag) == reference.tag)
            note = parts[tag].get(reference.get(qn("w:id"), ""))
            if note is not None and any((each.text or "").strip() for each in note.iter(qn("w:t"))):
                number += 1
                reference.getparent().replace(reference, _text(f"[^{number}]"))
                waiting += _note_paragraphs(note, number)
    document.element.body.extend(waiting)


def _notes(document: Document, kind: str) -> dict[str, etree._Element]:
    """Return the notes of a kind by their ids, changes accepted."""
    for relation in document.part.rels.values():
        if relation.reltype == kind:
            root = parse_xml(relation.target_part.blob)
            accept_changes(root)
            return {note.get(qn("w:id"), ""): note for note in root if note.get(qn("w:type"), "normal") == "normal"}
    return {}


def _note_paragraphs(note: etree._Element, number: int) -> list[etree._Element]:
    paragraphs = list(note.iter(qn("w:p")))
    for paragraph in paragraphs:
        properties = paragraph.find(qn("w:pPr"))
        if properties is not None:
            paragraph.remove(properties)
    if paragraphs:
        first = next(text for text in note.iter(qn("w:t")) if (text.text or "").strip())
        first.text = (first.text or "").lstrip()
        run = OxmlElement("w:r")
        run.append(_text(f"[^{number}]: "))
        paragraphs[0].insert(0, run)
    return paragraphs


def _is_heading(block: etree._Element, document: Document) -> bool:
    if block.tag != qn("w:p"):
        return False
    style = Paragraph(block, document).style
    name = (style.name or "") if style is not None else ""
    return (
        name.lower().startswith(("heading", "title")) or block.find(f"{qn('w:pPr')}/{qn('w:outlineLvl')}") is not None
    )


def _text(text: str) -> etree._Element:
    element = OxmlElement("w:t")
    element.text = text
    element.set(qn("xml:space"), "preserve")
    return element


def write_signs(paragraph: Paragraph) -> None:
    """Write raised, lowered and struck text as text; neighbours that are set alike are taken together."""
    runs = [Run(element, paragraph) for element in _runs(paragraph._p)]
    for run, following in pairwise([*runs, None]):
        kind = _kind(run)
        if following is not None and kind != PLAIN and _kind(following) == kind and run._r.getnext() is following._r:
            following._r[_start(following._r) : _start(following._r)] = run._r.findall(qn("w:t"))
            continue
        _write(run, kind, following.text if following is not None else "")


def _start(run: etree._Element) -> int:
    return 1 if len(run) and run[0].tag == qn("w:rPr") else 0


def _runs(paragraph: etree._Element) -> Iterator[etree._Element]:
    """Yield a paragraph's own runs; those of a text box in it belong to the box."""
    for run in paragraph.iter(qn("w:r")):
        if next(run.iterancestors(qn("w:p")), None) is paragraph:
            yield run


def _kind(run: Run) -> tuple[str, bool]:
    """Return how a run is set: raised, lowered or neither, and whether it is struck out."""
    fonts = [run.font, *([run.style.font] if run.style is not None else [])]
    place = next(
        ("raised" if font.superscript else "lowered" for font in fonts if font.superscript or font.subscript), ""
    )
    is_struck = any(font.strike or font.double_strike for font in fonts)
    return place, is_struck


def _write(run: Run, kind: tuple[str, bool], after: str) -> None:
    texts = run._r.findall(qn("w:t"))
    text = "".join(element.text or "" for element in texts)
    if kind == PLAIN or not text.strip() or text.startswith("[^"):
        return
    place, is_struck = kind
    inner, after = text.strip(), "" if text[-1].isspace() else after
    new = raised(inner, after) if place == "raised" else lowered(inner, after) if place == "lowered" else inner
    texts[0].text = text.replace(inner, struck(new) if is_struck else new)
    texts[0].set(qn("xml:space"), "preserve")
    for element in texts[1:]:
        run._r.remove(element)
    run.font.superscript = run.font.subscript = run.font.strike = run.font.double_strike = None


def set_items_apart(cell: etree._Element, document: Document) -> None:
    """Put a mark before each list item of a table's cell: a row of a table is one line."""
    for element in cell.findall(qn("w:p")):
        paragraph = Paragraph(element, document)
        name = (paragraph.style.name or "") if paragraph.style is not None else ""
        numbering = element.find(f"{qn('w:pPr')}/{qn('w:numPr')}")
        if (numbering is None and not name.startswith("List")) or not paragraph.text.strip():
            continue
        run = OxmlElement("w:r")
        run.append(_text(f"{BULLET} "))
        element.insert(_start_of_text(element), run)
        if numbering is not None:
            _remove(numbering)
        paragraph.style = None


def _start_of_text(paragraph: etree._Element) -> int:
    return 1 if len(paragraph) and paragraph[0].tag == qn("w:pPr") else 0


def mark_glued(paragraph: etree._Element) -> None:
    """Mark each run that is set differently from the one before it with no space between them."""
    before: etree._Element | None = None
    for run in _runs(paragraph):
        texts = [child for child in run if child.tag != qn("w:rPr")]
        if not texts or run.find(f"{qn('w:rPr')}/{qn('w:vanish')}") is not None:
            continue
        first = texts[0]
        is_glued = before is not None and _is_text(first) and not (first.text or " ")[0].isspace()
        if is_glued and before is not None and _differs(before, run):
            first.text = GLUED + (first.text or "")
        last = texts[-1]
        before = run if _is_text(last) and not (last.text or " ")[-1].isspace() else None


def _is_text(element: etree._Element) -> bool:
    return bool(element.tag == qn("w:t"))


def _differs(run: etree._Element, other: etree._Element) -> bool:
    """Say whether two runs may be set differently, or one of them is a link's."""
    properties = [element.find(qn("w:rPr")) for element in (run, other)]
    written = [b"" if found is None else etree.tostring(found) for found in properties]
    return written[0] != written[1] or run.getparent() is not other.getparent()
