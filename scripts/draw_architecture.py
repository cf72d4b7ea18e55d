"""Draw docs/images/architecture.svg, the way of the data: python scripts/draw_architecture.py [--out FILE]

What the boxes say follows the workspace's names for its files; tests/unit/test_docs_pages.py compares.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OUT = Path(__file__).parents[1] / "docs" / "images" / "architecture.svg"
STAGE, FILE, SHARED = "#dbe9f6", "#ffffff", "#f1efe6"  # what runs, what it reads and writes, what all use
WIDTH, HEIGHT = 2.3, 0.62

# Name, what stands beneath it, column, row, colour.
BOXES = [
    ("documents/", "PDF, DOCX, HTML ...", 0, 0, FILE),
    ("convert", "Docling", 0, 1, STAGE),
    ("chunks.jsonl", "", 0, 2, FILE),
    ("prompt.md", "seeds, rules", 1, 1, FILE),
    ("generate", "rules or a teacher", 1, 2, STAGE),
    ("candidates.jsonl", "", 1, 3, FILE),
    ("evaluation/*.jsonl", "held-out items, attacks", 2, 2, FILE),
    ("dataset", "checks, duplicates, split", 2, 3, STAGE),
    ("dataset/", "train, valid, rejected", 2, 4, FILE),
    ("base model", "folder, hub or embedded", 3, 3, FILE),
    ("train", "Training Hub", 3, 4, STAGE),
    ("adapter/", "weights, lineage", 3, 5, FILE),
    ("evaluate", "four arms, gates", 4, 5, STAGE),
    ("results.json", "in evaluation/; the verdict", 4, 6, FILE),
    ("report", "one HTML page", 4, 7, STAGE),
    ("report.html", "report.json, model card", 3, 7, FILE),
    ("serve", "OpenAI-compatible API", 4, 4, STAGE),
    ("deploy", "KServe, Argo CD", 2, 5, STAGE),
    ("deploy/", "manifests", 1, 5, FILE),
]
ARROWS = [
    ("documents/", "convert"), ("convert", "chunks.jsonl"), ("chunks.jsonl", "generate"), ("prompt.md", "generate"),
    ("generate", "candidates.jsonl"), ("candidates.jsonl", "dataset"), ("evaluation/*.jsonl", "dataset"),
    ("dataset", "dataset/"), ("dataset/", "train"), ("base model", "train"), ("train", "adapter/"),
    ("adapter/", "evaluate"), ("evaluate", "results.json"), ("results.json", "report"),
    ("report", "report.html"), ("adapter/", "serve"), ("adapter/", "deploy"), ("deploy", "deploy/"),
]  # fmt: skip
ROOMS = "workspace   records   rendering   checks   models   engines   files   errors"


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Draw the way of the data.")
    parser.add_argument("--out", type=Path, default=OUT, help="the file to write: .svg or .png")
    draw(parser.parse_args().out)
    return 0


def draw(out: Path) -> None:
    """Write the picture; the same picture gives the same SVG, byte for byte."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"svg.hashsalt": "tuning-room", "font.size": 10})
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(12, 7.6))
    places = {name: (column * 2.75, -row * 1.0) for name, _, column, row, _ in BOXES}
    for name, beneath, _, _, colour in BOXES:
        box(axes, places[name], name, beneath, colour)
    for start, end in ARROWS:
        arrow(axes, places[start], places[end])
    middle = places["evaluation/*.jsonl"][0]
    box(axes, (middle, -8.1), "what the stages share; no stage imports another", ROOMS, SHARED, width=4 * 2.75 + WIDTH)
    axes.set(xlim=(-1.4, 12.5), ylim=(-8.7, 0.5))
    axes.axis("off")
    figure.savefig(out, bbox_inches="tight", dpi=110, metadata={"Date": None} if out.suffix == ".svg" else None)
    plt.close(figure)


def box(
    axes: "Axes", centre: tuple[float, float], name: str, beneath: str, colour: str, *, width: float = WIDTH
) -> None:
    """Draw a box with a name and, smaller, what stands beneath it."""
    from matplotlib.patches import FancyBboxPatch

    x, y = centre
    corner, rounding = (x - width / 2, y - HEIGHT / 2), "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch(corner, width, HEIGHT, boxstyle=rounding, facecolor=colour, edgecolor="#5a6b7a"))
    weight = "bold" if colour == STAGE else "normal"
    axes.text(x, y + (0.11 if beneath else 0), name, ha="center", va="center", weight=weight)
    if beneath:
        axes.text(x, y - 0.15, beneath, ha="center", va="center", fontsize=8, color="#44525e")


def arrow(axes: "Axes", start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow from box to box: downwards between their edges, else from side to side."""
    (x, y), (other_x, other_y) = start, end
    if x == other_x:
        side = HEIGHT / 2 if other_y < y else -HEIGHT / 2
        ends = (x, y - side), (x, other_y + side)
    else:
        side = WIDTH / 2 if other_x > x else -WIDTH / 2
        ends = (x + side, y), (other_x - side, other_y)
    axes.annotate(
        "", ends[1], ends[0], arrowprops={"arrowstyle": "-|>", "color": "#5a6b7a", "shrinkA": 0, "shrinkB": 0}
    )


if __name__ == "__main__":
    sys.exit(main())
