"""From the lines of a table to its rows: a cell may take several lines, and then they are one row.

Where nothing is drawn between rows, the white tells them apart: the lines of a cell are nearer to each other than rows
are, and a line breaks only where the next word has no room. What stands beside them is level with one of them:

    Lamp     a note that takes
             two lines              one row of two lines
    Desk                      x     a row of one line

Coordinates are points from the top left corner of the page. Knows nothing of Docling.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from tuning_room.convert.boxes import Box, Word, around_words

NUMBER = re.compile(r"^[^\w\s]{0,2}\d[\d.,:/\s]*\W{0,2}$")
# Lines of one cell are at most this far from each other, over the height of their words,
FARTHEST_LINES = 1.7
# and their distances differ by less than this; rows are farther apart.
EVEN_LINES = 1.15
# White between columns, over the height of a word; the words of a line are nearer.
COLUMN_GAP = 0.8

# The share of a column's entries that may be otherwise than the rest.
MAY_STRAY = 0.2

Line = Sequence[Word]


class Piece(NamedTuple):
    """What of a line stands in one column."""

    line: int
    words: list[Word]

    @property
    def box(self) -> Box:
        """Return the smallest box around it."""
        return around_words(self.words)

    @property
    def is_number(self) -> bool:
        """Say whether it is a number: those do not go on in the next line."""
        return bool(NUMBER.match(" ".join(text for _, text in self.words)))


def joined_lines(lines: Sequence[Line], columns: Sequence[float], rules: Sequence[float] = ()) -> list[list[Line]]:
    """Return lines from top to bottom as rows of one or more each; none goes on beyond a rule, given by its height."""
    pieces = [column for column in _in_columns(lines, columns) if column]
    steps = [_step(above, below) for column in pieces for above, below in pairwise(column)]
    leading = min(steps, default=0.0)
    if leading <= 0 or (not rules and max(steps) <= EVEN_LINES * leading):
        return [[line] for line in lines]
    cells = [_cells(column, leading, rules) for column in pieces]
    held = {line for column in cells for first, last in column for line in range(first, last)}
    starts = [line for line in range(len(lines)) if line - 1 not in held]
    runs = [range(start, end) for start, end in pairwise([*starts, len(lines)])]
    return [[lines[i] for i in row] for run in runs for row in _rows_of(run, cells)]


def crosses(line: Line, columns: Sequence[float]) -> bool:
    """Say whether a line of text runs over the columns, as a title does."""
    edges = line[0][0].left, line[-1][0].right
    return is_one_piece(line) and any(edges[0] < cut < edges[1] for cut in columns[1:-1])


def is_one_piece(line: Line) -> bool:
    """Say whether words follow each other without a column's gap."""
    return all(b[0].left - a[0].right < COLUMN_GAP * a[0].height for a, b in pairwise(line))


def _in_columns(lines: Sequence[Line], columns: Sequence[float]) -> list[list[Piece]]:
    """Return each column's pieces, from top to bottom."""
    return [
        [
            Piece(index, words)
            for index, line in enumerate(lines)
            if not crosses(line, columns) and (words := [word for word in line if left <= word[0].middle < right])
        ]
        for left, right in pairwise(columns)
    ]


def _step(above: Piece, below: Piece) -> float:
    return below.box.bottom - above.box.bottom


def _cells(column: Sequence[Piece], leading: float, rules: Sequence[float]) -> list[tuple[int, int]]:
    """Return the first and the last line of each cell of a column."""
    right = max(piece.box.right for piece in column)
    cells = [(column[0].line, column[0].line)]
    for above, below in pairwise(column):
        if _goes_on(above, below, leading, right) and not _is_parted(above, below, rules):
            cells[-1] = (cells[-1][0], below.line)
        else:
            cells.append((below.line, below.line))
    return cells


def _goes_on(above: Piece, below: Piece, leading: float, right: float) -> bool:
    step, height = _step(above, below), above.words[0][0].height
    is_near = step <= min(EVEN_LINES * leading, FARTHEST_LINES * height)
    has_no_room = above.box.right + below.words[0][0].width > right
    return is_near and has_no_room and not (above.is_number or below.is_number)


def _is_parted(above: Piece, below: Piece, rules: Sequence[float]) -> bool:
    ends = above.box.top, below.box.bottom
    return any(ends[0] < rule < ends[1] for rule in rules)


def _rows_of(run: range, cells: Sequence[Sequence[tuple[int, int]]]) -> list[range]:
    """Return the lines that cells hold together as one row; each as its own where a column has two cells in it."""
    most = max((sum(first in run for first, _ in column) for column in cells), default=0)
    return [run] if most <= 1 else [range(line, line + 1) for line in run]


def are_numbers(column: Sequence[str]) -> bool:
    """Say whether the entries of a column are numbers, but for a few."""
    return sum(bool(NUMBER.match(text)) for text in column) >= (1 - MAY_STRAY) * max(1, len(column))
