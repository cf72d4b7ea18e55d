"""Tables without any lines: rows that follow each other evenly, with short entries that stand under each other.

A false table costs more than a missed one, which stays lines of text. So lists, contents, numbered formulas and
columns of running text must all be told apart, and what is in doubt is no table.
Coordinates are points from the top left corner of the page. Knows nothing of Docling.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from tuning_room.convert.aligned_tables import LEAST_ROWS, Word, aligned_grid, bottom, is_one_piece, rows_of
from tuning_room.convert.rule_layout import LEADERS
from tuning_room.convert.rule_tables import Box, Grid

# Rows of a table are nearer than this, over the height of their words, and their steps differ by less than this ratio.
FARTHEST_STEP = 2.6
EVEN = 1.5
# Entries stand under each other within this distance, but for the head of a column and this share of the others.
ALIGNED_WITHIN = 2.0
MAY_STRAY = 0.2
# The mean length of a column's entries, in characters.
LONGEST_ENTRIES = 28
# Of the cells, without the first row.
LEAST_FILLED = 0.7
# Two columns may also be a list of terms, so one must hold numbers, in more rows than three of anything may stand.
TWO_COLUMN_ROWS = 4
NUMBER = re.compile(r"^[^\w\s]{0,2}\d[\d.,:/\s]*\W{0,2}$")
# What numbers a line: '3.', '(4.2)', 'a)', or a bullet.
MARKER = re.compile(r"^(\W|\(?(\d{1,3}(\.\d+)*|[a-zA-Z])[.)]|\[\d+\])$")

Edge = Callable[[Box], float]
EDGES: list[Edge] = [lambda box: box.left, lambda box: box.right, lambda box: (box.left + box.right) / 2]
Row = Sequence[Word]
# A column's entries from top to bottom, each the words of one row.
Column = list[list[Word]]


def unruled_grids(words: Iterable[Word]) -> list[Grid]:
    """Return the tables that a page's words make by their places alone, from top to bottom."""
    grids = []
    for run in _runs(rows_of(list(words))):
        flat = [word for row in run for word in row]
        grid = aligned_grid(_around(flat), flat)
        if grid and _is_table(grid, run):
            grids.append(grid)
    return grids


def _runs(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows of more than one piece each that follow each other evenly, at least three at a time."""
    runs: list[list[Row]] = [[]]
    for row in rows:
        if is_one_piece(row):
            runs.append([])
        elif _goes_on(runs[-1], row):
            runs[-1].append(row)
        else:
            runs.append([row])
    return [run for run in runs if len(run) >= LEAST_ROWS]


def _goes_on(run: Sequence[Row], row: Row) -> bool:
    if not run:
        return True
    steps = [bottom(b) - bottom(a) for a, b in pairwise([*run, row])]
    height = row[0][0].bottom - row[0][0].top
    return steps[-1] <= FARTHEST_STEP * height and max(steps[-2:]) <= EVEN * min(steps[-2:])


def _is_table(grid: Grid, run: Sequence[Row]) -> bool:
    columns = [_column(run, left, right) for left, right in pairwise(grid.columns)]
    entries = [[_text(entry) for entry in column if entry] for column in columns]
    if any(LEADERS.search(text) for column in entries for text in column):
        return False
    if any(_is_long(column) or _are_markers(column) for column in entries) or _are_contents(entries):
        return False
    has_numbers = any(_are_numbers(column[1:]) for column in entries)
    is_wide = len(columns) > 2 or len(run) >= TWO_COLUMN_ROWS
    return has_numbers and is_wide and _is_filled(columns) and all(map(_is_aligned, columns))


def _column(run: Sequence[Row], left: float, right: float) -> Column:
    return [[word for word in row if left <= (word[0].left + word[0].right) / 2 <= right] for row in run]


def _is_filled(columns: Sequence[Column]) -> bool:
    cells = [bool(entry) for column in columns for entry in column[1:]]
    return sum(cells) >= LEAST_FILLED * len(cells)


def _is_aligned(column: Column) -> bool:
    """Say whether the entries below the head share their left edge, their right edge or their middle."""
    boxes = [_around(entry) for entry in column[1:] if entry]
    return any(_stray(list(map(edge, boxes))) <= MAY_STRAY * len(boxes) for edge in EDGES)


def _stray(places: Sequence[float]) -> int:
    """Return how many places are not near the middle one."""
    middle = sorted(places)[len(places) // 2] if places else 0.0
    return sum(abs(place - middle) > ALIGNED_WITHIN for place in places)


def _is_long(column: Sequence[str]) -> bool:
    return sum(map(len, column)) > LONGEST_ENTRIES * len(column)


def _are_markers(column: Sequence[str]) -> bool:
    return sum(bool(MARKER.match(text)) for text in column) > len(column) / 2


def _are_numbers(column: Sequence[str]) -> bool:
    return sum(bool(NUMBER.match(text)) for text in column) >= (1 - MAY_STRAY) * max(1, len(column))


def _are_contents(entries: Sequence[Sequence[str]]) -> bool:
    """Say whether the last column could be pages: whole numbers that only rise, behind a column of words."""
    pages = [int(text) for text in entries[-1] if text.isdecimal()]
    has_words = any(not _are_numbers(column) for column in entries[:-1])
    return has_words and len(pages) >= len(entries[-1]) - 1 and pages == sorted(pages)


def _around(words: Sequence[Word]) -> Box:
    return Box.around(box for box, _ in words)


def _text(words: Sequence[Word]) -> str:
    return " ".join(text for _, text in words)
