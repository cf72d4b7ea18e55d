"""Tables whose columns are parted by the white that no row crosses: in a frame, or between level lines.

Coordinates are points from the top left corner of the page. Knows nothing of Docling.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from tuning_room.convert.boxes import TOLERANCE, Box, Word, around_words
from tuning_room.convert.table_rows import COLUMN_GAP, crosses, joined_lines

# A table with level lines only has one above, one below its header and one at its end.
LEAST_RULES = 3
LEAST_ROWS = 3
# At least one column holds short entries: columns of running text have none.
SHORT = 20
# The share of rows with text in more than one column.
MOSTLY = 0.6
MOSTLY_HEADED = 0.3
MOST_TITLES = 2

Row = Sequence[Word]


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


def cell_lines(words: Iterable[Word]) -> list[str]:
    """Return the lines that the words of a cell make: each a string, from top to bottom."""
    lines: list[list[Word]] = []
    for word in sorted(words, key=lambda word: word[0].bottom):
        if lines and lines[-1][-1][0].is_level_with(word[0]):
            lines[-1].append(word)
        else:
            lines.append([word])
    return [joined_text(sorted(line, key=lambda word: word[0].left)) for line in lines]


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


def inner_heights(frame: Box, rules: Iterable[Box]) -> list[float]:
    """Return where lines that go through all of a frame stand within it."""
    through = [rule for rule in rules if _same_width(frame, rule)]
    return [rule.top for rule in through if frame.top + TOLERANCE < rule.top < frame.bottom - TOLERANCE]


def _same_width(one: Box, other: Box) -> bool:
    return abs(one.left - other.left) <= TOLERANCE and abs(one.right - other.right) <= TOLERANCE


def aligned_grid(frame: Box, words: Iterable[Word], rules: Sequence[float] = ()) -> Grid | None:
    """Return the table that the words in a frame make; None where they do not stand in columns.

    The rules are the heights of the lines within the frame: no row goes on beyond one.
    """
    lines = word_lines([word for word in words if frame.holds(word[0])])
    cuts = _cuts(lines) if len(lines) >= LEAST_ROWS else []
    columns = [frame.left, *cuts, frame.right]
    rows = joined_lines(lines, columns, rules)
    flat = [[word for line in row for word in line] for row in rows]
    if not cuts or len(rows) < LEAST_ROWS or not _is_tabular(flat, columns):
        return None
    tops = [frame.top, *((bottom_of(a) + min(box.top for box, _ in b)) / 2 for a, b in pairwise(flat)), frame.bottom]
    cells = [_row_cells(index, row, columns, tops) for index, row in enumerate(rows)]
    # Many lines over all columns are text, or the code of a listing.
    if sum(len(row) == 1 for row in cells) > MOST_TITLES:
        return None
    return Grid(columns, tops, [cell for row in cells for cell in row])


def word_lines(words: Sequence[Word]) -> list[list[Word]]:
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
    texts = [[joined_text(between(row, left, right)) for left, right in pairwise(columns)] for row in rows]
    filled = [sum(map(bool, row)) for row in texts]
    entries = [[text for text in column if text] for column in zip(*texts, strict=True)]
    if not all(_says_something(column) for column in entries):
        return False
    is_short = any(sum(map(len, column)) / len(column) <= SHORT for column in entries)
    # Below a head that names every column, most rows may be sparse.
    least = MOSTLY_HEADED if filled[0] == len(columns) - 1 > 2 else MOSTLY
    return is_short and sum(count > 1 for count in filled) >= least * len(rows)


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


def between(row: Row, left: float, right: float) -> list[Word]:
    """Return the words of a row that stand in a column."""
    return [word for word in row if left <= word[0].middle <= right]


def joined_text(words: Iterable[Word]) -> str:
    """Return words as one text."""
    return " ".join(text for _, text in words)


def bottom_of(row: Row) -> float:
    """Return how far down the words of a row reach."""
    return max(box.bottom for box, _ in row)
