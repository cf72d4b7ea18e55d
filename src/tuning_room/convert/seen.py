"""The words of a file that a person sees, read in the simplest way there is and without Docling.

It is a second opinion: a fault of Docling's, or of what we do before and after it, must not be repeated here.
"""

import re
import zipfile
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning_room.convert.signs import ELEMENTS
from tuning_room.words import words

if TYPE_CHECKING:
    from bs4 import Tag

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
SHOWN_PART = re.compile(r"word/document\.xml|ppt/slides/slide\d+\.xml")
HIDDEN_TAGS = ["script", "style", "noscript", "template", "head", "title", "math", "datalist"]
HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)", re.IGNORECASE)
IN_A_LINE = frozenset(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark s samp small span strike "
    "strong time tt u var wbr".split()
)
DELETIONS = (f"{W}del", f"{W}moveFrom", f"{W}instrText", FALLBACK)
SIGNS_OF_WORD = {f"{W}tab": " ", f"{W}br": " ", f"{W}cr": " ", f"{W}noBreakHyphen": "-"}
# Where a raised or lowered piece begins and ends: it is a word of its own, which several runs may make up.
START, END = "\x02", "\x03"
SAME_SHIFT = re.compile(rf"{END}([_^]){START}\1")
# A block of code or a span of it, a comment, the target of a link, the definition of one, a tag, an escaped sign.
CODE = re.compile(
    r"^ {0,3}(?P<fence>`{3,}|~{3,})[^\n]*\n(?P<block>.*?)(?:^ {0,3}(?P=fence)|\Z)"
    r"|(?P<tick>`+)(?P<span>[^`].*?)(?P=tick)",
    re.M | re.S,
)
UNSEEN = re.compile(r"<!--.*?-->|<(script|style|noscript|template)\b.*?</\1\s*>", re.S | re.I)
DEFINITION = re.compile(r"^ {0,3}\[(?!\^)[^\]\n]+\]:[ \t]*\S+.*$", re.M)
TARGET = re.compile(r"(?<=\])(?:\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+(?:\"[^\"]*\"|'[^']*'))?\)|\[[^\]\n]*\])")
TAG = re.compile(r"</?([A-Za-z][\w:.-]*)[^<>]*>")
# Marks within a word, or a power and an index: they are no letters, and whether they part words is a matter of taste.
MARKS = re.compile(r"[*~`]+")
SIGNS = re.compile(r"[_^\[\]]+")


def bare_words(text: str) -> list[str]:
    """Return the words of a text without the marks of Markdown."""
    return words(SIGNS.sub(" ", MARKS.sub("", TARGET.sub("", text).replace("[", "").replace("]", ""))), alone="")


def _set_off(text: str, shift: str) -> Iterator[str]:
    """Yield a piece of text between marks if it is raised or lowered."""
    sign = {"superscript": "^", "subscript": "_"}.get(shift)
    yield f"{START}{sign}{text}{END}{sign}" if sign and text.strip() else text


def page_text(html: str) -> str:
    """Return the text of a web page that a person sees."""
    from bs4 import BeautifulSoup

    page = BeautifulSoup(html, "html.parser")
    # What KaTeX draws is in the page a second time, as a formula.
    for tag in [*page(HIDDEN_TAGS), *page(class_="katex-html"), *page(hidden=True), *page(style=HIDDEN_STYLE)]:
        tag.decompose()
    return "".join(_text_below(page))


def _text_below(tag: "Tag") -> Iterator[str]:
    from bs4.element import NavigableString, PreformattedString, Tag

    for child in tag.children:
        if isinstance(child, Tag):
            edge = "" if child.name in IN_A_LINE else " "
            yield edge
            yield from _text_below(child)
            yield edge
        elif isinstance(child, NavigableString) and not isinstance(child, PreformattedString):
            yield str(child)


def markdown_text(markdown: str) -> str:
    """Return the text of a Markdown file that a person sees."""
    return "".join(_markdown_pieces(markdown))


def _markdown_pieces(markdown: str) -> Iterator[str]:
    place = 0
    for code in CODE.finditer(markdown):
        yield from _prose(markdown[place : code.start()])
        yield (code["block"] or code["span"] or "")
        place = code.end()
    yield from _prose(markdown[place:])


