"""The test of totals for sheets: every cell that a person sees is in the markdown and the chunks, in order.

Real: the command line, Docling, and the workbooks and CSV files, which Hypothesis makes up: a folder of them a run.
"""

import csv
import datetime as dt
import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import openpyxl
from bakery import run, small_recipe
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

# A value, the format of its cell, and what a person sees.
VALUES = [
    (0.475, "0.0%", "47.5%"),
    (12, "0%", "1200%"),
    (7, "00000", "00007"),
    (1234567.5, '#,##0.00 "EUR"', "1,234,567.50 EUR"),
    (-42, "$#,##0;($#,##0)", "($42)"),
    (1.5, "# ?/?", "1 1/2"),
    (0.00012, "0.0E+00", "1.2E-04"),
    (dt.date(2026, 3, 1), "yyyy-mm-dd", "2026-03-01"),
    (dt.datetime(2026, 3, 1, 15, 5), "d mmm yy h:mm AM/PM", "1 Mar 26 3:05 PM"),
    (dt.time(9, 30), "hh:mm", "09:30"),
    (0.1 + 0.2, "General", "0.3"),
    (True, "General", "TRUE"),
    ("a|b", "General", "a|b"),
    ("two\nlines", "General", "two lines"),
    ("007", "@", "007"),
    ("Größe <x> & *y*", "General", "Größe <x> & *y*"),
    ("数量", "0", "数量"),
    ("", "General", ""),
]


class Sheet(NamedTuple):
    """A sheet: which value each cell has, and which rows and columns are hidden."""

    rows: list[list[int]]
    hidden_rows: set[int]
    hidden_columns: set[int]


SHEETS = st.integers(2, 4).flatmap(
    lambda width: st.builds(
        Sheet,
        st.lists(st.lists(st.integers(0, len(VALUES) - 1), min_size=width, max_size=width), min_size=2, max_size=6),
        st.sets(st.integers(1, 5), max_size=2),
        st.sets(st.integers(1, width - 1), max_size=1),
    )
)
WORDS = st.text(alphabet="ab;,|\t\"'\n é字", max_size=8).map(lambda text: " ".join(text.split()))


def fill(sheet: Worksheet, wanted: Sheet) -> list[str]:
    """Fill a sheet, and return what a person sees on it, from left to right and from top to bottom."""
    seen = []
    for row, values in enumerate(wanted.rows):
        for column, index in enumerate(values):
            value, code, text = VALUES[index]
            cell = sheet.cell(row + 1, column + 1, value or None)
            cell.number_format = code
            if row == 0 or column == 0:
                # Names, so that no table falls apart.
                value = text = cell.value = f"n{row}x{column}"
            if row not in wanted.hidden_rows and column not in wanted.hidden_columns and text:
                seen.append(text)
    for row in wanted.hidden_rows:
        sheet.row_dimensions[row + 1].hidden = True
    for column in wanted.hidden_columns:
        sheet.column_dimensions[get_column_letter(column + 1)].hidden = True
    return seen


def write_book(path: Path, sheets: list[Sheet]) -> list[str]:
    """Write a workbook, and return what a person sees of it."""
    book = openpyxl.Workbook()
    del book["Sheet"]
    seen = []
    for number, wanted in enumerate(sheets):
        seen += [f"Sheet {number}", *fill(book.create_sheet(f"Sheet {number}"), wanted)]
    book.create_sheet("Hidden").append(["SECRET"])
    book["Hidden"].sheet_state = "hidden"
    book.save(path)
    return seen


def write_csv(path: Path, rows: list[list[str]], delimiter: str, encoding: str) -> list[str]:
    """Write a CSV file with a head, and return what a person sees of it."""
    rows = [["first", "second", "third"], *rows]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return [cell for row in rows for cell in row if cell]


def lost(seen: list[str], text: str) -> list[str]:
    """Return what is not found in a text behind what was found before it."""
    missing, place = [], 0
    for wanted in seen:
        found = text.find(wanted, place)
        if found < 0:
            missing.append(wanted)
        else:
            place = found + len(wanted)
    return missing


# Every example is a run of the command: a failing one is not made smaller.
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(
    books=st.lists(st.lists(SHEETS, min_size=1, max_size=2), min_size=6, max_size=6),
    files=st.lists(
        st.tuples(
            st.lists(st.lists(WORDS, min_size=3, max_size=3), min_size=1, max_size=4),
            st.sampled_from(",;\t|"),
            st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
        ),
        min_size=6,
        max_size=6,
    ),
)
def test_every_cell_that_a_person_sees_is_there_in_order(books: list[list[Sheet]], files: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = small_recipe(Path(made))
        documents = folder / "documents"
        shutil.rmtree(documents)
        documents.mkdir()
        seen = {f"{n}.xlsx": write_book(documents / f"{n}.xlsx", sheets) for n, sheets in enumerate(books)}
        seen |= {f"{n}.csv": write_csv(documents / f"{n}.csv", *parts) for n, parts in enumerate(files)}
        done = run("convert", ".", "--json", cwd=folder)
        assert done.returncode == 0, done.stderr
        report = {file["name"]: file for file in json.loads(done.stdout)["files"]}
        chunks: dict[str, str] = dict.fromkeys(seen, "")
        for line in (folder / "runs" / "small" / "chunks.jsonl").read_text().splitlines():
            chunk = json.loads(line)
            chunks[chunk["document"]] += "\n".join([*chunk["headings"], chunk["text"], ""])
        for name, texts in seen.items():
            markdown = (folder / "runs" / "small" / "documents" / f"{name}.md").read_text()
            assert lost(texts, markdown.replace("&#124;", "|")) == [], name
            assert lost(texts, chunks[name].replace("\\|", "|")) == [], name
            assert "SECRET" not in markdown
            assert report[name]["missing"] == []
            if name.endswith("xlsx"):
                assert "1 hidden sheet" in report[name]["left_out"]
