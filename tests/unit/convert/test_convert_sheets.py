"""Workbooks and CSV files as a reader sees them. Docling is real; openpyxl and XlsxWriter make the files here."""

import csv
import datetime as dt
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import xlsxwriter  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl.worksheet.worksheet import Worksheet

from tuning_room.convert.config import ConvertConfig
from tuning_room.convert.csv_files import csv_rows, is_western
from tuning_room.convert.reader import DoclingReader, Reading
from tuning_room.convert.sources import Source, inspect
from tuning_room.errors import DocumentError

CONFIG = ConvertConfig(ocr=False)


@pytest.fixture(scope="module")
def reader() -> DoclingReader:
    return DoclingReader(CONFIG)


def read(path: Path, reader: DoclingReader) -> Reading:
    source = Source(path, path.name, path.suffix[1:])
    inspect(source, CONFIG)
    return reader.read(source)


def tables(reading: Reading) -> list[list[list[str]]]:
    return [[[cell.text for cell in row] for row in table.data.grid] for table in reading.document.tables]


Convert = Callable[[Callable[[Worksheet], None]], Reading]


@pytest.fixture
def convert(tmp_path: Path, reader: DoclingReader) -> Convert:
    def converted(fill: Callable[[Worksheet], None]) -> Reading:
        book = openpyxl.Workbook()
        sheet = book.active
        assert isinstance(sheet, Worksheet)
        fill(sheet)
        book.save(tmp_path / "book.xlsx")
        return read(tmp_path / "book.xlsx", reader)

    return converted


def append(sheet: Worksheet, *rows: list[Any]) -> None:
    for row in rows:
        sheet.append(row)


def test_values_as_their_cells_show_them(convert: Convert) -> None:
    def fill(sheet: Worksheet) -> None:
        append(sheet, [0.475, dt.date(2026, 3, 1), True, "#N/A", 1234.5, 7, "0.5"])
        append(sheet, [0.1, dt.datetime(2026, 3, 1), False, 1.0, 0.75, dt.time(9, 30), dt.timedelta(hours=36)])
        codes = ["0.0%", "d mmm yyyy", None, None, "#,##0.00", "00000", None], [*[None] * 4, "# ?/?", "h:mm", "[h]:mm"]
        for row, formats in zip(sheet.iter_rows(), codes, strict=True):
            for cell, code in zip(row, formats, strict=True):
                cell.number_format = code or cell.number_format

    assert tables(convert(fill)) == [
        [
            ["47.5%", "1 Mar 2026", "TRUE", "#N/A", "1,234.50", "00007", "0.5"],
            ["0.1", "2026-03-01 0:00:00", "FALSE", "1", "3/4", "9:30", "36:00"],
        ]
    ]


def test_hidden_rows_columns_and_sheets_are_out_and_counted(convert: Convert) -> None:
    def fill(sheet: Worksheet) -> None:
        append(sheet, *([f"{name}{row}" for name in "abcdef"] for row in range(1, 7)))
        sheet.row_dimensions[2].hidden = True
        sheet.row_dimensions[5].hidden = True
        # One entry for two columns, as a group has it.
        sheet.column_dimensions.group("B", "C", hidden=True)
        sheet["A6"].number_format = ";;;"
        sheet["A6"] = 1
        assert sheet.parent is not None
        for state in ("hidden", "veryHidden"):
            other = sheet.parent.create_sheet(state)
            other.append(["secret"])
            other.sheet_state = state

    reading = convert(fill)
    assert tables(reading) == [[[f"{name}{row}" for name in "adef"] for row in (1, 3, 4)] + [["", "d6", "e6", "f6"]]]
    assert reading.left_out == [
        "2 hidden sheets",
        "1 cell with a format that hides the value",
        "2 hidden rows",
        "2 hidden columns",
    ]
    assert "secret" not in reading.document.export_to_text()
    assert reading.pages == 1


def test_a_workbook_with_nothing_to_see_says_what_it_has(convert: Convert) -> None:
    def fill(sheet: Worksheet) -> None:
        append(sheet, ["x"], ["y"])
        sheet.column_dimensions["A"].hidden = True

    with pytest.raises(DocumentError, match=r"no text in this document but what is left out \(1 hidden column\)"):
        convert(fill)


