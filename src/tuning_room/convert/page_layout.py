"""The structure of a page by rules: its lines grouped into headings, list items, paragraphs and running heads.

The parser's cells are first joined into lines, and each line then goes where it belongs, from top to bottom:

    cells                            lines                        blocks
    [1.2] [Moving terms]             1.2 Moving terms  (bold)     heading    1.2 Moving terms
    [An equation is a]               An equation is a             text       An equation is a statement.
    [statement.]                     statement.
    [•]   [Ask what comes]           • Ask what comes             list_item  • Ask what comes next.
          [next.]                      next.
    [1] [See chapter 3.]  (small)    1 See chapter 3.             footnote   1 See chapter 3.

A line continues the last block that it stands under, in the same weight and size and at the distance of two
lines of a paragraph; otherwise it begins a block of its own. So the two columns of a page are not mixed.

Coordinates are points from the top left corner of the page. Knows nothing of Docling.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tuning_room.convert.boxes import Box, Word
from tuning_room.convert.columns import column_of
from tuning_room.convert.outline import titled
from tuning_room.convert.typography import HEADING_SCALE, LEADERS, WORD, Typography, label_key

BlockKind = Literal["heading", "list_item", "text", "footnote", "header", "footer"]

BULLET = re.compile(r"^[•·▪◦‣●○■□➢✓⁃∙]\s+\S")  # noqa: RUF001 - bullets as they stand in files
# Hyphens, numbers and letters also begin lines of running text, so these are bullets only where a list item may begin.
POSSIBLE_BULLET = re.compile(r"^([-–*+]\s+[^\W\d]|\(?(\d{1,3}|[a-zA-Z])[.)]\s+\S)")  # noqa: RUF001
LONE_MARKER = re.compile(r"^([•·▪◦‣●○■□➢✓⁃∙–*-]|\(?(\d{1,3}|[a-zA-Z])[.)])$")  # noqa: RUF001
NUMBERED_TITLE = re.compile(r"^\d+(\.\d+)+\.?\s+\S")
MAX_HEADING_LINES = 3
FOOTNOTE = re.compile(r"^(\d{1,3}|[*†‡§])\s*[^\W\d_]")
# Footnotes are in the lower part of a page, in type of at most this size relative to the body text.
FOOT_SHARE = 0.5
FOOTNOTE_SCALE = 0.93
SAME_SIZE = 0.06
# Lines of a paragraph are at most this many times as far apart as the document's tightest lines.
LOOSE_STEP = 1.2
HEADING_STEP = 1.45
MAX_TITLE = 100
# How far a bold line in body size is from its neighbours if it is a title, in line steps.
SPACE_ABOVE = 1.6
SPACE_BELOW = 1.3
# Pieces of a row are closer than this, relative to their type size; the columns of a page are not.
BESIDE = 2.0
# A bold line that occurs this often is a label: 'Guidance', 'Example'.
OFTEN = 3
# The widest gap over which pieces of a row are joined, relative to their type size; after a lone bullet, a wider one.
PIECE_GAP = 0.8
MARKER_GAP = 4.0


class Line(NamedTuple):
    """A line of text, its place, size and weight, and the parser's cells that it is made of, by index."""

    box: Box
    text: str
    size: float
    bold: bool
    cells: tuple[int, ...]


@dataclass
class Block:
    """Lines that belong together, and what they are."""

    kind: BlockKind
    lines: list[Line] = field(default_factory=list)

    @property
    def box(self) -> Box:
        """Return the smallest rectangle around the lines, in points."""
        return Box.around(line.box for line in self.lines)

    @property
    def cells(self) -> list[int]:
        """Return the indices of the parser's cells in reading order."""
        return [index for line in self.lines for index in line.cells]


