"""Rectangles on a page and the words in them.

Coordinates are points from the top left corner of the page. Knows nothing of Docling.
"""

from collections.abc import Iterable
from typing import NamedTuple

# Lines that are meant to meet do so within this distance.
TOLERANCE = 2.5


class Box(NamedTuple):
    """A rectangle, in points from the top left corner of the page."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def around(cls, boxes: Iterable["Box"]) -> "Box":
        """Return the smallest box around others; there must be at least one."""
        lefts, tops, rights, bottoms = zip(*boxes, strict=True)
        return cls(min(lefts), min(tops), max(rights), max(bottoms))

    @property
    def height(self) -> float:
        """Return the height, in points."""
        return self.bottom - self.top

    @property
    def width(self) -> float:
        """Return the width, in points."""
        return self.right - self.left

    @property
    def middle(self) -> float:
        """Return the middle between left and right, in points from the left."""
        return (self.left + self.right) / 2

    def holds(self, other: "Box") -> bool:
        """Say whether the centre of another box lies in this one."""
        return self.left <= other.middle <= self.right and self.top <= (other.top + other.bottom) / 2 <= self.bottom

    def meets(self, other: "Box") -> bool:
        """Say whether two boxes touch, give or take TOLERANCE."""
        across = self.left <= other.right + TOLERANCE and other.left <= self.right + TOLERANCE
        return across and self.top <= other.bottom + TOLERANCE and other.top <= self.bottom + TOLERANCE

    def overlap(self, other: "Box") -> float:
        """Return how much of the height two boxes share, in points; negative if one is below the other."""
        return min(self.bottom, other.bottom) - max(self.top, other.top)

    def is_level_with(self, other: "Box") -> bool:
        """Say whether two boxes stand on one line: they share more than half the height of the shorter one."""
        return self.overlap(other) > 0.5 * min(self.height, other.height)


Word = tuple[Box, str]


def around_words(words: Iterable[Word]) -> Box:
    """Return the smallest box around words; there must be at least one."""
    return Box.around(box for box, _ in words)
