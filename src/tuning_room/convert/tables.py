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

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from tuning_room.convert.boxes import TOLERANCE, Box, Word, around_words
from tuning_room.convert.table_rows import COLUMN_GAP, NUMBER, crosses, is_one_piece, joined_lines
from tuning_room.convert.typography import LEADERS

# A painted box that is no thicker than this is a line.
MAX_THICKNESS = 2.0
# A page with more lines than this is a drawing, and comparing them all would take long.
MAX_RULES = 1500
# The share of a ruled table's cells that hold text; the boxes of a drawing are mostly empty.
LEAST_RULED_FILLED = 1 / 3

# A table with lines between its columns only is a head, a body and perhaps a last row.
MOST_SLOTS = 3

# A table with level lines only has one above, one below its header and one at its end.
LEAST_RULES = 3
LEAST_ROWS = 3
# At least one column holds short entries: columns of running text have none.
SHORT = 20
# The share of rows with text in more than one column.
MOSTLY = 0.6
MOST_TITLES = 2

# Without lines, rows are nearer than this, over the height of their words, and their steps differ by less than EVEN.
FARTHEST_STEP = 2.6
EVEN = 1.5
# Entries stand under each other within this distance, except for a column's head and this share of the others.
ALIGNED_WITHIN = 2.0
MAY_STRAY = 0.2
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
Row = Sequence[Word]
# A column's entries from top to bottom, each the words of one row.
Column = list[list[Word]]


class Cell(NamedTuple):
    """A cell of a grid; rows and columns count from 0, the ends are exclusive."""

    row: int
    column: int
    row_end: int
    column_end: int
    box: Box


class Grid(NamedTuple):
    """A table: the places of its lines from left to right and from top to bottom, and its cells."""

    columns: list[float]
    rows: list[float]
    cells: list[Cell]

    @property
    def box(self) -> Box:
        """Return the table's outer edge."""
        return Box(self.columns[0], self.rows[0], self.columns[-1], self.rows[-1])


def page_tables(rules: Sequence[Box], words: Sequence[Word]) -> list[Grid]:
    """Return all tables that a page's ruling lines and words make, from top to bottom."""
    ruled = [_within_frame(grid, words) for grid in ruled_grids(rules) if _has_text(grid, words)]
    found = ruled
    if len(rules) <= MAX_RULES:
        apart = [frame for frame in level_frames(rules) if not any(frame.meets(grid.box) for grid in ruled)]
        known = [*ruled, *(grid for frame in apart if (grid := aligned_grid(frame, words, _heights(frame, rules))))]
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
    rows = joined_lines(_rows([word for word in words if slot.holds(word[0])]), grid.columns, [top])
    flat = [[word for line in row for word in line] for row in rows]
    texts = [[_text(_between(row, left, right)) for left, right in pairwise(grid.columns)] for row in flat]
    is_wide = len(cells) > 2 or any(
        _are_numbers([text for text in column if text]) for column in zip(*texts, strict=True)
    )
    several = sum(sum(map(bool, row)) > 1 for row in texts)
    if len(rows) < LEAST_ROWS or not is_wide or several < MOSTLY * len(rows):
        return []
    return [(_bottom(above) + min(box.top for box, _ in below)) / 2 for above, below in pairwise(flat)]


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


def cell_lines(words: Iterable[Word]) -> list[str]:
    """Return the lines that the words of a cell make: each a string, from top to bottom."""
    lines: list[list[Word]] = []
    for word in sorted(words, key=lambda word: word[0].bottom):
        if lines and lines[-1][-1][0].is_level_with(word[0]):
            lines[-1].append(word)
        else:
            lines.append([word])
    return [_text(sorted(line, key=lambda word: word[0].left)) for line in lines]


# Ruled tables


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


# Tables with level lines only


def level_frames(rules: Iterable[Box]) -> list[Box]:
    """Return the areas between the first and last of at least three level rules of one width."""
    groups: list[list[Box]] = []
    for rule in sorted((r for r in rules if r.width > 10 * r.height), key=lambda r: r.top):
        group = next((g for g in groups if _same_width(g[0], rule)), None)
        if group is None:
            groups.append([rule])
        elif rule.top - group[-1].top > TOLERANCE:
            group.append(rule)
    return [Box(g[0].left, g[0].top, g[0].right, g[-1].bottom) for g in groups if len(g) >= LEAST_RULES]


def _heights(frame: Box, rules: Iterable[Box]) -> list[float]:
    """Return where lines that go through all of a frame stand within it."""
    through = [rule for rule in rules if _same_width(frame, rule)]
    return [rule.top for rule in through if frame.top + TOLERANCE < rule.top < frame.bottom - TOLERANCE]


def _same_width(one: Box, other: Box) -> bool:
    return abs(one.left - other.left) <= TOLERANCE and abs(one.right - other.right) <= TOLERANCE


def aligned_grid(frame: Box, words: Iterable[Word], rules: Sequence[float] = ()) -> Grid | None:
    """Return the table that the words in a frame make; None where they do not stand in columns.

    The rules are the heights of the lines within the frame: no row goes on beyond one.
    """
    lines = _rows([word for word in words if frame.holds(word[0])])
    cuts = _cuts(lines) if len(lines) >= LEAST_ROWS else []
    columns = [frame.left, *cuts, frame.right]
    rows = joined_lines(lines, columns, rules)
    flat = [[word for line in row for word in line] for row in rows]
    if not cuts or len(rows) < LEAST_ROWS or not _is_tabular(flat, columns):
        return None
    tops = [frame.top, *((_bottom(a) + min(box.top for box, _ in b)) / 2 for a, b in pairwise(flat)), frame.bottom]
    cells = [_row_cells(index, row, columns, tops) for index, row in enumerate(rows)]
    # Many lines over all columns are text, or the code of a listing.
    if sum(len(row) == 1 for row in cells) > MOST_TITLES:
        return None
    return Grid(columns, tops, [cell for row in cells for cell in row])


