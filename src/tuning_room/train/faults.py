"""What can go wrong while a training runs, explained in words; what was best so far is kept."""

import math
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tuning_room.errors import DivergedError, TrainingError
from tuning_room.files import is_full

EXPLODED = 3.0  # times the loss of the untrained model
CALM = 20  # steps whose mean has to be above it: single steps may be hard
REMEDY = "lower train.learning_rate"


class LossWatch:
    """Follows the losses of a training and stops it when they are NaN or keep rising."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.last: list[float] = []

    def recall(self, losses: Iterable[float]) -> None:
        """Take note of the losses of earlier steps."""
        for loss in losses:
            self._add(loss)

    def check(self, step: int, loss: float) -> None:
        """Raise DivergedError if a step's loss is NaN or infinite, or if the last ones explode."""
        if not math.isfinite(loss):
            raise DivergedError(f"step {step}: the loss is {loss}", hint=REMEDY)
        first = self._add(loss)
        mean = sum(self.last) / len(self.last)
        if len(self.last) == CALM and mean > EXPLODED * max(first, 1.0):
            raise DivergedError(f"step {step}: the loss explodes, from {first:.2f} to {mean:.2f}", hint=REMEDY)

    def check_validation(self, step: int, loss: float) -> None:
        """Raise DivergedError if the validation loss after a step is NaN or infinite."""
        if not math.isfinite(loss):
            raise DivergedError(f"step {step}: the loss is {loss} on the validation rows", hint=REMEDY)

    def _add(self, loss: float) -> float:
        self.first = loss if self.first is None else self.first
        self.last = [*self.last, loss][-CALM:]
        return self.first


@contextmanager
def explained(folder: Path, what_is_kept: Callable[[], str]) -> Iterator[None]:
    """Explain an error that is raised within, and add what is left of the training to its hint."""
    try:
        yield
    except TrainingError as error:
        raise type(error)(error.args[0], hint="; ".join(filter(None, [error.hint, what_is_kept()]))) from None
    except Exception as error:
        reason, hint = _machine_fault(error, folder)
        if not reason:
            raise
        raise TrainingError(reason, hint="; ".join(filter(None, [hint, what_is_kept()]))) from None


def _machine_fault(error: Exception, folder: Path) -> tuple[str, str]:
    """Return a fault of the machine in words, and what to do about it; two empty strings for any other error.

    Torch reports missing memory and lost processes only in its text.
    """
    text = str(error)
    if is_full(error):
        return f"{folder}: no space left on the disk", "make room and run the same command again"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate" in text):
        tried = "" if "CUDA" in text else " (train --plan finds out what fits)"
        return "out of memory for a training step", f"lower train.batch_size or train.max_length{tried}"
    if isinstance(error, RuntimeError) and "Connection" in text:
        return "another process of this training is gone", "run the same command again in all of them"
    return "", ""


class Stop:
    """Whether somebody has asked to stop; a second time raises KeyboardInterrupt at once."""

    def __init__(self) -> None:
        self.is_asked = False

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Take a signal as the request to stop."""
        if self.is_asked:
            raise KeyboardInterrupt
        self.is_asked = True

    def between_steps(self) -> None:
        """Raise KeyboardInterrupt where it does no harm, if somebody has asked."""
        if self.is_asked:
            raise KeyboardInterrupt


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Yield what hears Ctrl-C and SIGTERM, with which a cluster ends a job: a step is never left half taken."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.hear) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
