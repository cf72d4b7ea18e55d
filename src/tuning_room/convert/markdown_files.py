"""A Markdown file as Docling reads it: words in angle brackets, escapes, notes and inline HTML as a reader sees them.

What is changed is the tree that the file is parsed to, before Docling walks over it. Import it late: Docling takes
seconds.
"""

import re
from collections.abc import Iterator
from copy import copy
from functools import cache
from html import escape, unescape
from typing import Any

from bs4 import BeautifulSoup
from docling.backend import md_backend
from docling.backend.md_backend import MarkdownDocumentBackend
from docling_core.types.doc import DoclingDocument
from marko import Markdown, block, inline
from marko.element import Element

from tuning_room.convert.signs import BULLET, ELEMENTS, GLUED, INLINE, STRUCK, lowered, raised
from tuning_room.convert.web_pages import put_in_order

# A note is no link, though CommonMark takes a definition of one word for that of a link.
NOTE = re.compile(r"^( {0,3})\[(?=\^[^\]\s]+\]:)")
# The time that marko takes doubles with each quotation within another one; deeper ones are taken for part of the last.
QUOTES = re.compile(r"^((?: {0,3}> ?){8})(?: {0,3}> ?)+")
ROW = re.compile(r"^ {0,3}\|.*\|\s*$")
SPAN = re.compile(r"(?<!`)`[^`]+`(?!`)")
BAR = re.compile(r"(?<!\\)\|")
# The factor before a star: one letter or a number, as in 2*3*4 and a*b*c.
FACTOR = re.compile(r"(?:(?<![^\W_])[^\W\d_]|\d)$")
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
TAG = re.compile(r"</?([A-Za-z][\w:.-]*)")


class MarkdownBackend(MarkdownDocumentBackend):
    """Docling's reader of Markdown, given a tree that is put in order."""

    def convert(self) -> DoclingDocument:
        """Return the document."""
        self.markdown: str = prepared(self.markdown)
        return super().convert()

    def _iterate_elements(self, *, element: Element, **context: Any) -> None:
        if isinstance(element, block.Document):
            put_tree_in_order(element)
        super()._iterate_elements(element=element, **context)


def prepared(markdown: str) -> str:
    """Return Markdown whose notes are no definitions of links, and whose code in tables has no bars that part cells.

    Blocks of code stay as they are.
    """
    lines, fence = [], ""
    for line in markdown.splitlines(keepends=True):
        mark = FENCE.match(line)
        if mark and (not fence or (mark[1].startswith(fence) and not line.strip().strip(fence[0]))):
            fence = "" if fence else mark[1]
        lines.append(line if fence else _prepared_line(line))
    return "".join(lines)


def _prepared_line(line: str) -> str:
    line = QUOTES.sub(r"\1", line)
    if NOTE.match(line):
        # A paragraph of its own, even right below another note.
        return "\n" + NOTE.sub(r"\1&#91;", line)
    if ROW.match(line):
        return SPAN.sub(lambda span: BAR.sub(r"\\|", span[0]), line)
    return line


def put_tree_in_order(element: Element) -> None:
    """Change a tree so that all that a reader sees is text, and mark what is glued together."""
    children = getattr(element, "children", None)
    if not isinstance(children, list):
        return
    if any(isinstance(child, block.HTMLBlock) for child in children):
        children = [new for child in children for new in _html_block(child)]
        if any(isinstance(child, block.HTMLBlock) for child in children):
            children = [new for child in children for new in (child, *_edge(child))]
        element.children = children  # type: ignore[attr-defined]
    if any(isinstance(child, inline.InlineElement) for child in children):
        _simplify(element)
        _mark_glued(element)
    for child in children:
        if isinstance(child, block.BlockElement) or not isinstance(child, inline.InlineElement):
            put_tree_in_order(child)


def _html_block(child: Element) -> list[Element]:
    """Return what takes the place of a block: itself, or text where its tags are none of HTML's."""
    if not isinstance(child, block.HTMLBlock):
        return [child]
    tag = TAG.match(child.body.lstrip())
    if tag and tag[1].lower() not in ELEMENTS:
        text = child.body if child.body.endswith("\n") else f"{child.body}\n"
        return list(Markdown(extensions=[md_backend._GFM_EXTENSION]).parse(escape(text, quote=False)).children)
    child.body = _ordered(child.body)
    return [child]


def _edge(child: Element) -> list[Element]:
    """Return what keeps a paragraph apart from the next one: with HTML in a file, Docling runs some together."""
    return [copy(_empty_block())] if isinstance(child, block.Paragraph) else []


