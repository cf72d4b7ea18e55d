"""The metrics of a training run, one JSON object a step."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tuning_room.files import atomic_writer


class Metric(NamedTuple):
    """One optimizer step: losses in nats a token, tokens with padding, seconds of wall time."""

    step: int
    loss: float
    valid_loss: float | None
    learning_rate: float
    rows: int
    tokens: int
    seconds: float


class MetricsFile:
    """A JSONL file of metrics that grows by a line a step and survives a kill."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def append(self, metric: Metric) -> None:
        """Add a step's metrics."""
        with self.path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(metric._asdict()) + "\n")

    def keep_until(self, step: int) -> None:
        """Drop the steps after `step`, which are about to be done again, and a line cut off by a kill."""
        self.replace([metric for metric in self.read() if metric.step <= step])

    def replace(self, metrics: Sequence[Metric]) -> None:
        """Put these metrics in the place of what is there."""
        with atomic_writer(self.path) as out:
            out.writelines(json.dumps(metric._asdict()) + "\n" for metric in metrics)

    def read(self) -> list[Metric]:
        """Return the whole lines."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").split("\n")[:-1]
        return [Metric(**json.loads(line)) for line in lines]
