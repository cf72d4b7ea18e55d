"""Chunks by the structure of a document: a heading and all that stands under it, up to the next heading."""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.records import Chunk

if TYPE_CHECKING:
    from docling_core.types.doc import DoclingDocument, NodeItem, TableItem

PARAGRAPH_BREAK = "\n\n"


class Part(NamedTuple):
    """A paragraph, list item or table: its markdown, its plain text if it is a list item, its page."""

    text: str
    item: str = ""
    page: int | None = None


class Heading(NamedTuple):
    """A heading: its level (0 is the document's title), its text, its page."""

    level: int
    text: str
    page: int | None = None


class Section(NamedTuple):
    """What stands under one heading: the path of headings from the top, and the parts in reading order."""

    headings: list[str]
    parts: list[Part]
    page: int | None = None


def document_chunks(document: "DoclingDocument", name: str, limit: int, *, notes: bool = False) -> list[Chunk]:
    """Return the chunks of a Docling document, with ids such as 'name#0001'.

    A section is one chunk unless it is longer than `limit` characters; then it is cut between parts.
    With `notes`, a presentation's speaker notes count as text.
    """
    pieces = [piece for section in sections(elements(document, notes=notes)) for piece in cut(section, limit)]
    return [
        Chunk(
            id=f"{name}#{number:04d}",
            document=name,
            headings=section.headings,
            text=markdown(section.parts),
            items=[part.item for part in section.parts if part.item],
            page=next((part.page for part in section.parts if part.page), section.page),
        )
        for number, section in enumerate(pieces, start=1)
    ]


def sections(elements: Iterable[Heading | Part]) -> Iterator[Section]:
    """Yield the sections that have text, in reading order."""
    path: list[Heading] = []
    parts: list[Part] = []
    for element in elements:
        if isinstance(element, Part):
            parts.append(element)
            continue
        if parts:
            yield _section(path, parts)
        path, parts = [*(above for above in path if above.level < element.level), element], []
    if parts:
        yield _section(path, parts)


def cut(section: Section, limit: int) -> Iterator[Section]:
    """Yield a section in pieces of at most `limit` characters; a part that is longer stays whole."""
    piece: list[Part] = []
    for part in section.parts:
        if piece and len(markdown([*piece, part])) > limit:
            yield section._replace(parts=piece)
            piece = []
        piece.append(part)
    yield section._replace(parts=piece)


def markdown(parts: Iterable[Part]) -> str:
    """Return parts as markdown: the items of a list on lines of their own, all else parted by empty lines."""
    text, was_item = "", False
    for part in parts:
        text += ("\n" if was_item and part.item else PARAGRAPH_BREAK) + part.text
        was_item = bool(part.item)
    return text.strip()


def elements(document: "DoclingDocument", *, notes: bool = False) -> Iterator[Heading | Part]:
    """Yield a document's headings, paragraphs, list items and tables; running heads and pictures are left out."""
    layers = {"body", "notes"} if notes else {"body"}
    yield from _elements_below(document.body, document, layers, depth=0)


def _elements_below(
    node: "NodeItem", document: "DoclingDocument", layers: set[str], depth: int
) -> Iterator[Heading | Part]:
    from docling_core.types.doc import InlineGroup, ListItem, TableItem, TextItem

    captions = {reference.cref for table in document.tables for reference in table.captions}
    for child in (reference.resolve(document) for reference in node.children if reference.cref not in captions):
        is_own_text = isinstance(child, InlineGroup) and isinstance(node, TextItem) and not node.text
        if child.content_layer.value not in layers or is_own_text:
            continue
        yield from _own_elements(child, document, depth)
        if not isinstance(child, TableItem | InlineGroup):
            yield from _elements_below(child, document, layers, depth + isinstance(child, ListItem))


def _own_elements(node: "NodeItem", document: "DoclingDocument", depth: int) -> Iterator[Heading | Part]:
    from docling_core.types.doc import ListItem, SectionHeaderItem, TableItem, TitleItem

    text, page = plain_text(node, document), _page(node)
    if isinstance(node, TableItem):
        texts = [node.caption_text(document).strip(), table_markdown(node)]
        yield from (Part(text, page=page) for text in texts if text)
    elif not text:
        return
    elif isinstance(node, TitleItem | SectionHeaderItem):
        yield Heading(node.level if isinstance(node, SectionHeaderItem) else 0, text, page)
    elif isinstance(node, ListItem):
        yield Part(f"{'  ' * depth}{_marker(node.marker)} {text}", text, page)
    else:
        yield Part(text, page=page)


def plain_text(node: "NodeItem", document: "DoclingDocument") -> str:
    """Return a node's own text without markup; pieces in different fonts are joined."""
    from docling_core.types.doc import InlineGroup, TextItem

    if isinstance(node, InlineGroup):
        return joined(plain_text(child.resolve(document), document) for child in node.children)
    own = node.text if isinstance(node, TextItem) else ""
    if own or not isinstance(node, TextItem):
        return own.strip()
    groups = [child.resolve(document) for child in node.children]
    return joined(plain_text(group, document) for group in groups if isinstance(group, InlineGroup))


def joined(pieces: Iterable[str]) -> str:
    """Return pieces of a sentence as one text, with no space before a closing mark or after an opening one."""
    text = " ".join(piece.strip() for piece in pieces if piece.strip())
    return re.sub(r"([(\[]) ", r"\1", re.sub(r" ([.,;:!?)\]])", r"\1", text))


def table_markdown(table: "TableItem") -> str:
    """Return a table as markdown, one line a row."""
    rows = [[_cell_text(cell.text) for cell in row] for row in table.data.grid]
    if not rows or not any(any(row) for row in rows):
        return ""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]])


def _section(path: list[Heading], parts: list[Part]) -> Section:
    return Section([heading.text for heading in path], parts, path[-1].page if path else None)


def _cell_text(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _marker(marker: str) -> str:
    return marker if re.fullmatch(r"\(?\w+[.)]", marker) else "-"


def _page(node: "NodeItem") -> int | None:
    places = getattr(node, "prov", [])
    return places[0].page_no if places else None
