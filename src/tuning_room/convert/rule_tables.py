"""Tables found by their ruling lines: which lines make a grid, and which cells the grid has.

Coordinates are points from the top left corner of the page. Knows nothing of Docling.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

# Lines that are meant to meet do so within this distance.
TOLERANCE = 2.5
# A painted box that is no thicker than this is a line.
MAX_THICKNESS = 2.0
# A page with more lines than this is a drawing, and comparing them all would take long.
MAX_RULES = 1500


class Box(NamedTuple):
    """A rectangle, in points from the top left corner of the page."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def around(cls, boxes: Iterable["Box"]) -> "Box":
        """Return the smallest box around others, of which there is one at least."""
        lefts, tops, rights, bottoms = zip(*boxes, strict=True)
        return cls(min(lefts), min(tops), max(rights), max(bottoms))

    def holds(self, other: "Box") -> bool:
        """Say whether the middle of another box lies in this one."""
        x, y = (other.left + other.right) / 2, (other.top + other.bottom) / 2
        return self.left <= x <= self.right and self.top <= y <= self.bottom

    def meets(self, other: "Box", tolerance: float = TOLERANCE) -> bool:
        """Say whether two boxes touch, within a tolerance in points."""
        across = self.left <= other.right + tolerance and other.left <= self.right + tolerance
        return across and self.top <= other.bottom + tolerance and other.top <= self.bottom + tolerance


class Cell(NamedTuple):
    """A cell of a grid; rows and columns count from 0, the ends are exclusive."""

    row: int
    column: int
    row_end: int
    column_end: int
    box: Box


class Grid(NamedTuple):
    """A ruled table: the places of its lines from left to right and from top to bottom, and its cells."""

    columns: list[float]
    rows: list[float]
    cells: list[Cell]

    @property
    def box(self) -> Box:
        """Return the table's outer edge."""
        return Box(self.columns[0], self.rows[0], self.columns[-1], self.rows[-1])


def ruled_grids(lines: Iterable[Box]) -> list[Grid]:
    """Return the tables that a page's ruling lines draw, from top to bottom; a single frame is not a table."""
    rules = [line for line in lines if _is_rule(line)]
    grids = [_grid(group) for group in _connected(rules)] if len(rules) <= MAX_RULES else []
    return sorted((grid for grid in grids if len(grid.cells) > 1), key=lambda grid: grid.box.top)


def rows_of_words(words: Iterable[tuple[Box, str]]) -> list[str]:
    """Return the lines that words make: each a string, from top to bottom."""
    lines: list[list[tuple[Box, str]]] = []
    for box, text in sorted(words, key=lambda word: word[0].bottom):
        if lines and _share_line(lines[-1][-1][0], box):
            lines[-1].append((box, text))
        else:
            lines.append([(box, text)])
    return [" ".join(text for _, text in sorted(line, key=lambda word: word[0].left)) for line in lines]


def _share_line(one: Box, other: Box) -> bool:
    overlap = min(one.bottom, other.bottom) - max(one.top, other.top)
    return overlap > 0.5 * min(one.bottom - one.top, other.bottom - other.top)


def _is_rule(line: Box) -> bool:
    width, height = line.right - line.left, line.bottom - line.top
    return min(width, height) <= MAX_THICKNESS < max(width, height)


def _is_level(rule: Box) -> bool:
    return rule.right - rule.left >= rule.bottom - rule.top


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
    level = [rule for rule in rules if _is_level(rule)]
    upright = [rule for rule in rules if not _is_level(rule)]
    columns = _places([*(_middle(rule.left, rule.right) for rule in upright), *_ends(level, 0, 2)])
    rows = _places([*(_middle(rule.top, rule.bottom) for rule in level), *_ends(upright, 1, 3)])
    if not level or not upright or len(columns) < 2 or len(rows) < 2:
        return Grid([0.0, 0.0], [0.0, 0.0], [])
    return Grid(columns, rows, _cells(columns, rows, level, upright))


def _middle(one: float, other: float) -> float:
    return (one + other) / 2


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
    middle = _middle(rows[row], rows[row + 1])
    while column_end < len(columns) - 1 and not _is_crossed(columns[column_end], middle, upright):
        column_end += 1
    middle = _middle(columns[column], columns[column + 1])
    while row_end < len(rows) - 1 and not _is_crossed(middle, rows[row_end], level):
        row_end += 1
    return Cell(row, column, row_end, column_end, Box(columns[column], rows[row], columns[column_end], rows[row_end]))


def _is_crossed(x: float, y: float, rules: Iterable[Box]) -> bool:
    point = Box(x, y, x, y)
    return any(rule.meets(point) for rule in rules)
