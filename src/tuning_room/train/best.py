"""The best adapter so far, by the validation loss: kept on disk while training goes on, and what training returns."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tuning_room.errors import DataError
from tuning_room.files import atomic_folder, holding
from tuning_room.records import read_json, write_json
from tuning_room.train.adapter import load_weights
from tuning_room.train.metrics import Metric

FILE = "best.json"


class Best(NamedTuple):
    """The step after which a run was best, and its validation loss in nats a token."""

    step: int
    valid_loss: float
    fingerprint: str


class BestAdapter:
    """A folder with the adapter that had the lowest validation loss, and the patience with later ones."""

    def __init__(self, folder: Path, fingerprint: str, patience: int | None) -> None:
        self.folder, self.fingerprint, self.patience = folder, fingerprint, patience
        self.found: Best | None = None

    def begin(self, metrics: Sequence[Metric]) -> list[float]:
        """Take up what an interrupted run of the same fingerprint kept; return the validation losses of its steps."""
        done = metrics[-1].step if metrics else 0
        try:
            kept = Best(**read_json(self.folder / FILE)) if (self.folder / FILE).is_file() else None
        except (DataError, TypeError):
            kept = None
        self.found = kept if kept and kept.fingerprint == self.fingerprint and kept.step <= done else None
        return [metric.valid_loss for metric in metrics if metric.valid_loss is not None]

    def offer(self, model: Any, step: int, valid_loss: float) -> None:
        """Keep a model's adapter if it is better than what is kept."""
        if not math.isfinite(valid_loss) or (self.found and not valid_loss < self.found.valid_loss):
            return
        best = Best(step, valid_loss, self.fingerprint)
        with atomic_folder(self.folder, holding(FILE)) as folder:
            model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
            write_json(folder / FILE, best._asdict())
        self.found = best

    def is_patience_over(self, losses: Sequence[float]) -> bool:
        """Say whether the last `patience` validations were no better than the best one before them."""
        if self.patience is None or len(losses) <= self.patience:
            return False
        before, since = losses[: -self.patience], losses[-self.patience :]
        return min(since) >= min(before, default=math.inf)

    def restore(self, model: Any) -> Any:
        """Return the model with the best adapter's weights; unchanged where nothing was validated."""
        if self.found:
            load_weights(model, self.folder)
        return model

    def told(self) -> str:
        """Say in a clause what is kept."""
        if not self.found:
            return "the last checkpoint is kept"
        return (
            f"the adapter of step {self.found.step} (validation loss {self.found.valid_loss:.3f}) is in {self.folder}"
        )
