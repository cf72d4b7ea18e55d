"""What a reader of a workbook sees: the tables of its sheets as they are shown, without what is hidden.

Knows openpyxl, but nothing of Docling. Rows and columns count from 1 as on a sheet; a table's own from 0.
"""

import datetime as dt
import re
import zipfile
from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tuning_room.convert.number_formats import shown

if TYPE_CHECKING:
    from pathlib import Path

    from openpyxl import Workbook
    from openpyxl.worksheet.worksheet import Worksheet

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
SHAPE_TEXT = re.compile(rb"<(?:\w+:)?txBody[ >].*?</(?:\w+:)?txBody>", re.DOTALL)
NAMED_CELLS = 5
# The language of a format, as a number of Windows: its lower ten bits are the language without the region.
LANGUAGE = re.compile(r"\[\$[^\]-]*-([0-9a-fA-F]{3,8})\]")
PRIMARY_LANGUAGE, ENGLISH_LANGUAGE = 0x3FF, 0x09
NAMED_DATE = re.compile(r"mmm|ddd", re.IGNORECASE)
ENGLISH = "cell|s| with a month or day named in English, not in the format's language"


class SheetCell(NamedTuple):
    """A cell as it is shown; its place is one of the grid without hidden rows and columns, the ends are exclusive."""

    row: int
    column: int
    row_end: int
    column_end: int
    text: str


class SheetTable(NamedTuple):
    """The cells between blank rows and columns; `top` and `left` say where on the sheet its first cell is, from 1."""

    top: int
    left: int
    rows: int
    columns: int
    cells: list[SheetCell]


class Shown:
    """The rows or the columns of a sheet that are not hidden."""

    def __init__(self, hidden: Iterable[int]) -> None:
        self._hidden = sorted(set(hidden))

    def place(self, index: int) -> int:
        """Return the place of a row or a column among those that are shown, from 0."""
        return index - 1 - bisect_left(self._hidden, index)

    def count(self, first: int, last: int) -> int:
        """Return how many of a range are shown; the end belongs to it."""
        return self.place(last + 1) - self.place(first)

    def index(self, place: int) -> int:
        """Return the row or the column of a sheet that stands at a place among those that are shown."""
        low, high = place + 1, place + 1 + len(self._hidden)
        while low < high:
            middle = (low + high) // 2
            if self.place(middle + 1) > place:
                high = middle
            else:
                low = middle + 1
        return low


def sheet_tables(sheet: "Worksheet", left_out: Counter[str]) -> list[SheetTable]:
    """Return what is shown on a sheet, table by table from top to bottom; what is not is added to a count."""
    rows, columns = _shown_rows(sheet), _shown_columns(sheet)
    cells = list(_cells(sheet, rows, columns, left_out))
    return [_table(block, rows, columns) for block in _blocks(cells)]


def _shown_rows(sheet: "Worksheet") -> Shown:
    return Shown(index for index, row in sheet.row_dimensions.items() if row.hidden or row.height == 0)


def _shown_columns(sheet: "Worksheet") -> Shown:
    hidden: set[int] = set()
    for column in sheet.column_dimensions.values():
        # One entry may stand for many columns.
        column.reindex()
        if column.hidden or (column.customWidth and column.width == 0):
            hidden.update(range(column.min, column.max + 1))
    return Shown(hidden)


def _cells(sheet: "Worksheet", rows: Shown, columns: Shown, left_out: Counter[str]) -> Iterator[SheetCell]:
    merged = {(area.min_row, area.min_col): area for area in sheet.merged_cells.ranges}
    hidden_rows, hidden_columns = set(), set()
    for (row, column), cell in sorted(sheet._cells.items()):
        if cell.value is None:
            continue
        area = merged.get((row, column))
        last_row, last_column = (area.max_row, area.max_col) if area else (row, column)
        height, width = rows.count(row, last_row), columns.count(column, last_column)
        if not height:
            hidden_rows.add(row)
        elif not width:
            hidden_columns.add(column)
        elif text := cell_text(cell).strip():
            left_out[ENGLISH] += _is_translated(cell)
            top, left = rows.place(row), columns.place(column)
            yield SheetCell(top, left, top + height, left + width, text)
        elif str(cell.value).strip():
            left_out["cell|s| with a format that hides the value"] += 1
    left_out["hidden row|s|"] += len(hidden_rows)
    left_out["hidden column|s|"] += len(hidden_columns)


def cell_text(cell: Any) -> str:
    """Return a cell's value as its format shows it."""
    from openpyxl.utils.datetime import MAC_EPOCH, to_excel

    value = cell.value
    epoch = cell.parent.parent.epoch
    if isinstance(value, dt.date | dt.time | dt.timedelta):
        value = to_excel(value, epoch)
    elif not isinstance(value, bool | int | float):
        value = str(value)
    return shown(value, cell.number_format or "General", is_1904=epoch == MAC_EPOCH)


def _is_translated(cell: Any) -> bool:
    """Say whether a format asks for the name of a month or a day in another language than English."""
    asked = LANGUAGE.search(cell.number_format)
    is_named = isinstance(cell.value, dt.date) and NAMED_DATE.search(cell.number_format)
    if not asked or not is_named:
        return False
    return int(asked[1], 16) & PRIMARY_LANGUAGE not in (0, ENGLISH_LANGUAGE)


# Tables


