"""The tables of a page by rules: ruled on all sides, with level lines only, and without lines.

A table is looked for in three ways, from the surest to the least sure; what one has taken, the next does not see:

    ruled                    level lines only         no lines
    +--------+--------+      -----------------
    | Model  | Errors |      Model      Errors        Model      Errors
    +--------+--------+      -----------------
    | small  |     12 |      small          12        small          12
    | large  |      7 |      large           7        large           7
    +--------+--------+      -----------------        medium         9

The first is made of the lines alone. In the other two, the columns are parted by the white that no row crosses.

A false table costs more than a missed one, which merely stays lines of text. So listings, lists, contents, numbered
formulas and columns of running text must all be told apart, and what is in doubt is no table.
Coordinates are points from the top left corner of the page. Knows nothing of Docling.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from tuning_room.convert.aligned_tables import (
    LEAST_ROWS,
    MOSTLY,
    Cell,
    Grid,
    aligned_grid,
    between,
    bottom_of,
    inner_heights,
    joined_text,
    level_frames,
    word_lines,
)
from tuning_room.convert.boxes import TOLERANCE, Box, Word
from tuning_room.convert.table_rows import are_numbers, joined_lines
from tuning_room.convert.unruled_tables import unruled_grids

# A painted box that is no thicker than this is a line.
MAX_THICKNESS = 2.0
# A page with more lines than this is a drawing, and comparing them all would take long.
MAX_RULES = 1500
# The share of a ruled table's cells that hold text; the boxes of a drawing are mostly empty.
LEAST_RULED_FILLED = 1 / 3

# A table with lines between its columns only is a head, a body and perhaps a last row.
MOST_SLOTS = 3


def page_tables(rules: Sequence[Box], words: Sequence[Word]) -> list[Grid]:
    """Return all tables that a page's ruling lines and words make, from top to bottom."""
    ruled = [_within_frame(grid, words) for grid in ruled_grids(rules) if _has_text(grid, words)]
    found = ruled
    if len(rules) <= MAX_RULES:
        apart = [frame for frame in level_frames(rules) if not any(frame.meets(grid.box) for grid in ruled)]
        known = [
            *ruled,
            *(grid for frame in apart if (grid := aligned_grid(frame, words, inner_heights(frame, rules)))),
        ]
        found = [*known, *unruled_grids(word for word in words if not any(grid.box.holds(word[0]) for grid in known))]
    return sorted(found, key=lambda grid: grid.box.top)


def _has_text(grid: Grid, words: Sequence[Word]) -> bool:
    """Say whether a grid has text in enough of its cells, and more than one row: others are drawings."""
    filled = sum(any(cell.box.holds(box) for box, _ in words) for cell in grid.cells)
    return filled > 1 and len(grid.rows) > 2 and filled >= LEAST_RULED_FILLED * len(grid.cells)


def _within_frame(grid: Grid, words: Sequence[Word]) -> Grid:
    """Return a framed table by its words where only its lines' ends, or only its columns, are drawn."""
    if len(grid.columns) == 2:
        return aligned_grid(grid.box, words) or grid
    if len(grid.rows) - 1 > MOST_SLOTS:
        return grid
    tops = [grid.rows[0]]
    for top, bottom in pairwise(grid.rows):
        tops += [*_inner_tops(grid, top, bottom, words), bottom]
    return grid if tops == grid.rows else _split_at(grid, tops)


def _inner_tops(grid: Grid, top: float, bottom: float, words: Sequence[Word]) -> list[float]:
    """Return where rows part between two lines of a table that has lines between its columns, but not its rows."""
    slot = Box(grid.columns[0], top, grid.columns[-1], bottom)
    cells = [cell for cell in grid.cells if slot.holds(cell.box)]
    if len(cells) != len(grid.columns) - 1:
        return []
    # A rule at the edge: the lines of a single row are even, too.
    rows = joined_lines(word_lines([word for word in words if slot.holds(word[0])]), grid.columns, [top])
    flat = [[word for line in row for word in line] for row in rows]
    texts = [[joined_text(between(row, left, right)) for left, right in pairwise(grid.columns)] for row in flat]
    is_wide = len(cells) > 2 or any(
        are_numbers([text for text in column if text]) for column in zip(*texts, strict=True)
    )
    several = sum(sum(map(bool, row)) > 1 for row in texts)
    if len(rows) < LEAST_ROWS or not is_wide or several < MOSTLY * len(rows):
        return []
    return [(bottom_of(above) + min(box.top for box, _ in below)) / 2 for above, below in pairwise(flat)]


