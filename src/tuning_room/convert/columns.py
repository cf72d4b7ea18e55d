"""Pages in three columns or more: where the columns are separated, and in what order such a page is read.

Seen from above, the boxes of a page cover it but for strips of white, the gutters; a cut is the middle of one:

    |      A title across the page        |      read first: it crosses the cuts
    | aaa aaa  |  bbb bbb  |  ccc ccc     |      then column by column: a, a, b, b, c, c
    | aaa aaa  |  bbb bbb  |  ccc ccc     |
              cut         cut

A table also has such strips. But its cells stand in rows across the strips and do not fill the columns.

Coordinates are points from the top left corner of the page. Knows nothing of Docling.
"""

from collections.abc import Sequence
from itertools import pairwise

from tuning_room.convert.boxes import Box

LEAST_COLUMNS = 3
# The white between columns, in points, and the share of lines that may cross it: a title over the whole page.
LEAST_GUTTER = 5.0
MAY_CROSS = 0.04
LEAST_LINES = 8
# Lines fill the columns of a page; cells do not fill those of a table, and line up in rows.
LEAST_FILL = 0.5
MOST_ALIGNED = 0.6
SAME_ROW = 0.5


def gutters(boxes: Sequence[Box]) -> list[float]:
    """Return where a page's columns are separated, from left to right; nothing if it has fewer than three columns."""
    cuts = [(left + right) / 2 for left, right in _white_strips(boxes)]
    # White space that rows continue across is inside a column, or inside a table.
    while aligned := next((cut for cut in cuts if _is_crossed_by_rows(boxes, cuts, cut)), None):
        cuts.remove(aligned)
    columns = _columns(boxes, cuts)
    if len(columns) < LEAST_COLUMNS or any(len(column) < LEAST_LINES for column in columns):
        return []
    return cuts if all(_fill(column) >= LEAST_FILL for column in columns) else []


def column_of(box: Box, cuts: Sequence[float]) -> int | None:
    """Return the column (from 0) that a box is in; None if it crosses a gutter."""
    first, last = (sum(cut < x for cut in cuts) for x in (box.left, box.right))
    return first if first == last else None


def column_order(boxes: Sequence[Box], cuts: Sequence[float]) -> list[int]:
    """Return the order in which boxes are read: column by column between the boxes that cross the gutters."""
    columns = [column_of(box, cuts) for box in boxes]
    across = sorted(boxes[i].top for i, column in enumerate(columns) if column is None)

    def place(index: int) -> tuple[int, int, float, float]:
        box, column = boxes[index], columns[index]
        band = sum(top <= box.top for top in across)
        return band, -1 if column is None else column, box.top, box.left

    return sorted(range(len(boxes)), key=place)


def _white_strips(boxes: Sequence[Box]) -> list[tuple[float, float]]:
    """Return the strips, by their edges, that hardly any box crosses, between the outermost boxes."""
    may_cross = MAY_CROSS * len(boxes)
    edges = sorted([(box.left, 1) for box in boxes] + [(box.right, -1) for box in boxes])
    strips: list[tuple[float, float]] = []
    covered = 0
    for (left, change), (right, _) in pairwise(edges):
        covered += change
        if covered > may_cross or right <= left:
            continue
        if strips and left - strips[-1][1] < 0.1:
            strips[-1] = (strips[-1][0], right)
        else:
            strips.append((left, right))
    outer = (edges[0][0], edges[-1][0]) if edges else (0.0, 0.0)
    return [(a, b) for a, b in strips if b - a >= LEAST_GUTTER and a > outer[0] and b < outer[1]]


def _columns(boxes: Sequence[Box], cuts: Sequence[float]) -> list[list[Box]]:
    columns: list[list[Box]] = [[] for _ in range(len(cuts) + 1)]
    for box in boxes:
        column = column_of(box, cuts)
        if column is not None:
            columns[column].append(box)
    return columns


def _is_crossed_by_rows(boxes: Sequence[Box], cuts: Sequence[float], cut: float) -> bool:
    columns, index = _columns(boxes, cuts), list(cuts).index(cut)
    one, other = columns[index : index + 2]
    return not one or not other or _aligned(one, other) > MOST_ALIGNED


def _fill(column: Sequence[Box]) -> float:
    """Return how much of a column's width its rows take, the median row."""
    rows: dict[int, list[Box]] = {}
    for box in column:
        rows.setdefault(round(box.bottom / 4), []).append(box)
    width = max(box.right for box in column) - min(box.left for box in column)
    taken = sorted(max(b.right for b in row) - min(b.left for b in row) for row in rows.values())
    return taken[len(taken) // 2] / width if width else 0.0


def _aligned(one: Sequence[Box], other: Sequence[Box]) -> float:
    """Return the share of a column's lines that share a row with a line of another column."""
    fewer, more = sorted((one, other), key=len)
    return sum(any(abs(a.bottom - b.bottom) < SAME_ROW for b in more) for a in fewer) / len(fewer)