def test_filtered_rows_are_out(tmp_path: Path, reader: DoclingReader) -> None:
    with xlsxwriter.Workbook(tmp_path / "book.xlsx") as book:
        sheet = book.add_worksheet("Prices")
        for row, values in enumerate([["item", "kind"], ["lamp", "a"], ["desk", "b"], ["bed", "a"]]):
            sheet.write_row(row, 0, values)
        sheet.autofilter(0, 0, 3, 1)
        sheet.filter_column(1, "x == a")
        sheet.set_row(2, options={"hidden": True})
    reading = read(tmp_path / "book.xlsx", reader)
    assert tables(reading) == [[["item", "kind"], ["lamp", "a"], ["bed", "a"]]]
    assert reading.left_out == ["1 hidden row"]


def test_all_rows_hidden_but_those_that_say_so(tmp_path: Path, reader: DoclingReader) -> None:
    with xlsxwriter.Workbook(tmp_path / "book.xlsx") as book:
        sheet = book.add_worksheet()
        sheet.set_default_row(hide_unused_rows=True)
        sheet.write_column(0, 0, ["seen", "seen too"])
    assert tables(read(tmp_path / "book.xlsx", reader)) == [[["seen"], ["seen too"]]]


def test_tables_are_parted_by_blank_rows_and_columns(convert: Convert) -> None:
    def fill(sheet: Worksheet) -> None:
        sheet["B2"] = "title"
        for place, value in {"B4": "x", "C4": "y", "B5": 1, "C6": 2, "B7": 3, "E4": "left", "E6": "below"}.items():
            sheet[place] = value
        sheet["J40"] = "far away"

    assert tables(convert(fill)) == [
        [["title"]],
        # A sparse table stays whole: its rows touch, though their cells do not.
        [["x", "y"], ["1", ""], ["", "2"], ["3", ""]],
        [["left"]],
        [["below"]],
        [["far away"]],
    ]


def test_hidden_rows_do_not_part_a_table(convert: Convert) -> None:
    def fill(sheet: Worksheet) -> None:
        append(sheet, ["a", "b"], [None, None], [1, 2])
        sheet.row_dimensions[2].hidden = True

    reading = convert(fill)
    assert tables(reading) == [[["a", "b"], ["1", "2"]]]
    # It held nothing that could be missed.
    assert reading.left_out == reading.missing == []


def test_merged_cells(convert: Convert) -> None:
    def fill(sheet: Worksheet) -> None:
        append(sheet, ["year", 2025, None, 2026], ["quarter", 1, 2, 1], ["north", 5, 6, 7], [None, 8, 9, 10])
        for area in ("B1:C1", "A3:A4", "D1:Z1"):
            sheet.merge_cells(area)
        # The value of a merged cell is shown even where its first row is not.
        sheet.row_dimensions[3].hidden = True

    assert tables(convert(fill)) == [
        [["year", "2025", "2025", "2026"], ["quarter", "1", "2", "1"], ["north", "8", "9", "10"]]
    ]


def test_long_cells_line_breaks_and_bars(convert: Convert) -> None:
    words = " ".join(f"word{number}" for number in range(3500))
    reading = convert(lambda sheet: append(sheet, ["a|b", "one\ntwo\n\nthree"], [words, "x"]))
    text = reading.document.export_to_markdown(escape_html=False, compact_tables=True)
    assert "one two  three" in text or "one two three" in text
    assert words in text
    assert "a&#124;b" in text


def write_formulas(path: Path, cells: str) -> None:
    """Write a workbook whose cells are given as XML, as no library writes them."""
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.title = "Sums"
    book.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = "xl/worksheets/sheet1.xml"
    data = f"<sheetData><row r='1'>{cells}</row></sheetData>".encode()
    members[name] = re.sub(rb"<sheetData></sheetData>|<sheetData ?/>", data, members[name])
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def test_formulas_have_their_stored_result_and_a_missing_one_is_named(tmp_path: Path, reader: DoclingReader) -> None:
    cells = (
        "<c r='A1'><f>1+1</f><v>2</v></c><c r='B1'><f>A1*2</f></c><c r='C1'><f>A1*3</f><v></v></c>"
        # An empty text is a result, and an error is one.
        "<c r='D1' t='str'><f>IF(A1=2,\"\",1)</f><v></v></c><c r='E1' t='e'><f>1/0</f><v>#DIV/0!</v></c>"
    )
    write_formulas(tmp_path / "book.xlsx", cells)
    reading = read(tmp_path / "book.xlsx", reader)
    assert tables(reading) == [[["2"]], [["#DIV/0!"]]]
    assert reading.missing[0] == (
        "2 formulas (Sums!B1, Sums!C1) without a stored result: open the file in a spreadsheet and save it"
    )