def _split_at(grid: Grid, tops: Sequence[float]) -> Grid:
    """Return a table with more rows: each of its cells is cut at the heights within it."""
    cells = []
    for cell in grid.cells:
        inside = [top for top in tops if cell.box.top < top < cell.box.bottom]
        parts = list(pairwise([cell.box.top, *inside, cell.box.bottom]))
        is_split = cell.row_end - cell.row == 1 and cell.column_end - cell.column == 1
        for top, bottom in parts if is_split else [(cell.box.top, cell.box.bottom)]:
            box = Box(cell.box.left, top, cell.box.right, bottom)
            cells.append(Cell(tops.index(top), cell.column, tops.index(bottom), cell.column_end, box))
    return Grid(grid.columns, list(tops), sorted(cells))


def ruled_grids(lines: Iterable[Box]) -> list[Grid]:
    """Return the tables that a page's ruling lines draw, from top to bottom; a single frame is not a table.

    Lines that touch are one table. Their places are its columns and rows; a cell grows over every such place where no
    line parts it from the next one. Here the upper cell takes both columns, as no line crosses its middle:

        +-------+         columns [0, 50, 100]
        |   a   |         rows    [0, 20, 40]
        +---+---+         cells   a: row 0, columns 0 to 2; b: row 1, column 0; c: row 1, column 1
        | b | c |
        +---+---+
    """
    rules = [line for line in lines if min(line.width, line.height) <= MAX_THICKNESS < max(line.width, line.height)]
    grids = [_grid(group) for group in _connected(rules)] if len(rules) <= MAX_RULES else []
    return sorted((grid for grid in grids if len(grid.cells) > 1), key=lambda grid: grid.box.top)


def _connected(rules: Sequence[Box]) -> list[list[Box]]:
    groups: list[list[Box]] = []
    for rule in rules:
        joined, rest = [rule], []
        for group in groups:
            if any(rule.meets(other) for other in group):
                joined.extend(group)
            else:
                rest.append(group)
        groups = [*rest, joined]
    return groups


def _grid(rules: Sequence[Box]) -> Grid:
    level = [rule for rule in rules if rule.width >= rule.height]
    upright = [rule for rule in rules if rule.width < rule.height]
    columns = _places([*(rule.middle for rule in upright), *_ends(level, 0, 2)])
    rows = _places([*((rule.top + rule.bottom) / 2 for rule in level), *_ends(upright, 1, 3)])
    if not level or not upright or len(columns) < 2 or len(rows) < 2:
        return Grid([0.0, 0.0], [0.0, 0.0], [])
    return Grid(columns, rows, _cells(columns, rows, level, upright))


def _ends(rules: Sequence[Box], start: int, end: int) -> list[float]:
    """Return how far the rules reach: a table that is open at its sides ends where its lines end."""
    return [min(rule[start] for rule in rules), max(rule[end] for rule in rules)] if rules else []


def _places(values: Iterable[float]) -> list[float]:
    """Return the distinct places of lines: values within the tolerance are one place."""
    places: list[float] = []
    for value in sorted(values):
        if not places or value - places[-1] > TOLERANCE:
            places.append(value)
    return places


def _cells(columns: list[float], rows: list[float], level: list[Box], upright: list[Box]) -> list[Cell]:
    cells: list[Cell] = []
    taken: set[tuple[int, int]] = set()
    for row in range(len(rows) - 1):
        for column in range(len(columns) - 1):
            if (row, column) in taken:
                continue
            cell = _cell_at(row, column, columns, rows, level, upright)
            taken.update((r, c) for r in range(row, cell.row_end) for c in range(column, cell.column_end))
            cells.append(cell)
    return cells


def _cell_at(
    row: int, column: int, columns: list[float], rows: list[float], level: list[Box], upright: list[Box]
) -> Cell:
    """Return the cell whose upper left slot this is, merged with the slots that no line parts from it."""
    column_end, row_end = column + 1, row + 1
    middle = (rows[row] + rows[row + 1]) / 2
    while column_end < len(columns) - 1 and not _is_crossed(columns[column_end], middle, upright):
        column_end += 1
    middle = (columns[column] + columns[column + 1]) / 2
    while row_end < len(rows) - 1 and not _is_crossed(middle, rows[row_end], level):
        row_end += 1
    return Cell(row, column, row_end, column_end, Box(columns[column], rows[row], columns[column_end], rows[row_end]))


def _is_crossed(x: float, y: float, rules: Iterable[Box]) -> bool:
    point = Box(x, y, x, y)
    return any(rule.meets(point) for rule in rules)
