"""What can go wrong while a training runs, said in words; what was best so far is kept."""

import errno
import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tuning_room.errors import TrainingError
from tuning_room.train.best import BestAdapter

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
EXPLODED = 3.0  # a loss so many times that of the untrained model
CALM = 20  # steps whose mean has to be above it: single steps may be hard


class LossWatch:
    """Follows the losses of a training and stops it when they are no number or go up and up."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.last: list[float] = []

    def check(self, step: int, loss: float) -> None:
        """Raise TrainingError if a loss is no number, or if the last ones explode."""
        lower = "lower train.learning_rate"
        if not math.isfinite(loss):
            raise TrainingError(f"step {step}: the loss is {loss}", hint=lower)
        self.first = loss if self.first is None else self.first
        self.last = [*self.last, loss][-CALM:]
        mean = sum(self.last) / len(self.last)
        if len(self.last) == CALM and mean > EXPLODED * max(self.first, 1.0):
            raise TrainingError(f"step {step}: the loss explodes, from {self.first:.2f} to {mean:.2f}", hint=lower)


@contextmanager
def explained(best: BestAdapter, folder: Path) -> Iterator[None]:
    """Say of an error within what happened and what is kept of the training."""
    try:
        yield
    except TrainingError as error:
        raise TrainingError(error.args[0], hint="; ".join(filter(None, [error.hint, best.told()]))) from None
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        hint = f"make room and run the same command again: it goes on from the last checkpoint; {best.told()}"
        raise TrainingError(f"{folder}: no room is left on the disk", hint=hint) from None
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or "allocate" in str(error)):
            raise
        hint = f"lower train.batch_size or train.max_length (train --plan tries what fits); {best.told()}"
        raise TrainingError("the memory does not suffice for a step", hint=hint) from None


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Take SIGTERM, with which a cluster ends a job, for Ctrl-C: a checkpoint is saved before the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
