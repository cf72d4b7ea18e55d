"""A CSV file as rows of cells: how it is encoded, what parts its cells, and what its quotes are.

Knows nothing of Docling.
"""

import csv
import re
import sys
from collections import Counter
from collections.abc import Sequence
from io import StringIO
from typing import NamedTuple

COMMA = ","
DELIMITERS = (COMMA, ";", "\t", "|")
SAMPLE = 200
# Excel's own way of naming the delimiter, in the first line.
NAMED = re.compile(r"^\"?sep=(.)\"?[ ,;\t|]*\r?(?:\n|$)", re.IGNORECASE)
# Some programs write a quote within a cell as \" instead of doubling it; a word behind it gives them away.
ESCAPED_WORD = re.compile(r'(?<!\\)\\"(?=\w)')
ESCAPED = re.compile(r'(?<!\\)\\"')
WESTERN = "cp1252"
# Signs of Windows' western code page that stand within words, or end them, where the file is in another one.
SIGNS = (
    r"\xa1-\xa9\xab-\xb4\xb6-\xb9\xbb-\xbf\xd7\xf7"
    r"\u201a\u201e\u2020\u2021\u02c6\u2030\u2039\u201c\u201d\u2022\u02dc\u203a"
)
ENDINGS = r"\xa1\xa2\xa3\xa5\xa6\xac\xb1\xb3\xb9\xbc\xbd\xbe\xbf\xd7\xf7"
NO_LETTERS = re.compile(
    rf"(?<=[^\W\d_])[{SIGNS}](?=[^\W\d_])|(?<=[^\W\d_]{{3}})[{ENDINGS}](?![^\W\d_])|[\u0192\u2020\u2021\u02c6][^\W\d_]"
)
# Of the letters of a western text, most are those of English.
MOST_ACCENTS = 0.3


class Rows(NamedTuple):
    """The rows of a file, what is missing or in doubt, and what is odd though nothing is missing."""

    rows: list[list[str]]
    missing: list[str]
    odd: list[str]


class UnclosedQuoteError(ValueError):
    """A quoted cell is never closed, so the file ends within it; `line` is where it begins."""

    def __init__(self, line: int) -> None:
        super().__init__(f"the quote that opens a cell in line {line} is never closed")
        self.line = line


def is_western(content: bytes) -> bool:
    """Say whether a text is not UTF-8 but can be in Windows' western code page, in which Excel writes CSV files."""
    try:
        content.decode()
    except UnicodeDecodeError:
        pass
    else:
        return False
    try:
        text = content.decode(WESTERN)
    except UnicodeDecodeError:
        return False
    letters = [character for character in text if character.isalpha()]
    accents = sum(not character.isascii() for character in letters)
    return "\0" not in text and accents <= MOST_ACCENTS * len(letters) and not NO_LETTERS.search(text)


def csv_rows(text: str) -> Rows:
    """Return the rows of a CSV file that have a cell; raises UnclosedQuoteError for a file that ends within one."""
    # The longest cell that Python's reader allows is 131,072 characters by default.
    csv.field_size_limit(sys.maxsize)
    named = NAMED.match(text)
    lines = text[named.end() :] if named else text
    if ESCAPED_WORD.search(lines):
        lines = ESCAPED.sub('""', lines)
    delimiter = named[1] if named else _delimiter(lines)
    rows, missing = _read(lines, delimiter)
    return Rows(rows, missing, _ragged(rows))


def _ragged(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = Counter(map(len, rows))
    if len(widths) <= 1:
        return []
    usual = widths.most_common(1)[0][0]
    odd = len(rows) - widths[usual]
    return [f"{odd} row{'s' * (odd > 1)} with more or fewer cells than the usual {usual}"]


def _read(text: str, delimiter: str) -> tuple[list[list[str]], list[str]]:
    try:
        return _parsed(text, delimiter, is_strict=True), []
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise UnclosedQuoteError(_last_row_line(text, delimiter)) from None
        doubt = "quotes within cells are not doubled, so that cells may be cut in the wrong place"
        return _parsed(text, delimiter, is_strict=False), [doubt]


def _parsed(text: str, delimiter: str, *, is_strict: bool) -> list[list[str]]:
    # A space before a quote would make the quote a part of the cell.
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=is_strict, skipinitialspace=True)
    return [row for row in reader if row]


def _last_row_line(text: str, delimiter: str) -> int:
    """Return the line in which the last row begins."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    begin = end = 0
    for _ in reader:
        begin, end = end + 1, reader.line_num
    return begin


def _delimiter(text: str) -> str:
    """Return what parts most rows into as many cells as the first; of two, what makes more cells; else the comma."""
    sample = "".join(StringIO(text, newline="").readlines()[:SAMPLE])
    scores = {delimiter: _evenness(sample, delimiter) for delimiter in DELIMITERS}
    return max(DELIMITERS, key=lambda delimiter: scores[delimiter])


def _evenness(sample: str, delimiter: str) -> tuple[float, int]:
    """Return the share of rows that have as many cells as most, and that number; nothing where most have one."""
    widths = [len(row) for row in _parsed(sample, delimiter, is_strict=False)]
    # A title above the table has a single cell.
    width = widths[0] if widths and widths[0] > 1 else max(set(widths), key=widths.count, default=0)
    return (round(widths.count(width) / len(widths), 1), width) if width > 1 else (0.0, 0)
