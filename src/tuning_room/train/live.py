"""What a terminal shows while a training runs: how far it is, the last losses, and the curve so far."""

from collections.abc import Sequence
from typing import Any

LEVELS = "▁▂▃▄▅▆▇█"
WIDTH = 24  # characters of the curve: the bar and the time left need the rest of a line


class LiveCurve:
    """Shows the losses of each step beside a bar, with a curve of them; the last validation loss stays."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar
        self.losses: list[float] = []
        self.valid = ""

    def prepare(self, name: str, done: int, total: int) -> None:
        """Say what the base model is asked for before the first step."""
        self.bar.describe(f"asking the base model ({name})", done=done, total=total)

    def show(self, metric: Any, steps: int) -> None:
        """Show a step."""
        self.losses.append(metric.loss)
        if metric.valid_loss is not None:
            self.valid = f", valid {metric.valid_loss:.3f}"
        text = f"{curve(self.losses)} loss {metric.loss:.3f}{self.valid}"
        self.bar.describe(text, done=metric.step, total=steps)


def curve(values: Sequence[float], width: int = WIDTH) -> str:
    """Return values as a line of blocks, the highest for the largest; many of them as means of equal parts."""
    count = min(width, len(values))
    parts = [values[len(values) * n // count : len(values) * (n + 1) // count] for n in range(count)]
    means = [sum(part) / len(part) for part in parts]
    low, high = min(means, default=0.0), max(means, default=0.0)
    steps = len(LEVELS) - 1
    return "".join(LEVELS[round(steps * (mean - low) / (high - low)) if high > low else 0] for mean in means)