def test_results_that_the_file_itself_calls_old_are_named(tmp_path: Path, reader: DoclingReader) -> None:
    # XlsxWriter calculates nothing: it stores a zero for each formula, and asks the next spreadsheet to calculate.
    with xlsxwriter.Workbook(tmp_path / "book.xlsx") as book:
        book.add_worksheet("Sums").write_formula("A1", "=1+1")
    assert read(tmp_path / "book.xlsx", reader).missing == [
        "1 formula (Sums!A1) that the file wants calculated anew: the stored results may be wrong"
    ]


def test_names_of_months_in_another_language_are_counted(convert: Convert) -> None:
    def fill(sheet: Worksheet) -> None:
        append(sheet, [dt.date(2026, 3, 1)] * 3)
        for cell, code in zip(sheet[1], ("[$-407]d. mmmm yyyy", "[$-809]d mmmm yyyy", "[$-407]d.m.yyyy"), strict=True):
            cell.number_format = code

    reading = convert(fill)
    assert tables(reading) == [[["1. March 2026", "1 March 2026", "1.3.2026"]]]
    assert reading.missing == ["1 cell with a month or day named in English, not in the format's language"]


def test_pictures_charts_notes_and_shapes_are_counted(tmp_path: Path, reader: DoclingReader) -> None:
    with xlsxwriter.Workbook(tmp_path / "book.xlsx") as book:
        sheet = book.add_worksheet("Sales")
        sheet.write_column(0, 0, [1, 2, 3])
        chart = book.add_chart({"type": "line"})
        chart.add_series({"values": "=Sales!$A$1:$A$3"})
        sheet.insert_chart("C1", chart)
        sheet.insert_textbox("C20", "Only for members")
        sheet.write_comment("A1", "who says?")
    left_out = read(tmp_path / "book.xlsx", reader).left_out
    assert left_out == ["1 chart", "1 note on cells", "1 shape with text"]


SHOWN = st.text(alphabet="abcäßд字 1.-", min_size=1, max_size=8).filter(lambda text: bool(text.strip()))
SPARSE = st.dictionaries(st.tuples(st.integers(1, 7), st.integers(1, 6)), SHOWN, min_size=1, max_size=16)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=SPARSE, rows=st.sets(st.integers(1, 7), max_size=2), columns=st.sets(st.integers(1, 6), max_size=2))
def test_every_cell_that_is_shown_is_there_once_and_in_its_row(
    cells: dict[tuple[int, int], str], rows: set[int], columns: set[int], reader: DoclingReader, tmp_path: Path
) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    for (row, column), text in cells.items():
        sheet.cell(row, column, f"r{row} {text}").data_type = "s"
    for row in rows:
        sheet.row_dimensions[row].hidden = True
    for column in columns:
        sheet.column_dimensions[openpyxl.utils.get_column_letter(column)].hidden = True
    sheet.cell(9, 9, "end")
    book.save(tmp_path / "book.xlsx")
    reading = read(tmp_path / "book.xlsx", reader)
    found = [[text for text in row if text] for table in tables(reading) for row in table]
    expected = {place: text for place, text in cells.items() if place[0] not in rows and place[1] not in columns}
    # The cells of a row of a table are those of a row of the sheet, from left to right.
    assert all(len({text.split()[0] for text in row}) <= 1 for row in found)
    assert sorted(text for row in found for text in row) == sorted(
        [*(f"r{row} {text}".strip() for (row, _), text in expected.items()), "end"]
    )
    assert bool(reading.left_out) == (len(expected) < len(cells))