def _blocks(cells: Sequence[SheetCell]) -> Iterator[list[SheetCell]]:
    """Yield the cells of each table, parted by blank rows and then by blank columns until there are none."""
    waiting = [(list(cells), True, False)]
    while waiting:
        group, by_rows, is_whole = waiting.pop()
        parts = _parts(group, by_rows=by_rows)
        if len(parts) <= 1 and is_whole:
            yield from parts
        else:
            waiting += [(part, not by_rows, len(parts) == 1) for part in reversed(parts)]


def _parts(cells: list[SheetCell], *, by_rows: bool) -> list[list[SheetCell]]:
    """Return cells in groups between which there is a blank row, or a blank column."""
    parts: list[list[SheetCell]] = []
    reach = 0
    for cell in sorted(cells, key=lambda cell: cell.row if by_rows else cell.column):
        first, end = (cell.row, cell.row_end) if by_rows else (cell.column, cell.column_end)
        if not parts or first > reach:
            parts.append([])
        parts[-1].append(cell)
        reach = max(reach, end)
    return parts


def _table(cells: Sequence[SheetCell], rows: Shown, columns: Shown) -> SheetTable:
    """Return cells as a table; a merged cell ends where the last other one begins: it adds nothing beyond them."""
    top, left = min(cell.row for cell in cells), min(cell.column for cell in cells)
    height, width = max(cell.row for cell in cells) + 1 - top, max(cell.column for cell in cells) + 1 - left
    moved = [
        SheetCell(
            cell.row - top,
            cell.column - left,
            min(cell.row_end - top, height),
            min(cell.column_end - left, width),
            cell.text,
        )
        for cell in sorted(cells)
    ]
    return SheetTable(rows.index(top), columns.index(left), height, width, moved)


# What is not shown


def in_words(left_out: Counter[str]) -> list[str]:
    """Return counts in words: '2 hidden rows'; the plural's ending stands between strokes."""
    lines = []
    for what, count in left_out.items():
        start, ending, rest = what.split("|")
        if count:
            lines.append(f"{count} {start}{ending if count > 1 else ''}{rest}")
    return lines


def formula_doubts(path: "Path", workbook: "Workbook") -> list[str]:
    """Return what is to be said of the formulas of the sheets that are shown: no result is stored, or an old one.

    A program that is no spreadsheet writes formulas without calculating them, and leaves that to the next spreadsheet.
    """
    stored = dict(_formulas(path, set(shown_sheets(workbook))))
    empty = [place for place, has_result in stored.items() if not has_result]
    old = [place for place, has_result in stored.items() if has_result]
    calculation = workbook.calculation
    doubts = [f"{_places(empty)} without a stored result: open the file in a spreadsheet and save it"] if empty else []
    if old and calculation is not None and calculation.fullCalcOnLoad:
        doubts.append(f"{_places(old)} that the file wants calculated anew: the stored results may be wrong")
    return doubts


def _places(cells: Sequence[str]) -> str:
    names = ", ".join(cells[:NAMED_CELLS]) + (", ..." if len(cells) > NAMED_CELLS else "")
    return f"{len(cells)} formula{'s' * (len(cells) > 1)} ({names})"


def _formulas(path: "Path", names: Container[str]) -> Iterator[tuple[str, bool]]:
    """Yield the cells of these sheets that hold a formula, as 'Sheet!A1', and whether its result is stored."""
    from lxml import etree
    from openpyxl.reader.excel import ExcelReader

    reader = ExcelReader(str(path))
    reader.read_manifest()
    reader.read_strings()
    reader.read_workbook()
    for sheet, relation in reader.parser.find_sheets():
        if sheet.name not in names or relation.target not in reader.valid_files:
            continue
        with reader.archive.open(relation.target) as content:
            for _, cell in etree.iterparse(content, tag=f"{MAIN}c", resolve_entities=False, no_network=True):
                if cell.find(f"{MAIN}f") is not None:
                    yield f"{sheet.name}!{cell.get('r', '?')}", _has_result(cell)
                cell.clear()


def _has_result(cell: Any) -> bool:
    # An empty text is a result: '=IF(A1="", "", 1)'.
    is_text = cell.get("t") == "str" and cell.find(f"{MAIN}v") is not None
    return is_text or bool(cell.findtext(f"{MAIN}v"))


def unseen_parts(path: "Path", workbook: "Workbook") -> Counter[str]:
    """Return how many hidden sheets, pictures, charts, notes and shapes with words a workbook has."""
    sheets = [sheet for sheet in workbook.worksheets if sheet.sheet_state == "visible"]
    found = Counter({"hidden sheet|s|": len(workbook.sheetnames) - len(shown_sheets(workbook))})
    found["picture|s|"] = sum(len(sheet._images) for sheet in sheets)
    found["chart|s|"] = sum(len(sheet._charts) for sheet in sheets)
    found["note|s| on cells"] = sum(cell.comment is not None for sheet in sheets for cell in sheet._cells.values())
    with zipfile.ZipFile(path) as archive:
        drawings = [name for name in archive.namelist() if re.fullmatch(r"xl/drawings/drawing\d+\.xml", name)]
        found["shape|s| with text"] = sum(len(SHAPE_TEXT.findall(archive.read(name))) for name in drawings)
    return found


def shown_sheets(workbook: "Workbook") -> list[str]:
    """Return the names of the sheets that are not hidden."""
    return [name for name in workbook.sheetnames if workbook[name].sheet_state == "visible"]