@dataclass(frozen=True)
class PageRules:
    """The rules for one page: how the document is set, the page's number and height in points, and its gutters."""

    typography: Typography
    number: int
    height: float
    cuts: Sequence[float] = ()

    def blocks(self, cells: Sequence[Word]) -> list[Block]:
        """Return the blocks that a page's cells (place and text, tables left out) make, from top to bottom."""
        pieces = [self._line(index, box, text) for index, (box, text) in enumerate(cells) if text.strip()]
        lines = joined_rows(pieces, self.cuts)
        blocks: list[Block] = []
        titles = self._titles(lines)
        for index, line in enumerate(lines):
            self._place(line, blocks, lines, is_title=index in titles)
        for block in blocks:
            # Many lines of large type are an opening paragraph, not a title.
            if block.kind == "heading" and len(block.lines) > MAX_HEADING_LINES:
                block.kind = "text"
        return self._with_footnotes(blocks)

    def _with_footnotes(self, blocks: list[Block]) -> list[Block]:
        """Return the blocks, marking as footnotes those that are small, numbered and below all other text."""
        largest = FOOTNOTE_SCALE * self.typography.body_size
        text = [block for block in blocks if block.kind not in ("header", "footer")]
        foot = max((b.box.bottom for b in text if b.lines[0].size > largest), default=self.height)
        foot = max(foot, FOOT_SHARE * self.height)
        notes = [b for b in text if b.lines[0].size <= largest and b.box.top >= foot - 1 and b.kind != "heading"]
        return [part for block in blocks for part in (_footnotes(block) if block in notes else [block])]

    def _titles(self, lines: Sequence[Line]) -> set[int]:
        """Return which lines the document's outline names; smaller type than the body's is text that says the same."""
        marks = [mark for mark in self.typography.outline if mark.page == self.number]
        least = (1 - SAME_SIZE) * self.typography.body_size
        texts = [(line.box.top, line.text if line.size >= least else "") for line in lines]
        return titled(texts, marks)

    def _line(self, index: int, box: Box, text: str) -> Line:
        """Return a cell as a line in the font that most of its width is set in."""
        runs = [run for run in self.typography.runs.get(self.number, []) if box.holds(run.box)]
        if not runs:
            return Line(box, text.strip(), box.height, False, (index,))
        widest = max(runs, key=lambda run: run.box.width)
        bold = sum(len(run.text) for run in runs if run.bold) > 0.6 * sum(len(run.text) for run in runs)
        return Line(box, text.strip(), widest.size, bold, (index,))

    def _place(self, line: Line, blocks: list[Block], lines: Sequence[Line], *, is_title: bool) -> None:
        is_heading = is_title or self._is_heading(line) or self._is_bold_heading(line, lines)
        kind = self._running_head(line) or ("heading" if is_heading else "text")
        if kind in ("header", "footer"):
            blocks.append(Block(kind, [line]))
            return
        home = next((block for block in reversed(blocks) if self._continues(block, line, kind)), None)
        if kind == "text" and _begins_item(line, home, lines):
            blocks.append(Block("list_item", [line]))
        elif home:
            home.lines.append(line)
        else:
            blocks.append(Block(kind, [line]))

    def _running_head(self, line: Line) -> Literal["header", "footer"] | None:
        middle = (line.box.top + line.box.bottom) / 2
        bands = self.typography.furniture.get(self.number, [])
        if not any(band.top - 1 <= middle <= band.bottom + 1 for band in bands):
            return None
        return "header" if middle < self.height / 2 else "footer"

    def _is_heading(self, line: Line) -> bool:
        """Say whether a line is larger than the body text; bold lines of its size are labels unless numbered (1.2)."""
        if not WORD.search(line.text) or BULLET.match(line.text) or LEADERS.search(line.text):
            return False
        if line.size >= HEADING_SCALE * self.typography.body_size:
            is_plain = line.size in self.typography.plain_headings
            return line.bold or is_plain or not self.typography.bold_headings
        is_body_size = line.size >= (1 - SAME_SIZE) * self.typography.body_size
        return is_body_size and line.bold and bool(NUMBERED_TITLE.match(line.text))

    def _is_bold_heading(self, line: Line, lines: Sequence[Line]) -> bool:
        """Say whether a bold line in body size stands alone like a title: a label is close to its text."""
        is_body_size = line.size >= (1 - SAME_SIZE) * self.typography.body_size
        if not line.bold or not is_body_size or not is_title_like(line.text):
            return False
        if self.typography.bold_lines[label_key(line.text)] >= OFTEN:
            return False
        return self._stands_alone(line, lines)

    def _stands_alone(self, line: Line, lines: Sequence[Line]) -> bool:
        others = [other for other in lines if other is not line and _stand_above(other.box, line.box)]
        if any(_is_beside(line, other) for other in lines if other is not line):
            return False
        step = self.typography.line_step * line.size
        above = [line.box.bottom - other.box.bottom for other in others if other.box.bottom < line.box.bottom]
        below = [other.box.bottom - line.box.bottom for other in others if other.box.bottom > line.box.bottom]
        return bool(below) and min(below) >= SPACE_BELOW * step and min(above, default=math.inf) >= SPACE_ABOVE * step

    def _continues(self, block: Block, line: Line, kind: BlockKind) -> bool:
        last = block.lines[-1]
        if kind != ("text" if block.kind == "list_item" else block.kind) or last.bold != line.bold:
            return False
        if abs(last.size - line.size) > SAME_SIZE * last.size or not _stand_above(last.box, line.box):
            return False
        widest = HEADING_STEP if kind == "heading" else LOOSE_STEP * self.typography.line_step
        step = (line.box.bottom - last.box.bottom) / line.size
        return 0.5 < step <= widest and (block.kind != "list_item" or line.box.left >= block.lines[0].box.left - 2)


