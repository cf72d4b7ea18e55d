"""Chunks of Docling documents. The documents are real Docling documents, made by its own builder."""

import pytest
from docling_core.types.doc import DocItemLabel, DoclingDocument, GroupLabel, TableCell, TableData
from docling_core.types.doc.common.content_layer import ContentLayer
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.convert.chunks import Heading, Passage, cut, document_chunks, joined, markdown, sections


@pytest.fixture
def document() -> DoclingDocument:
    return DoclingDocument(name="sample")


def test_heading_path_follows_the_levels(document: DoclingDocument) -> None:
    document.add_title("Book")
    for level, text in ((1, "One"), (2, "One A"), (1, "Two"), (3, "Two deep"), (2, "Two A")):
        document.add_heading(text, level=level)
        document.add_text(label=DocItemLabel.TEXT, text=f"Text of {text}.")
    assert [chunk.headings for chunk in document_chunks(document, "a.md", 2000)] == [
        ["Book", "One"],
        ["Book", "One", "One A"],
        ["Book", "Two"],
        ["Book", "Two", "Two deep"],
        ["Book", "Two", "Two A"],
    ]


def test_text_before_the_first_heading_and_headings_without_text(document: DoclingDocument) -> None:
    document.add_text(label=DocItemLabel.TEXT, text="Before.")
    document.add_heading("Empty", level=1)
    (chunk,) = document_chunks(document, "a.md", 2000)
    assert (chunk.id, chunk.headings, chunk.text, chunk.page) == ("a.md#0001", [], "Before.", None)


def test_nested_and_numbered_lists(document: DoclingDocument) -> None:
    outer = document.add_group(label=GroupLabel.LIST)
    item = document.add_list_item("First.", parent=outer, enumerated=True, marker="1.")
    inner = document.add_group(label=GroupLabel.LIST, parent=item)
    document.add_list_item("Inner.", parent=inner)
    document.add_list_item("Second.", parent=outer, enumerated=True, marker="2.")
    (chunk,) = document_chunks(document, "a.md", 2000)
    assert chunk.text == "1. First.\n  - Inner.\n2. Second."
    assert chunk.items == ["First.", "Inner.", "Second."]


def test_notes_count_only_when_asked_for(document: DoclingDocument) -> None:
    document.add_text(label=DocItemLabel.TEXT, text="Slide.")
    document.add_text(label=DocItemLabel.TEXT, text="Spoken.", content_layer=ContentLayer.NOTES)
    document.add_text(label=DocItemLabel.PAGE_FOOTER, text="7", content_layer=ContentLayer.FURNITURE)
    assert document_chunks(document, "a", 2000)[0].text == "Slide."
    assert document_chunks(document, "a", 2000, notes=True)[0].text == "Slide.\n\nSpoken."


def test_table_without_text_is_left_out(document: DoclingDocument) -> None:
    cell = TableCell(
        text=" ", start_row_offset_idx=0, end_row_offset_idx=1, start_col_offset_idx=0, end_col_offset_idx=1
    )
    document.add_table(TableData(num_rows=1, num_cols=1, table_cells=[cell]))
    assert document_chunks(document, "a", 2000) == []


def test_caption_stands_above_its_table_once(document: DoclingDocument) -> None:
    caption = document.add_text(label=DocItemLabel.CAPTION, text="Table 1")
    cell = TableCell(
        text="a", start_row_offset_idx=0, end_row_offset_idx=1, start_col_offset_idx=0, end_col_offset_idx=1
    )
    document.add_table(TableData(num_rows=1, num_cols=1, table_cells=[cell]), caption=caption)
    assert document_chunks(document, "a", 2000)[0].text == "Table 1\n\n| a |\n| --- |"


def test_text_in_several_fonts_counts_once(document: DoclingDocument) -> None:
    heading = document.add_heading("", level=1)
    for parent in (heading, document.add_list_item("", parent=document.add_group(label=GroupLabel.LIST))):
        inline = document.add_inline_group(parent=parent)
        for word in ("Ask", "once", "."):
            document.add_text(label=DocItemLabel.TEXT, text=word, parent=inline)
    (chunk,) = document_chunks(document, "a", 2000)
    assert (chunk.headings, chunk.text, chunk.items) == (["Ask once."], "- Ask once.", ["Ask once."])


def test_pieces_of_a_sentence() -> None:
    assert joined(["See (", "here", ") and", "there", ", now."]) == "See (here) and there, now."


parts = st.builds(
    lambda text, is_item: Passage(text, text if is_item else ""), st.text("ab ", min_size=1), st.booleans()
)
headings = st.builds(Heading, st.integers(0, 4), st.text("xyz", min_size=1))


@given(st.lists(st.one_of(parts, headings)), st.integers(1, 80))
def test_no_part_is_lost_or_moved(elements: list[Passage | Heading], limit: int) -> None:
    pieces = [piece for section in sections(elements) for piece in cut(section, limit)]
    assert [part for piece in pieces for part in piece.passages] == [e for e in elements if isinstance(e, Passage)]
    assert all(piece.passages for piece in pieces)
    assert all(len(piece.passages) == 1 or len(markdown(piece.passages)) <= limit for piece in pieces)
