"""Cells of sparse tables and cells of several lines stay in their rows. reportlab, PDFium and Docling are real."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import convert_samples as samples
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reportlab.lib import colors
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph, Spacer, Table, TableStyle

from tuning_room.convert.aligned_tables import cell_lines
from tuning_room.convert.boxes import Box, Word
from tuning_room.convert.config import ConvertConfig
from tuning_room.convert.reader import DoclingReader
from tuning_room.convert.sources import Source
from tuning_room.convert.table_rows import joined_lines
from tuning_room.convert.tables import page_tables

ROTA = [
    ["Day", "Room", "Name", "Hours"],
    ["Monday", "101", "", "2"],
    ["", "", "Ada", ""],
    ["Tuesday", "", "", "3"],
    ["", "102", "Bob", ""],
    ["Friday", "", "Cy", "1"],
]
MARKS = [
    ["Name", "Q1", "Q2", "Q3", "Q4"],
    ["Ann", "1", "", "", "4"],
    ["Ben", "", "2", "", ""],
    ["Cid", "", "", "3", ""],
    ["Dan", "5", "", "", "8"],
    ["Eve", "", "6", "7", ""],
]
WORDS = [
    ["Role", "North", "South"],
    ["cook", "Ann", ""],
    ["guard", "", "Ben"],
    ["nurse", "", ""],
    ["pilot", "Cid", "Dan"],
]
NOTES = [
    ["Item", "Left", "Right"],
    ["Lamp", "a long note that takes several lines in its cell of the table and goes on", ""],
    ["", "", "another long note that takes several lines in its own cell as well, for sure"],
    ["Desk", "", "x"],
    ["Chair", "y", ""],
]
HEAD = ("LINEBELOW", (0, 0), (-1, 0))
TOP, END = ("LINEABOVE", (0, 0), (-1, 0)), ("LINEBELOW", (0, -1), (-1, -1))
COLUMNS, ROWS, FRAME = ("LINEAFTER", (0, 0), (-2, -1)), ("LINEBELOW", (0, 0), (-1, -1)), ("BOX", (0, 0), (-1, -1))
LINES: dict[str, list[tuple[Any, ...]]] = {
    "grid": [("GRID", (0, 0), (-1, -1))],
    "inner grid": [("INNERGRID", (0, 0), (-1, -1))],
    "three level lines": [TOP, HEAD, END],
    "a line below each row": [TOP, ROWS],
    "lines between columns": [HEAD, COLUMNS],
    "frame and lines between columns": [FRAME, HEAD, COLUMNS],
    "frame": [FRAME],
    "none": [],
}


@pytest.fixture(scope="module")
def reader() -> DoclingReader:
    return DoclingReader(ConvertConfig(ocr=False, layout="rules"))


def write(path: Path, rows: Sequence[Sequence[Any]], lines: list[tuple[Any, ...]], **table: Any) -> None:
    style = [(*line, 0.5, colors.black) for line in lines]
    style += [("VALIGN", (0, 0), (-1, -1), table.pop("valign", "MIDDLE")), *table.pop("spans", [])]
    text = Paragraph(samples.OPENING, samples.BODY)
    samples.write_pdf(path, [text, Spacer(1, 12), Table(rows, style=TableStyle(style), **table), Spacer(1, 12), text])


def tables(path: Path, reader: DoclingReader) -> list[list[list[str]]]:
    document = reader.read(Source(path, path.name, "pdf")).document
    return [[[cell.text for cell in row] for row in table.data.grid] for table in document.tables]


@pytest.mark.parametrize("lines", LINES)
@pytest.mark.parametrize("rows", [ROTA, MARKS, WORDS], ids=["rota", "marks", "words"])
def test_sparse_tables(rows: list[list[str]], lines: str, tmp_path: Path, reader: DoclingReader) -> None:
    write(tmp_path / "a.pdf", rows, LINES[lines], colWidths=[80] + [60] * (len(rows[0]) - 1))
    assert tables(tmp_path / "a.pdf", reader) == [rows]


@pytest.mark.parametrize("valign", ["TOP", "MIDDLE", "BOTTOM"])
@pytest.mark.parametrize("lines", ["grid", "three level lines", "a line below each row"])
def test_sparse_tables_with_cells_of_several_lines(
    lines: str, valign: str, tmp_path: Path, reader: DoclingReader
) -> None:
    rows = [[Paragraph(text, samples.BODY) if len(text) > 20 else text for text in row] for row in NOTES]
    write(tmp_path / "a.pdf", rows, LINES[lines], colWidths=[80, 120, 120], valign=valign)
    assert tables(tmp_path / "a.pdf", reader) == [NOTES]


def test_a_row_of_long_cells_between_lines_is_not_cut(tmp_path: Path, reader: DoclingReader) -> None:
    long = "so long that it has to be set in several lines of text, here and beside it too"
    rows = [["Name", "One", "Two"], ["Ann", f"A cell {long}", f"The other cell {long}, and a little more"]]
    cells = [rows[0], [rows[1][0], *(Paragraph(text, samples.BODY) for text in rows[1][1:])]]
    for name in ("grid", "frame and lines between columns"):
        write(tmp_path / "a.pdf", cells, LINES[name], colWidths=[60, 110, 110], valign="TOP")
        assert tables(tmp_path / "a.pdf", reader) == [rows]


def test_words_beside_a_table_are_not_lost_with_its_lines(tmp_path: Path, reader: DoclingReader) -> None:
    # Docling's parser makes one line of what is drawn one after the other on one height, in the table or not.
    canvas = Canvas(str(tmp_path / "a.pdf"))
    for number, row in enumerate([["Item", "Price"], ["Lamp", "12"], ["Desk", "90"]]):
        for column, text in enumerate(row):
            canvas.drawRightString(117 + 50 * column, 705 - 20 * number, text)
            canvas.rect(70 + 50 * column, 700 - 20 * number, 50, 20)
        if number == 1:
            canvas.drawString(173, 685, "sold")
    canvas.save()
    document = reader.read(Source(tmp_path / "a.pdf", "a.pdf", "pdf")).document
    text = document.export_to_markdown(compact_tables=True)
    assert re.findall(r"\w+", text) == ["Item", "Price", "Lamp", "12", "Desk", "90", "sold"]
    assert tables(tmp_path / "a.pdf", reader) == [[["Item", "Price"], ["Lamp", "12"], ["Desk", "90"]]]


def test_a_label_in_the_middle_of_several_rows_is_not_lost(tmp_path: Path, reader: DoclingReader) -> None:
    rows = [["Group", "Name", "Points"], ["North", "Ann", "1"], ["", "Ben", ""], ["South", "Dan", ""], ["", "Eve", "6"]]
    spans = [("SPAN", (0, 1), (0, 2)), ("SPAN", (0, 3), (0, 4))]
    for lines in LINES.values():
        write(tmp_path / "a.pdf", rows, lines, spans=spans)
        document = reader.read(Source(tmp_path / "a.pdf", "a.pdf", "pdf")).document
        words = re.findall(r"\w+", document.export_to_markdown(compact_tables=True))
        assert sorted(set(words) & {*"North South Ann Ben Dan Eve".split()}) == sorted(
            "North South Ann Ben Dan Eve".split()
        )


def words_of(*rows: str, step: float = 18.0) -> list[Word]:
    return [
        (Box(5.0 * match.start(), step * number, 5.0 * match.end(), step * number + 10), match[0])
        for number, row in enumerate(rows)
        for match in re.finditer(r"\S+", row)
    ]


def test_even_lines_are_rows() -> None:
    lines = [words_of(row) for row in ("a long note   one", "goes on       two", "and ends      three")]
    lines = [[(Box(b.left, 12.0 * n, b.right, 12.0 * n + 10), t) for b, t in line] for n, line in enumerate(lines)]
    assert joined_lines(lines, [0, 65, 100]) == [[line] for line in lines]


ENTRIES = st.sampled_from(["", "", "1", "22", "Ann", "Bob", "yes"])


@given(
    body=st.lists(st.lists(ENTRIES, min_size=3, max_size=3), min_size=4, max_size=9),
    drawn=st.sampled_from(["rows", "three", "columns", "grid"]),
)
def test_any_sparse_cells_between_lines_keep_their_places(body: list[list[str]], drawn: str) -> None:
    # Every row and every column has something in it, and most rows have more: else nobody could tell where they are.
    rows = [["Name", "Left", "Right", "Below"], *([f"row{n}", *cells] for n, cells in enumerate(body))]
    rows[1:3] = [["row0", "7", "8", "9"], ["row1", "7", "8", "9"]]
    for row in rows[3:]:
        row[1] = row[1] if any(row[1:]) else "3"
    words = words_of(*("".join(f"{cell:<12}" for cell in row) for row in rows))
    bottom, width = 18.0 * len(rows) - 4, 48 * 5.0
    level = {"rows": [18.0 * n - 4 for n in range(len(rows) + 1)], "three": [-4.0, 14.0, bottom]}
    level |= {"grid": level["rows"], "columns": [-4.0, 14.0, bottom]}
    upright = [60.0 * n - 5 for n in range(5)] if drawn in ("grid", "columns") else []
    rules = [Box(-5.0, y, width - 5, y + 0.5) for y in level[drawn]]
    rules += [Box(x, -4.0, x + 0.5, bottom) for x in upright]
    (grid,) = page_tables(rules, words)
    found = [[""] * 4 for _ in rows]
    for cell in grid.cells:
        found[cell.row][cell.column] = " ".join(cell_lines(word for word in words if cell.box.holds(word[0])))
    assert found == rows
