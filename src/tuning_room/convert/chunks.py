"""Chunks by the structure of a document: a heading and everything under it, up to the next heading."""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.convert.signs import unglued
from tuning_room.records import Chunk

if TYPE_CHECKING:
    from docling_core.types.doc import DoclingDocument, NodeItem, TableCell, TableItem

PARAGRAPH_BREAK = "\n\n"
PLAIN = "text/plain"


class Passage(NamedTuple):
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
    """What stands under one heading: the path of headings from the top, and the passages in reading order."""

    headings: list[str]
    passages: list[Passage]
    page: int | None = None


def document_chunks(document: "DoclingDocument", name: str, limit: int, *, notes: bool = False) -> list[Chunk]:
    """Return the chunks of a Docling document, with ids such as 'name#0001'.

    A section is one chunk unless it is longer than `limit` characters; then it is cut between passages.
    With `notes`, a presentation's speaker notes count as text.
    """
    pieces = [piece for section in sections(elements(document, notes=notes)) for piece in cut(section, limit)]
    return [
        Chunk(
            id=f"{name}#{number:04d}",
            document=name,
            headings=section.headings,
            text=markdown(section.passages),
            items=[passage.item for passage in section.passages if passage.item],
            page=next((passage.page for passage in section.passages if passage.page), section.page),
        )
        for number, section in enumerate(pieces, start=1)
    ]


def sections(elements: Iterable[Heading | Passage]) -> Iterator[Section]:
    """Yield the sections that have text, in reading order."""
    path: list[Heading] = []
    passages: list[Passage] = []
    for element in elements:
        if isinstance(element, Passage):
            passages.append(element)
            continue
        if passages:
            yield _section(path, passages)
        path, passages = [*(above for above in path if above.level < element.level), element], []
    if passages:
        yield _section(path, passages)


def cut(section: Section, limit: int) -> Iterator[Section]:
    """Yield a section in pieces of at most `limit` characters; a passage that is longer stays whole."""
    piece: list[Passage] = []
    for passage in section.passages:
        if piece and len(markdown([*piece, passage])) > limit:
            yield section._replace(passages=piece)
            piece = []
        piece.append(passage)
    yield section._replace(passages=piece)


def markdown(passages: Iterable[Passage]) -> str:
    """Return passages as markdown: list items on consecutive lines, everything else separated by blank lines."""
    text, was_item = "", False
    for passage in passages:
        text += ("\n" if was_item and passage.item else PARAGRAPH_BREAK) + passage.text
        was_item = bool(passage.item)
    # In plain text, the first line may be indented.
    return text.strip("\n")


def elements(document: "DoclingDocument", *, notes: bool = False) -> Iterator[Heading | Passage]:
    """Yield a document's headings, paragraphs, list items and tables; running heads and pictures are left out."""
    layers = {"body", "notes"} if notes else {"body"}
    yield from _elements_below(document.body, document, layers, depth=0)


def _elements_below(
    node: "NodeItem", document: "DoclingDocument", layers: set[str], depth: int
) -> Iterator[Heading | Passage]:
    from docling_core.types.doc import InlineGroup, ListItem, TableItem, TextItem

    captions = {reference.cref for table in document.tables for reference in table.captions}
    for child in (reference.resolve(document) for reference in node.children if reference.cref not in captions):
        is_own_text = isinstance(child, InlineGroup) and isinstance(node, TextItem) and not node.text
        if is_own_text:
            continue
        # What stands below a heading that is hidden need not be.
        if child.content_layer.value in layers:
            yield from _own_elements(child, document, depth)
        if not isinstance(child, TableItem | InlineGroup):
            yield from _elements_below(child, document, layers, depth + isinstance(child, ListItem))


def _own_elements(node: "NodeItem", document: "DoclingDocument", depth: int) -> Iterator[Heading | Passage]:
    from docling_core.types.doc import ListItem, SectionHeaderItem, TableItem, TitleItem

    text, page = unglued(plain_text(node, document)), _page(node)
    if isinstance(node, TableItem):
        texts = [unglued(text) for text in (node.caption_text(document).strip(), table_markdown(node, document))]
        yield from (Passage(text, page=page) for text in texts if text)
    elif not text:
        return
    elif isinstance(node, TitleItem | SectionHeaderItem):
        yield Heading(node.level if isinstance(node, SectionHeaderItem) else 0, text, page)
    elif isinstance(node, ListItem):
        marker = node.marker if re.fullmatch(r"\(?\w+[.)]", node.marker) else "-"
        yield Passage(f"{'  ' * depth}{marker} {text}", text, page)
    else:
        yield Passage(text, page=page)


def plain_text(node: "NodeItem", document: "DoclingDocument") -> str:
    """Return a node's own text without markup; pieces in different fonts are joined."""
    from docling_core.types.doc import InlineGroup, TextItem

    if isinstance(node, InlineGroup):
        return joined(plain_text(child.resolve(document), document) for child in node.children)
    own = node.text if isinstance(node, TextItem) else ""
    if own and document.origin and document.origin.mimetype == PLAIN:
        return own
    if own or not isinstance(node, TextItem):
        return own.strip()
    groups = [child.resolve(document) for child in node.children]
    return joined(plain_text(group, document) for group in groups if isinstance(group, InlineGroup))


def joined(pieces: Iterable[str]) -> str:
    """Return pieces of a sentence as one text, with no space before a closing mark or after an opening one."""
    text = " ".join(piece.strip() for piece in pieces if piece.strip())
    return re.sub(r"([(\[]) ", r"\1", re.sub(r" ([.,;:!?)\]])", r"\1", text))


def table_markdown(table: "TableItem", document: "DoclingDocument") -> str:
    """Return a table as markdown, a line for each row."""
    rows = [
        [" ".join(_cell_text(cell, document).split()).replace("|", "\\|") for cell in row] for row in table.data.grid
    ]
    if not rows or not any(any(row) for row in rows):
        return ""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]])


def _cell_text(cell: "TableCell", document: "DoclingDocument") -> str:
    """Return a cell's text, or that of what is in it where its own lacks some, such as a table's within it."""
    from docling_core.types.doc import RichTableCell

    own: str = cell.text
    if not isinstance(cell, RichTableCell):
        return own
    below = " ".join(_texts_below(cell.ref.resolve(document), document))
    return max(own, below, key=lambda text: sum(map(str.isalnum, text)))


def _texts_below(node: "NodeItem", document: "DoclingDocument") -> Iterator[str]:
    from docling_core.types.doc import InlineGroup, TableItem

    if node.content_layer.value != "invisible":
        yield plain_text(node, document)
    if isinstance(node, TableItem):
        yield from (_cell_text(cell, document) for cell in node.data.table_cells)
    elif not isinstance(node, InlineGroup):
        children = (reference.resolve(document) for reference in node.children)
        for child in children:
            if not (isinstance(child, InlineGroup) and plain_text(node, document)):
                yield from _texts_below(child, document)


def _section(path: list[Heading], passages: list[Passage]) -> Section:
    return Section([heading.text for heading in path], passages, path[-1].page if path else None)


def _page(node: "NodeItem") -> int | None:
    places = getattr(node, "prov", [])
    return places[0].page_no if places else None
