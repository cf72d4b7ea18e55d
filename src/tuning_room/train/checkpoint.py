"""What a training keeps on disk while it runs: a checkpoint to resume from, and the best adapter so far, to return."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import TypeAdapter, ValidationError

from tuning_room.errors import DataError, one_line
from tuning_room.files import atomic_folder, holding
from tuning_room.records import TrainingStep, read_json, write_json
from tuning_room.train.adapter import load_weights

if TYPE_CHECKING:
    from peft import PeftModel
    from torch.nn import Parameter
    from torch.optim import Optimizer

PARTS = ("parameter", "exp_avg", "exp_avg_sq")
PROGRESS = "progress.json"
BEST = "best.json"
CHECKPOINT = "checkpoint"  # its folder


class Progress(NamedTuple):
    """How far training has come, and which run the state belongs to."""

    step: int
    fingerprint: str


def save(folder: Path, parameters: Mapping[str, "Parameter"], optimizer: "Optimizer", progress: Progress) -> None:
    """Write trainable parameters and AdamW's moments as safetensors, replacing the previous checkpoint as a whole."""
    from safetensors.torch import save_file

    tensors = {}
    for name, parameter in parameters.items():
        state = optimizer.state[parameter]
        tensors[f"parameter.{name}"] = parameter.detach().contiguous()
        tensors |= {f"{part}.{name}": state[part].contiguous() for part in PARTS[1:]}
    with atomic_folder(folder, holding(PROGRESS)) as temporary:
        save_file(tensors, temporary / "state.safetensors")
        write_json(temporary / PROGRESS, progress._asdict())


def load(folder: Path, parameters: Mapping[str, "Parameter"], optimizer: "Optimizer", fingerprint: str) -> int:
    """Restore a checkpoint of the same run and return its step; 0 if there is none."""
    progress = _progress(folder)
    if progress is None or progress.fingerprint != fingerprint:
        return 0
    path = folder / "state.safetensors"
    try:
        _restore(path, parameters, optimizer, progress.step)
    except MemoryError:
        raise
    except Exception as error:  # of safetensors and torch, each with errors of its own
        raise _spoilt(path, error) from None
    return progress.step


def _progress(folder: Path) -> Progress | None:
    """Return how far the training of a checkpoint has come, None if there is no checkpoint."""
    path = folder / PROGRESS
    if not path.is_file():
        return None
    try:
        return TypeAdapter(Progress).validate_python(read_json(path))
    except (DataError, ValidationError) as error:
        raise _spoilt(path, error) from None


def _spoilt(path: Path, error: Exception) -> DataError:
    reason = "not what a checkpoint holds" if isinstance(error, ValidationError | DataError) else one_line(error)
    return DataError(
        f"{path}: the checkpoint cannot be read ({reason})",
        hint=f"delete {path.parent} to train from the beginning, or put it back as it was",
    )


def _restore(path: Path, parameters: Mapping[str, "Parameter"], optimizer: "Optimizer", step: int) -> None:
    import torch
    from safetensors.torch import load_file

    tensors = load_file(path)
    for name, parameter in parameters.items():
        parameter.data.copy_(tensors[f"parameter.{name}"])
        # The fused AdamW wants its step beside the moments.
        device = parameter.device
        moments = {part: tensors[f"{part}.{name}"].to(device) for part in PARTS[1:]}
        optimizer.state[parameter] = {"step": torch.tensor(float(step), device=device), **moments}


class Best(NamedTuple):
    """The step after which a run was best, and its validation loss in nats per token."""

    step: int
    valid_loss: float
    fingerprint: str


class BestAdapter:
    """A folder with the adapter of the lowest validation loss so far, and the patience with later ones."""

    def __init__(self, folder: Path, fingerprint: str, patience: int | None) -> None:
        self.folder, self.fingerprint, self.patience = folder, fingerprint, patience
        self.found: Best | None = None

    def begin(self, steps: Sequence[TrainingStep]) -> list[float]:
        """Pick up what an interrupted run of the same fingerprint kept; return the validation losses of its steps."""
        done = steps[-1].step if steps else 0
        try:
            path = self.folder / BEST
            kept = TypeAdapter(Best).validate_python(read_json(path)) if path.is_file() else None
        except (DataError, ValidationError):
            kept = None
        self.found = kept if kept and kept.fingerprint == self.fingerprint and kept.step <= done else None
        return [step.valid_loss for step in steps if step.valid_loss is not None]

    def offer(self, model: "PeftModel", step: int, valid_loss: float) -> None:
        """Keep a model's adapter if it is better than the one that is kept."""
        if self.found and not valid_loss < self.found.valid_loss:
            return
        best = Best(step, valid_loss, self.fingerprint)
        with atomic_folder(self.folder, holding(BEST)) as folder:
            model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
            write_json(folder / BEST, best._asdict())
        self.found = best

    def is_patience_over(self, losses: Sequence[float]) -> bool:
        """Return whether the last `patience` validations were no better than the best one before them."""
        if self.patience is None or len(losses) <= self.patience:
            return False
        before, since = losses[: -self.patience], losses[-self.patience :]
        return min(since) >= min(before, default=math.inf)

    def restore(self, model: "PeftModel") -> "PeftModel":
        """Return the model with the best adapter's weights; unchanged where nothing was validated."""
        if self.found:
            load_weights(model, self.folder)
        return model

    def what_is_kept(self) -> str:
        """Return a clause that says which adapter can be picked up."""
        if not self.found:
            return self._last_checkpoint()
        return (
            f"the adapter of step {self.found.step} (validation loss {self.found.valid_loss:.3f}) is in {self.folder}"
        )

    def _last_checkpoint(self) -> str:
        try:
            progress = _progress(self.folder.with_name(CHECKPOINT))
        except DataError:
            progress = None
        is_kept = progress is not None and progress.fingerprint == self.fingerprint
        return "the last checkpoint is kept" if is_kept else "nothing of it is kept: there was no checkpoint yet"
