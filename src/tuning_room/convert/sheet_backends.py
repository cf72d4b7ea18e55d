"""How Docling is made to read sheets as they are shown: its readers of XLSX and CSV with our cells.

Import it late: Docling takes seconds.
"""

import warnings
from collections import Counter
from datetime import datetime
from pathlib import Path

from docling.backend.csv_backend import CsvDocumentBackend
from docling.backend.msexcel_backend import ExcelCell, ExcelTable, MsExcelDocumentBackend
from docling.datamodel.backend_options import MsExcelBackendOptions
from docling_core.types.doc import DoclingDocument, DocumentOrigin, TableCell, TableData
from openpyxl.worksheet.worksheet import Worksheet

from tuning_room.convert.csv_files import csv_rows
from tuning_room.convert.sheets import (
    ENGLISH,
    SheetTable,
    formula_doubts,
    in_words,
    sheet_tables,
    shown_sheets,
    unseen_parts,
)

Comments = dict[tuple[int, int], list[tuple[str, str, datetime | None]]]


class ShownSheets(MsExcelDocumentBackend):
    """Docling's reader of workbooks, with the cells as a reader sees them and without what is hidden."""

    left_out: list[str]
    missing: list[str]
    options: MsExcelBackendOptions

    def convert(self) -> DoclingDocument:
        """Return the document; `left_out` and `missing` then say what is not in it."""
        assert self.workbook is not None and isinstance(self.path_or_stream, Path)
        self._counts = unseen_parts(self.path_or_stream, self.workbook)
        visible = shown_sheets(self.workbook)
        # A copy: the options belong to all documents.
        self.options = self.options.model_copy(update={"sheet_names": visible})
        document = super().convert()
        english = Counter({ENGLISH: self._counts.pop(ENGLISH, 0)})
        self.left_out = in_words(self._counts)
        self.missing = [*formula_doubts(self.path_or_stream, self.workbook), *in_words(english)]
        return document

    def page_count(self) -> int:
        """Return how many sheets are shown."""
        return len(shown_sheets(self.workbook)) if self.workbook is not None else 0

    def _find_data_tables(self, sheet: Worksheet) -> tuple[list[ExcelTable], Comments]:
        tables = [_excel_table(table) for table in sheet_tables(sheet, self._counts)]
        return tables, self._comments(sheet)

    def _comments(self, sheet: Worksheet) -> Comments:
        """Return what is noted on cells: an author, a text and a time for each remark, by its cell's place from 0."""
        threads = self._parse_threaded_comments(sheet.title)
        return {
            (row - 1, column - 1): threads.get(cell.coordinate)
            or [(cell.comment.author, cell.comment.text.strip(), None)]
            for (row, column), cell in sheet._cells.items()
            if cell.comment is not None and cell.comment.text
        }


class CsvCells(CsvDocumentBackend):
    """Docling's reader of CSV files, with our way of finding what parts and quotes the cells."""

    missing: list[str]

    def convert(self) -> DoclingDocument:
        """Return the document: one table with every cell, its first row the head; `missing` says what is in doubt."""
        self.content.seek(0)
        rows, self.missing, odd = csv_rows(self.content.read())
        for phrase in odd:
            warnings.warn(phrase, stacklevel=1)
        origin = DocumentOrigin(filename=self.file.name, mimetype="text/csv", binary_hash=self.document_hash)
        document = DoclingDocument(name=self.file.stem, origin=origin)
        if rows:
            cells = [
                _table_cell(row, column, text) for row, texts in enumerate(rows) for column, text in enumerate(texts)
            ]
            data = TableData(num_rows=len(rows), num_cols=max(map(len, rows)), table_cells=cells)
            document.add_table(data=data)
        return document


def _table_cell(row: int, column: int, text: str) -> TableCell:
    return TableCell(
        text=text,
        start_row_offset_idx=row,
        end_row_offset_idx=row + 1,
        start_col_offset_idx=column,
        end_col_offset_idx=column + 1,
        column_header=row == 0,
    )


def _excel_table(table: SheetTable) -> ExcelTable:
    data = [
        ExcelCell(
            row=cell.row,
            col=cell.column,
            text=cell.text,
            row_span=cell.row_end - cell.row,
            col_span=cell.column_end - cell.column,
        )
        for cell in table.cells
    ]
    anchor = (table.left - 1, table.top - 1)
    return ExcelTable(anchor=anchor, num_rows=table.rows, num_cols=table.columns, data=data)
