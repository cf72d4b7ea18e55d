"""What a training reports while it runs: a line per step in a file, and a curve in the terminal."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuning_room.files import atomic_writer, naming
from tuning_room.records import TrainingStep, parse_row

if TYPE_CHECKING:
    from tuning_room.progress import ProgressBar

LEVELS = "▁▂▃▄▅▆▇█"
WIDTH = 24  # characters of the curve: the bar and the time left need the rest of a line


class MetricsFile:
    """A JSONL file of training steps that grows by a line per step and survives a kill.

    What an earlier training wrote stays on disk until the new one has a step to put in its place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: list[TrainingStep] | None = None  # what stands before the next step, where the file has more
        path.parent.mkdir(parents=True, exist_ok=True)

    def append(self, step: TrainingStep) -> None:
        """Add a step."""
        if self._kept is not None:
            self.replace([*self._kept, step])
            return
        with naming(self.path), self.path.open("a", encoding="utf-8") as out:
            out.write(_line(step))

    def keep_until(self, number: int) -> None:
        """Drop the steps after a step's number, which are about to be taken again, and a line cut off by a kill."""
        self._kept = [step for step in self.read() if step.step <= number]

    def settle(self) -> None:
        """Write what was kept where no step came after it."""
        if self._kept is not None:
            self.replace(self._kept)

    def replace(self, steps: Sequence[TrainingStep]) -> None:
        """Put these steps in the place of what is there."""
        with atomic_writer(self.path) as out:
            out.writelines(map(_line, steps))
        self._kept = None

    def read(self) -> list[TrainingStep]:
        """Return the whole lines; DataError names one that is no step."""
        if self._kept is not None:
            return self._kept
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().split(b"\n")[:-1]
        return [parse_row(line, TrainingStep, where=f"{self.path}:{n}") for n, line in enumerate(lines, start=1)]


def _line(step: TrainingStep) -> str:
    return json.dumps(step.model_dump()) + "\n"


class LiveCurve:
    """Shows each step's loss beside a progress bar, with a curve of all of them; the last validation loss stays."""

    def __init__(self, bar: "ProgressBar") -> None:
        self.bar = bar
        self.losses: list[float] = []
        self.valid = ""

    def prepare(self, name: str, done: int, total: int) -> None:
        """Show what the base model is being asked for before the first step."""
        self.bar.describe(f"asking the base model ({name})", done=done, total=total)

    def show(self, step: TrainingStep, steps: int) -> None:
        """Show a step."""
        self.losses.append(step.loss)
        if step.valid_loss is not None:
            self.valid = f", valid {step.valid_loss:.3f}"
        text = f"{curve(self.losses)} loss {step.loss:.3f}{self.valid}"
        self.bar.describe(text, done=step.step, total=steps)


def curve(values: Sequence[float], width: int = WIDTH) -> str:
    """Return values as a line of blocks, the highest for the largest; more values than blocks are averaged.

    >>> curve([8, 7, 6, 5, 4, 3, 2, 1])
    '█▇▆▅▄▃▂▁'
    """
    count = min(width, len(values))
    parts = [values[len(values) * n // count : len(values) * (n + 1) // count] for n in range(count)]
    means = [sum(part) / len(part) for part in parts]
    low, high = min(means, default=0.0), max(means, default=0.0)
    steps = len(LEVELS) - 1
    return "".join(LEVELS[round(steps * (mean - low) / (high - low)) if high > low else 0] for mean in means)