def _prose(markdown: str) -> Iterator[str]:
    text = DEFINITION.sub("", UNSEEN.sub("", markdown))
    text = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", TARGET.sub("", text))
    yield unescape(TAG.sub(_edge, text))


def _edge(tag: re.Match[str]) -> str:
    """Return what a tag in Markdown is to a reader: the edge of a block, nothing, or a word in angle brackets."""
    name = tag[1].lower()
    return tag[0] if name not in ELEMENTS else "" if name in IN_A_LINE else " "


def word_text(path: Path) -> str:
    """Return the text of a Word file that a person sees, its changes accepted; notes come last."""
    return SAME_SHIFT.sub("", "".join(_word_pieces(path)))


def _word_pieces(path: Path) -> Iterator[str]:
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if re.search(r"word/diagrams/data\d*\.xml$", name)]
        yield from _paragraphs(etree.fromstring(archive.read("word/document.xml"), parser))
        for name in names:
            yield from (f" {text.text or ''} " for text in etree.fromstring(archive.read(name), parser).iter(f"{A}t"))
        for name in ("word/footnotes.xml", "word/endnotes.xml"):
            if name in archive.namelist():
                yield from _paragraphs(etree.fromstring(archive.read(name), parser))


def _paragraphs(element: Any) -> Iterator[str]:
    """Yield the text below an element of a Word file, deletions and hidden runs left out."""
    for child in element:
        if child.tag in DELETIONS or _is_gone(child):
            continue
        if child.tag == f"{W}t":
            yield child.text or ""
        elif child.tag in SIGNS_OF_WORD:
            yield SIGNS_OF_WORD[child.tag]
        elif child.tag == f"{W}r":
            shift = child.find(f"{W}rPr/{W}vertAlign")
            yield from _set_off("".join(_paragraphs(child)), "" if shift is None else shift.get(f"{W}val", ""))
        else:
            yield from _paragraphs(child)
            if child.tag == f"{W}p" and child.find(f"{W}pPr/{W}rPr/{W}del") is None:
                yield "\n"


def _is_gone(element: Any) -> bool:
    """Say whether an element is a row or cell that was deleted, or a run that is hidden."""
    marks = {f"{W}tr": f"{W}trPr/{W}del", f"{W}tc": f"{W}tcPr/{W}cellDel", f"{W}r": f"{W}rPr/{W}vanish"}
    return element.tag in marks and element.find(marks[element.tag]) is not None


def slides_text(path: Path) -> str:
    """Return the text of a presentation that a person sees, with the speaker's notes."""
    return SAME_SHIFT.sub("", "".join(_slide_pieces(path)))


def _slide_pieces(path: Path) -> Iterator[str]:
    from pptx import Presentation

    for slide in Presentation(str(path)).slides:
        yield from _slide_text(slide._element)
        for relation in slide.part.rels.values():
            if relation.reltype.endswith("/diagramData"):
                yield from re.findall(r"<a:t>([^<]*)</a:t>", relation.target_part.blob.decode())
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            yield f" {slide.notes_slide.notes_text_frame.text} "


def _slide_text(element: Any) -> Iterator[str]:
    for node in element.iter(f"{A}t", f"{A}br", f"{A}p", f"{A}tab"):
        if node.tag != f"{A}t":
            yield " "
            continue
        properties = node.getparent().find(f"{A}rPr")
        shift = int("0" if properties is None else properties.get("baseline", "0").rstrip("%") or 0)
        yield from _set_off(node.text or "", "superscript" if shift > 0 else "subscript" if shift < 0 else "")


def page_pictures(html: str) -> str:
    """Return the alternative texts of a web page's pictures, which are read to those who do not see them."""
    from bs4 import BeautifulSoup

    return "\n".join(str(picture.get("alt", "")) for picture in BeautifulSoup(html, "html.parser")("img"))


def file_pictures(path: Path) -> str:
    """Return the alternative texts of the pictures in a Word file or a presentation."""
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    with zipfile.ZipFile(path) as archive:
        names = [
            name for name in archive.namelist() if re.fullmatch(r"word/document\.xml|ppt/slides/slide\d+\.xml", name)
        ]
        roots = [etree.fromstring(archive.read(name), parser) for name in sorted(names)]
    found = [element for root in roots for element in root.iter("{*}docPr", "{*}cNvPr")]
    return "\n".join(dict.fromkeys(element.get("descr", "") for element in found))
