"""Tables ruled only horizontally: their columns are the white between words that no row crosses.

Coordinates are points from the top left corner of the page. Knows nothing of Docling.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from tuning_room.convert.rule_tables import TOLERANCE, Box, Cell, Grid

# A table so ruled has lines above and below, and below its header.
LEAST_RULES = 3
LEAST_ROWS = 3
# White between columns, over the height of a word; the words of a line are nearer.
COLUMN_GAP = 0.8
# One column at least holds short entries: columns of running text have none.
SHORT = 20
# The share of rows with text in more than one column.
MOSTLY = 0.6
MOST_TITLES = 2

Word = tuple[Box, str]


def level_frames(rules: Iterable[Box]) -> list[Box]:
    """Return the areas between the first and last of at least three level rules of one width."""
    groups: list[list[Box]] = []
    for rule in sorted((r for r in rules if r.right - r.left > 10 * (r.bottom - r.top)), key=lambda r: r.top):
        group = next((g for g in groups if _same_width(g[0], rule)), None)
        if group is None:
            groups.append([rule])
        elif rule.top - group[-1].top > TOLERANCE:
            group.append(rule)
    return [Box(g[0].left, g[0].top, g[0].right, g[-1].bottom) for g in groups if len(g) >= LEAST_RULES]


def aligned_grid(frame: Box, words: Iterable[Word]) -> Grid | None:
    """Return the table that the words in a frame make; None where they do not stand in columns."""
    rows = rows_of([word for word in words if frame.holds(word[0])])
    if len(rows) < LEAST_ROWS:
        return None
    cuts = _cuts(rows)
    columns = [frame.left, *cuts, frame.right]
    tops = [frame.top, *((bottom(a) + _top(b)) / 2 for a, b in pairwise(rows)), frame.bottom]
    if not cuts or not _is_tabular(rows, columns):
        return None
    cells = [_row_cells(index, row, columns, tops) for index, row in enumerate(rows)]
    # Many lines over all columns are text, or the code of a listing.
    if sum(len(row) == 1 for row in cells) > MOST_TITLES:
        return None
    return Grid(columns, tops, [cell for row in cells for cell in row])


def _same_width(one: Box, other: Box) -> bool:
    return abs(one.left - other.left) <= TOLERANCE and abs(one.right - other.right) <= TOLERANCE


def rows_of(words: Sequence[Word]) -> list[list[Word]]:
    """Return words as rows from top to bottom, each from left to right."""
    rows: list[list[Word]] = []
    for word in sorted(words, key=lambda word: word[0].bottom):
        if rows and min(bottom(rows[-1]), word[0].bottom) - max(_top(rows[-1]), word[0].top) > 0.4 * _height(word[0]):
            rows[-1].append(word)
        else:
            rows.append([word])
    return [sorted(row, key=lambda word: word[0].left) for row in rows]


def _cuts(rows: Sequence[Sequence[Word]]) -> list[float]:
    """Return the middles of the white that goes through all rows but those of one piece: titles over the columns."""
    heights = sorted(_height(box) for row in rows for box, _ in row)
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


def _is_tabular(rows: Sequence[Sequence[Word]], columns: Sequence[float]) -> bool:
    texts = [[_text(row, left, right) for left, right in pairwise(columns)] for row in rows]
    filled = [sum(map(bool, row)) for row in texts]
    entries = [[text for text in column if text] for column in zip(*texts, strict=True)]
    if not all(_says_something(column) for column in entries):
        return False
    is_short = any(sum(map(len, column)) / len(column) <= SHORT for column in entries)
    return is_short and sum(count > 1 for count in filled) >= MOSTLY * len(rows)


def _says_something(column: Sequence[str]) -> bool:
    """Say whether a column has more than marks: prompts and bullets make no column."""
    return 2 * sum(any(map(str.isalnum, text)) for text in column) > len(column)


def _row_cells(index: int, row: Sequence[Word], columns: Sequence[float], tops: Sequence[float]) -> list[Cell]:
    """Return a row's cells; a line of text that crosses the columns is one cell over all of them."""
    count = len(columns) - 1
    edges = row[0][0].left, row[-1][0].right
    if is_one_piece(row) and any(edges[0] < cut < edges[1] for cut in columns[1:-1]):
        return [Cell(index, 0, index + 1, count, Box(columns[0], tops[index], columns[-1], tops[index + 1]))]
    return [
        Cell(index, n, index + 1, n + 1, Box(columns[n], tops[index], columns[n + 1], tops[index + 1]))
        for n in range(count)
    ]


def is_one_piece(row: Sequence[Word]) -> bool:
    """Say whether words follow each other without a column's gap."""
    return all(b[0].left - a[0].right < COLUMN_GAP * _height(a[0]) for a, b in pairwise(row))


def _text(row: Sequence[Word], left: float, right: float) -> str:
    return " ".join(text for box, text in row if left <= (box.left + box.right) / 2 <= right)


def _height(box: Box) -> float:
    return box.bottom - box.top


def _top(row: Sequence[Word]) -> float:
    return min(box.top for box, _ in row)


def bottom(row: Sequence[Word]) -> float:
    """Return where a row ends, in points."""
    return max(box.bottom for box, _ in row)