def _footnotes(block: Block) -> list[Block]:
    """Return the footnotes that a block of small lines at the foot of a page holds; it stays whole if it has none."""
    if not FOOTNOTE.match(block.lines[0].text):
        return [block]
    notes: list[Block] = []
    for line in block.lines:
        if FOOTNOTE.match(line.text) and _number(line.text) != _number(notes[-1].lines[0].text if notes else ""):
            notes.append(Block("footnote", [line]))
        else:
            notes[-1].lines.append(line)
    return notes


def _number(text: str) -> str:
    found = FOOTNOTE.match(text)
    return found[1] if found else ""


def joined_rows(lines: Sequence[Line], cuts: Sequence[float] = ()) -> list[Line]:
    """Return lines from top to bottom, with the pieces of one row joined: changes of font, and lone bullets.

    `cuts` part the columns of a page that has three or more: there, all of a row within a column is joined.
    """
    rows: list[Line] = []
    for line in sorted(lines, key=lambda line: (line.box.bottom, line.box.left)):
        index = next((i for i, row in enumerate(rows) if _is_one_row(row, line, cuts)), None)
        if index is None:
            rows.append(line)
        else:
            rows[index] = _join(rows[index], line)
    return rows


def _is_one_row(one: Line, other: Line, cuts: Sequence[float]) -> bool:
    left, right = sorted((one, other), key=lambda line: line.box.left)
    if left.box.overlap(right.box) < 0.5 * min(left.box.height, right.box.height):
        return False
    if cuts:
        column = column_of(left.box, cuts)
        return column is not None and column == column_of(right.box, cuts)
    reach = MARKER_GAP if LONE_MARKER.match(left.text) else PIECE_GAP
    return -left.size < right.box.left - left.box.right <= reach * max(left.size, right.size)


def _join(one: Line, other: Line) -> Line:
    left, right = sorted((one, other), key=lambda line: line.box.left)
    longer = max((left, right), key=lambda line: len(line.text))
    return Line(
        Box.around((left.box, right.box)),
        f"{left.text} {right.text}",
        longer.size,
        longer.bold,
        left.cells + right.cells,
    )


def _begins_item(line: Line, home: Block | None, lines: Sequence[Line]) -> bool:
    if BULLET.match(line.text):
        return True
    return bool(POSSIBLE_BULLET.match(line.text)) and (home is None or not _is_wrapped(home.lines[-1], line, lines))


def _is_wrapped(last: Line, line: Line, lines: Sequence[Line]) -> bool:
    """Say whether a line continues on the next one because its next word no longer fitted.

    Then what looks like a list number is a word of the sentence; `edge` is how far the lines of its column reach:

        How much is 4 + 3 times x times |     '12.' would have stood beyond the edge: wrapped
        12. Then add it.                |
        Do this in turn:                |     '1.' would have fitted: a new item
        1. Read.                        |
    """
    edge = max(other.box.right for other in lines if abs(other.box.left - last.box.left) <= 4 * last.size)
    word = len(line.text.split(maxsplit=1)[0]) / len(line.text) * line.box.width
    return last.box.right + word > edge - 0.5 * line.size


def is_title_like(text: str) -> bool:
    """Say whether a line could be a title: short, with a word in it, and not the end of a sentence."""
    if BULLET.match(text) or LEADERS.search(text) or text.endswith((".", ",", ";", ":", "!")):
        return False
    return len(text) <= MAX_TITLE and bool(WORD.search(text))


def _is_beside(line: Line, other: Line) -> bool:
    """Say whether another piece is in the same row as a line: near it, or bold too, as in a table header."""
    gap = max(other.box.left - line.box.right, line.box.left - other.box.right)
    return line.box.overlap(other.box) > 0.5 * line.box.height and (other.bold or gap < BESIDE * line.size)


def _stand_above(upper: Box, lower: Box) -> bool:
    return min(upper.right, lower.right) > max(upper.left, lower.left)