def _rows(words: Sequence[Word]) -> list[list[Word]]:
    """Return words as rows from top to bottom, each from left to right."""
    rows: list[list[Word]] = []
    for word in sorted(words, key=lambda word: word[0].bottom):
        if rows and around_words(rows[-1]).overlap(word[0]) > 0.4 * word[0].height:
            rows[-1].append(word)
        else:
            rows.append([word])
    return [sorted(row, key=lambda word: word[0].left) for row in rows]


def _cuts(rows: Sequence[Row]) -> list[float]:
    """Return where columns part: the middles of the white that no row crosses, apart from titles over the columns.

    What the parted rows cover is laid on one line, and the gaps that are left are the white:

        Results of the first run       a title: one piece, so left aside
        Model        Errors
        small            12
        #####        ######            covered; the cut is in the middle of the gap
    """
    heights = sorted(box.height for row in rows for box, _ in row)
    least = COLUMN_GAP * heights[len(heights) // 2]
    parted = [row for row in rows if any(b[0].left - a[0].right >= least for a, b in pairwise(row))]
    covered = sorted((box.left, box.right) for row in parted for box, _ in row)
    cuts: list[float] = []
    reach = covered[0][1] if covered else 0.0
    for left, right in covered:
        if left - reach >= least:
            cuts.append((left + reach) / 2)
        reach = max(reach, right)
    return cuts


def _is_tabular(rows: Sequence[Row], columns: Sequence[float]) -> bool:
    texts = [[_text(_between(row, left, right)) for left, right in pairwise(columns)] for row in rows]
    filled = [sum(map(bool, row)) for row in texts]
    entries = [[text for text in column if text] for column in zip(*texts, strict=True)]
    if not all(_says_something(column) for column in entries):
        return False
    is_short = any(sum(map(len, column)) / len(column) <= SHORT for column in entries)
    return is_short and sum(count > 1 for count in filled) >= MOSTLY * len(rows)


def _says_something(column: Sequence[str]) -> bool:
    """Say whether a column has more than marks: prompts and bullets make no column."""
    return 2 * sum(any(map(str.isalnum, text)) for text in column) > len(column)


def _row_cells(index: int, row: Sequence[Row], columns: Sequence[float], tops: Sequence[float]) -> list[Cell]:
    """Return a row's cells; a line of text that crosses the columns is one cell over all of them."""
    count = len(columns) - 1
    if len(row) == 1 and crosses(row[0], columns):
        return [Cell(index, 0, index + 1, count, Box(columns[0], tops[index], columns[-1], tops[index + 1]))]
    return [
        Cell(index, n, index + 1, n + 1, Box(columns[n], tops[index], columns[n + 1], tops[index + 1]))
        for n in range(count)
    ]


def _between(row: Row, left: float, right: float) -> list[Word]:
    return [word for word in row if left <= word[0].middle <= right]


def _text(words: Iterable[Word]) -> str:
    return " ".join(text for _, text in words)


def _bottom(row: Row) -> float:
    return max(box.bottom for box, _ in row)


# Tables without lines


def unruled_grids(words: Iterable[Word]) -> list[Grid]:
    """Return the tables that a page's words make by their places alone, from top to bottom."""
    grids = []
    for run in _runs(_rows(list(words))):
        flat = [word for row in run for word in row]
        grid = aligned_grid(around_words(flat), flat)
        if grid and _is_table(grid, run):
            grids.append(grid)
    return grids


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
    steps = [_bottom(b) - _bottom(a) for a, b in pairwise([*run, row])]
    return steps[-1] <= FARTHEST_STEP * row[0][0].height and max(steps[-2:]) <= EVEN * min(steps[-2:])


def _is_table(grid: Grid, run: Sequence[Row]) -> bool:
    columns = [[_between(row, left, right) for row in run] for left, right in pairwise(grid.columns)]
    entries = [[_text(entry) for entry in column if entry] for column in columns]
    if any(LEADERS.search(text) for column in entries for text in column):
        return False
    if any(_is_long(column) or _are_markers(column) for column in entries) or _are_contents(entries, len(run)):
        return False
    if not all(map(_is_aligned, columns)):
        return False
    if _filled(columns) < LEAST_UNRULED_FILLED:
        return _is_sparse_table(columns)
    is_wide = len(columns) > 2 or len(run) >= TWO_COLUMN_ROWS
    return is_wide and any(_are_numbers(column[1:]) for column in entries)


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


def _are_numbers(column: Sequence[str]) -> bool:
    return sum(bool(NUMBER.match(text)) for text in column) >= (1 - MAY_STRAY) * max(1, len(column))


def _are_contents(entries: Sequence[Sequence[str]], count: int) -> bool:
    """Say whether the last column could be pages: whole numbers that only rise, in each row, behind words."""
    pages = [int(text) for text in entries[-1] if text.isdecimal()]
    has_words = any(not _are_numbers(column) for column in entries[:-1])
    return has_words and len(pages) >= count - 1 and pages == sorted(pages)
