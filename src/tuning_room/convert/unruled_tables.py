"""Tables without lines, by the places of their words alone.

A false table costs more than a missed one, which merely stays lines of text. So listings, lists, contents, numbered
formulas and columns of running text must all be told apart, and what is in doubt is no table.
Coordinates are points from the top left corner of the page. Knows nothing of Docling.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from tuning_room.convert.aligned_tables import (
    LEAST_ROWS,
    Grid,
    Row,
    aligned_grid,
    between,
    bottom_of,
    joined_text,
    word_lines,
)
from tuning_room.convert.boxes import Box, Word, around_words
from tuning_room.convert.table_rows import MAY_STRAY, are_numbers, is_one_piece
from tuning_room.convert.typography import LEADERS

# Without lines, rows are nearer than this, over the height of their words, and their steps differ by less than EVEN.
FARTHEST_STEP = 2.6
EVEN = 1.5
# Entries stand under each other within this distance, except for a column's head and the share that may stray.
ALIGNED_WITHIN = 2.0
# The mean length of a column's entries, in characters.
LONGEST_ENTRIES = 28
# The share of cells that hold text, not counting the first row.
LEAST_UNRULED_FILLED = 0.7
# In a sparse table less is filled, but it has a head of so many pieces, and so many rows.
LEAST_SPARSE_FILLED = 0.3
HEAD_PIECES = 3
SPARSE_ROWS = 4
# Two columns may also be a glossary, so one must hold numbers, and in four rows: three of anything may stand so.
TWO_COLUMN_ROWS = 4
# What numbers a line: '3.', '(4.2)', 'a)', or a bullet.
MARKER = re.compile(r"^(\W|\(?(\d{1,3}(\.\d+)*|[a-zA-Z])[.)]|\[\d+\])$")

Edge = Callable[[Box], float]
EDGES: list[Edge] = [lambda box: box.left, lambda box: box.right, lambda box: box.middle]
# A column's entries from top to bottom, each the words of one row.
Column = list[list[Word]]


def unruled_grids(words: Iterable[Word]) -> list[Grid]:
    """Return the tables that a page's words make by their places alone, from top to bottom."""
    grids = []
    rows = word_lines(list(words))
    for run in _runs(rows):
        flat = [word for row in run for word in row]
        grid = aligned_grid(around_words(flat), flat)
        if grid and _is_table(grid, run) and not _is_cut_off(run, rows):
            grids.append(grid)
    return grids


def _is_cut_off(run: Sequence[Row], rows: Sequence[Row]) -> bool:
    """Say whether a line follows that is nearer than the rows are to each other, and so belongs to the last of them."""
    behind = [bottom_of(row) for row in rows if bottom_of(row) > bottom_of(run[-1])]
    step = bottom_of(run[-1]) - bottom_of(run[-2])
    return bool(behind) and EVEN * (min(behind) - bottom_of(run[-1])) < step


def _runs(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows that follow each other evenly, at least three at a time.

    Each has more than one piece, or stands under one piece of a row of three or more: in a sparse table it is a cell.
    """
    runs: list[list[Row]] = [[]]
    for row in rows:
        is_alone = is_one_piece(row) and not (runs[-1] and _stands_under(runs[-1][0], row))
        if is_alone:
            runs.append([])
        elif _goes_on(runs[-1], row):
            runs[-1].append(row)
        else:
            runs.append([] if is_one_piece(row) else [row])
    return [run for run in runs if len(run) >= LEAST_ROWS]


def _stands_under(head: Row, row: Row) -> bool:
    """Say whether a line stands under one piece at most of a row that has enough of them to be a table's head."""
    pieces = _pieces(head)
    edges = around_words(row)
    return len(pieces) >= HEAD_PIECES and sum(_share_width(box, edges) for box in pieces) <= 1


def _pieces(row: Row) -> list[Box]:
    """Return the boxes of a row's pieces, between which there is a column's gap."""
    pieces: list[list[Word]] = [[row[0]]]
    for before, word in pairwise(row):
        if is_one_piece([before, word]):
            pieces[-1].append(word)
        else:
            pieces.append([word])
    return [around_words(piece) for piece in pieces]


def _share_width(one: Box, other: Box) -> bool:
    return one.left < other.right and other.left < one.right


def _goes_on(run: Sequence[Row], row: Row) -> bool:
    if not run:
        return True
    steps = [bottom_of(b) - bottom_of(a) for a, b in pairwise([*run, row])]
    return steps[-1] <= FARTHEST_STEP * row[0][0].height and max(steps[-2:]) <= EVEN * min(steps[-2:])


def _is_table(grid: Grid, run: Sequence[Row]) -> bool:
    columns = [[between(row, left, right) for row in run] for left, right in pairwise(grid.columns)]
    entries = [[joined_text(entry) for entry in column if entry] for column in columns]
    if any(LEADERS.search(text) for column in entries for text in column):
        return False
    # Numbers in brackets between other columns are negative ones.
    has_markers = _are_markers(entries[0]) or _are_markers(entries[-1])
    if has_markers or any(map(_is_long, entries)) or _are_contents(entries, len(run)):
        return False
    if not all(map(_is_aligned, columns)):
        return False
    if _filled(columns) < LEAST_UNRULED_FILLED:
        return _is_sparse_table(columns)
    is_wide = len(columns) > 2 or len(run) >= TWO_COLUMN_ROWS
    return is_wide and any(are_numbers(column[1:]) for column in entries)


def _filled(columns: Sequence[Column]) -> float:
    """Return the share of cells below the head that hold text."""
    cells = [bool(entry) for column in columns for entry in column[1:]]
    return sum(cells) / len(cells)


def _is_sparse_table(columns: Sequence[Column]) -> bool:
    """Say whether a head names every one of three columns or more, and all that is below stands under its name.

    It may be words alone: what has so many holes is no text in columns.
    """
    if len(columns) < HEAD_PIECES or not all(column[0] for column in columns):
        return False
    heads = [around_words(column[0]) for column in columns]
    is_under = all(
        _share_width(head, around_words(entry))
        for head, column in zip(heads, columns, strict=True)
        for entry in column[1:]
        if entry
    )
    return is_under and len(columns[0]) >= SPARSE_ROWS and _filled(columns) >= LEAST_SPARSE_FILLED


def _is_aligned(column: Column) -> bool:
    """Say whether the entries below the head share their left edge, their right edge or their middle."""
    boxes = [around_words(entry) for entry in column[1:] if entry]
    return any(_stray([edge(box) for box in boxes]) <= MAY_STRAY * len(boxes) for edge in EDGES)


def _stray(places: Sequence[float]) -> int:
    """Return how many places are far from the median."""
    median = sorted(places)[len(places) // 2] if places else 0.0
    return sum(abs(place - median) > ALIGNED_WITHIN for place in places)


def _is_long(column: Sequence[str]) -> bool:
    return sum(map(len, column)) > LONGEST_ENTRIES * len(column)


def _are_markers(column: Sequence[str]) -> bool:
    return sum(bool(MARKER.match(text)) for text in column) > len(column) / 2


def _are_contents(entries: Sequence[Sequence[str]], count: int) -> bool:
    """Say whether the last column could be pages: whole numbers that only rise, in each row, behind words."""
    pages = [int(text) for text in entries[-1] if text.isdecimal()]
    has_words = any(not are_numbers(column) for column in entries[:-1])
    return has_words and len(pages) >= count - 1 and pages == sorted(pages)