@cache
def _empty_block() -> Element:
    (element,) = Markdown().parse("<div></div>\n").children
    return element


def _ordered(html: str) -> str:
    page = BeautifulSoup(html, "html.parser")
    # A part of an element, which goes on below a blank line, has to stay open.
    if str(page).count("</") != html.count("</"):
        return html
    put_in_order(page)
    return str(page)


def _simplify(element: Any) -> None:
    """Write what stands in a line as text as far as possible, and join texts that follow each other."""
    texts: list[Any] = []
    if hasattr(element, "checked"):
        texts.append(_raw("[x] " if element.checked else "[ ] "))
    for child in _without_products(list(_without_tags(element.children))):
        if isinstance(child, inline.Literal):
            child = _raw(escape(str(child.children), quote=False))
        if isinstance(child, inline.RawText) and texts and isinstance(texts[-1], inline.RawText):
            texts[-1] = _raw(texts[-1].children + child.children)
        else:
            texts.append(child)
            if isinstance(getattr(child, "children", None), list):
                _simplify(child)
    element.children = texts


def _raw(text: str) -> inline.RawText:
    return inline.RawText(text, escape=False)


def _without_tags(children: list[Any]) -> Iterator[Any]:
    """Yield what stands in a line, with the tags of HTML as the signs that a reader sees."""
    waiting = list(children)
    while waiting:
        child = waiting.pop(0)
        name = _name(child)
        if isinstance(child, md_backend._GfmStrikethrough):
            yield from (_raw(STRUCK), *child.children, _raw(STRUCK))
        elif name is None:
            yield child
        elif name in ("sup", "sub") and (end := _end(waiting, name)) is not None:
            text = unescape("".join(each.children for each in waiting[:end]))
            del waiting[: end + 1]
            after = _all_text(waiting[0]) if waiting else ""
            yield _raw(escape(raised(text, after) if name == "sup" else lowered(text, after), quote=False))
        elif sign := _sign(name):
            yield _raw(sign)


def _without_products(children: list[Any]) -> Iterator[Any]:
    """Yield what stands in a line, with 2*3*4 as a product and not as a 3 in italics between two numbers."""
    before: Any = None
    for index, child in enumerate(children):
        after = children[index + 1] if index + 1 < len(children) else None
        texts = [_text(before), _text(child.children[0]) if _is_simple_emphasis(child) else "", _text(after)]
        if all(texts) and FACTOR.search(texts[0]) and not texts[2][0].isspace():
            yield _raw(f"*{texts[1]}*")
        else:
            yield child
        before = child


def _is_simple_emphasis(child: Any) -> bool:
    return isinstance(child, inline.Emphasis) and len(child.children) == 1


def _all_text(child: Any) -> str:
    below = "" if isinstance(child, inline.InlineHTML) else getattr(child, "children", "")
    return below if isinstance(below, str) else "".join(map(_all_text, below))


def _text(child: Any) -> str:
    return str(child.children) if isinstance(child, inline.RawText) else ""


def _name(child: Any) -> str | None:
    """Return the name of a tag, '' for a comment and the like, None for what is no tag of HTML."""
    if not isinstance(child, inline.InlineHTML):
        return None
    text = str(child.children)
    tag = TAG.match(text)
    if tag is None:
        return ""
    name = tag[1].lower()
    # The end of a list's item is an edge like that of the list.
    return "ul" if text.lower().startswith("</li") else name if name in ELEMENTS else f"?{text}"


def _end(waiting: list[Any], name: str) -> int | None:
    """Return where an element of texts alone ends."""
    for index, child in enumerate(waiting):
        if _name(child) == name:
            return index
        if not isinstance(child, inline.RawText | inline.Literal):
            return None
    return None


def _sign(name: str) -> str:
    """Return what a reader sees of a tag."""
    if name.startswith("?"):
        return escape(name[1:], quote=False)
    if name in ("del", "s", "strike"):
        return STRUCK
    if name == "q":
        return "&quot;"
    if name == "li":
        return f" {BULLET} "
    return "" if not name or name in INLINE else " "


def _mark_glued(element: Any) -> None:
    """Mark each text in a line that no space separates from the one before it."""
    glues = False
    for leaf in _leaves(element):
        if not isinstance(leaf, inline.RawText | inline.CodeSpan) or not leaf.children:
            glues = False
            continue
        text = str(leaf.children)
        if glues and not text[0].isspace():
            leaf.children = GLUED + text
        glues = not text[-1].isspace()


def _leaves(element: Any) -> Iterator[Any]:
    for child in element.children:
        if isinstance(getattr(child, "children", None), list):
            yield from _leaves(child)
        else:
            yield child
