"""What the rules mend of a PDF once Docling has put its pages together: items over two pages, levels of headings.

Import it late: Docling takes seconds.
"""

from collections.abc import Sequence
from itertools import pairwise

from docling_core.types.doc import (
    DocItem,
    DocItemLabel,
    DoclingDocument,
    ListItem,
    NodeItem,
    SectionHeaderItem,
    TextItem,
)

from tuning_room.convert.outline import Bookmark, Heading, levels
from tuning_room.convert.rule_layout import BULLET

SENTENCE_END = (".", "!", "?", ":", ";")


def join_split_items(document: DoclingDocument) -> None:
    """Put together list items that a page break cuts in two; Docling does so for paragraphs only."""
    items = [item for item, _ in document.iterate_items() if isinstance(item, DocItem)]
    rests: list[NodeItem] = []
    for item, rest in pairwise(items):
        if isinstance(item, ListItem) and isinstance(rest, TextItem) and _is_rest(item, rest):
            item.text, item.orig = f"{item.text} {rest.text}", f"{item.orig} {rest.orig}"
            item.prov.extend(rest.prov)
            rests.append(rest)
    if rests:
        document.delete_items(node_items=rests)


def set_levels(document: DoclingDocument, bookmarks: Sequence[Bookmark]) -> None:
    """Give the headings the levels of the PDF's own outline, where it has one."""
    items = [item for item in document.texts if isinstance(item, SectionHeaderItem) and item.prov]
    headings = [Heading(item.prov[0].page_no, item.text, item.level) for item in items]
    if bookmarks:
        for item, level in zip(items, levels(headings, bookmarks), strict=True):
            item.level = level


def _is_rest(item: ListItem, rest: TextItem) -> bool:
    is_plain = rest.label == DocItemLabel.TEXT and not BULLET.match(rest.text)
    if not is_plain or not item.prov or not rest.prov or item.text.endswith(SENTENCE_END):
        return False
    return bool(rest.prov[0].page_no == item.prov[-1].page_no + 1)
