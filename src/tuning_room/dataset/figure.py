"""The funnel as a figure: how many dialogues are left after each step."""

from pathlib import Path
from typing import NamedTuple

from tuning_room.dataset.statistics import Step

WIDTH, EDGE, LONGEST, LINE = 820, 150, 400, 30  # pixels: the figure, its labels, its longest bar, a row


class Bar(NamedTuple):
    """A step's bar; lengths in pixels, `before` is that of the step before it."""

    name: str
    left: int
    lost: str
    top: int
    length: float
    before: float
    kind: str


def bars(steps: list[Step]) -> list[Bar]:
    """Return the bars, in proportion to the first step; the rows of a split stand for themselves."""
    whole = max(steps[0].left, 1)
    found: list[Bar] = []
    for number, step in enumerate(steps):
        length = round(LONGEST * step.left / whole, 1)
        is_part = step.name.endswith(" rows")
        before = length if is_part or not found else found[-1].length
        lost = ", ".join(f"-{count:,} {reason}" for reason, count in step.rejected.items())
        found.append(Bar(step.name, step.left, lost, 8 + number * LINE, length, before, "part" if is_part else "left"))
    return found


def draw(steps: list[Step]) -> str:
    """Return the figure as SVG."""
    from jinja2 import Environment, FileSystemLoader

    drawn = bars(steps)
    # A check's name comes from a recipe or a plug-in.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.get_template("funnel.svg.j2")
    return template.render(bars=drawn, width=WIDTH, edge=EDGE, height=16 + len(drawn) * LINE)