# CSV


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_csv_by_delimiter_and_encoding(delimiter: str, encoding: str, tmp_path: Path, reader: DoclingReader) -> None:
    rows = [["name", "size", "note"], ["Müller", "1,5", "two\nlines; and | bars"], ["é", '6"', "½ €"]]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(rows)
    (tmp_path / "a.csv").write_bytes(text.getvalue().encode(encoding))
    reading = read(tmp_path / "a.csv", reader)
    assert tables(reading) == [rows]
    assert ["Windows-1252" in phrase for phrase in reading.missing] == [True] * (encoding == "cp1252")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("имя;цена\n", "cp1251"), ("nazwa;cena\nstół;5\nżółty;6\n", "cp1250"), ("名前,値\n机,5\n", "cp932")],
)
def test_what_is_in_no_western_code_page_is_refused(
    text: str, encoding: str, tmp_path: Path, reader: DoclingReader
) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    with pytest.raises(DocumentError, match=r"a\.csv:\d+: .* is not UTF-8"):
        read(tmp_path / "a.csv", reader)


def test_a_western_text_may_have_signs_behind_words() -> None:
    assert is_western("Fläche;40 m²\nWindows®;„größer“ \u2013 5 €; señor; ½ l; 37°C; l\u2019été".encode("cp1252"))
    assert not is_western("Größe".encode())


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("sep=;\r\na;b\r\n1,5;2\r\n", [["a", "b"], ["1,5", "2"]]),
        (
            "Name;Size (w, h);Price\nA;1,5;2\nB;2,5;3\n",
            [["Name", "Size (w, h)", "Price"], ["A", "1,5", "2"], ["B", "2,5", "3"]],
        ),
        ("Prices of 2026\n\na;b\n1;2\n3;4\n", [["Prices of 2026"], ["a", "b"], ["1", "2"], ["3", "4"]]),
        ('a, "b, c"\nd, "e, f"\n', [["a", "b, c"], ["d", "e, f"]]),
        ('a,b\n"say \\"hi\\", then",2\n', [["a", "b"], ['say "hi", then', "2"]]),
        ('a,b\n"C:\\",2\n', [["a", "b"], ["C:\\", "2"]]),
        ("a,b\n,\n\n1,\n", [["a", "b"], ["", ""], ["1", ""]]),
        ("one\ntwo\n", [["one"], ["two"]]),
        ("time,at\n10:30,x:y\n", [["time", "at"], ["10:30", "x:y"]]),
        ("a\tb\n1,5\t2,5\n", [["a", "b"], ["1,5", "2,5"]]),
    ],
)
def test_csv_as_people_have_it(text: str, rows: list[list[str]]) -> None:
    assert csv_rows(text).rows == rows


def test_ragged_rows_and_odd_quotes_lose_nothing_and_are_said() -> None:
    assert csv_rows("a,b\n1,2,3\n4\n5,6\n") == (
        [["a", "b"], ["1", "2", "3"], ["4"], ["5", "6"]],
        [],
        ["2 rows with more or fewer cells than the usual 2"],
    )
    rows, missing, odd = csv_rows('a,b\n"5" pipe,1\n')
    assert rows == [["a", "b"], ["5 pipe", "1"]]
    assert "not doubled" in missing[0]
    assert odd == []


def test_a_quote_that_is_never_closed_is_named_with_its_line(tmp_path: Path, reader: DoclingReader) -> None:
    (tmp_path / "a.csv").write_text('a,b\n"x\ny",1\n"open,2\nmore,3\n')
    with pytest.raises(DocumentError, match="opens a cell in line 4 is never closed"):
        read(tmp_path / "a.csv", reader)


def test_a_cell_longer_than_pythons_limit() -> None:
    assert csv_rows(f"a,b\n{'x' * 200_000},1\n").rows[1] == ["x" * 200_000, "1"]


CELL = st.text(alphabet="ab1,;|\t\"'\n .é", max_size=6).map(str.strip)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=6), st.sampled_from(",;\t|"))
def test_every_cell_of_a_quoted_csv_is_there(rows: list[list[str]], delimiter: str) -> None:
    rows = [["first", "second", "third"], *rows]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    assert csv_rows(text.getvalue()).rows == rows
