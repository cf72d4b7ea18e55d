"""What a training will take, before it starts: steps, tokens, minutes and memory, by trying a few of its own steps.

A formula knows neither the machine nor the libraries; a few steps of different sizes do. A step's seconds are linear in
its tokens, and so is the memory it holds. The steps are whole ones, at a learning rate of zero.
"""

import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tuning_room.errors import TrainingError
from tuning_room.train.batches import computed_length
from tuning_room.train.config import LoopConfig
from tuning_room.train.loop import LoraTrainer

# Quantiles of the steps by size that are tried: one step alone is off by a tenth on a busy machine.
PROBES = (0.05, 0.3, 0.5, 0.7, 0.95)
KEPT_FREE = 0.05  # share of the available memory that a plan leaves to others


class Plan(NamedTuple):
    """`tokens` are those computed, over all steps and in the largest; seconds are wall time, memory is in bytes."""

    rows: int
    steps: int
    tokens: int
    largest_step: int
    seconds: float
    peak_bytes: int
    available_bytes: int


class Probe(NamedTuple):
    """A step that was tried."""

    tokens: int
    seconds: float
    peak_bytes: int


def plan(config: LoopConfig, started: float) -> Plan:
    """Return what a training takes; `started` is when the command began, on the performance counter.

    The training itself spends the same time before its first step. Raises TrainingError, with the setting that would
    fit, where there is not enough memory.
    """
    trainer = LoraTrainer(config)
    ready = time.perf_counter() - started
    neutral = _neutral_sizes(trainer)
    sizes = [own + more for own, more in zip(_own_sizes(trainer), neutral, strict=True)]
    probes = _probes(trainer, sizes[: trainer.offline_steps] or sizes[:1])
    peak = max(int(_line([(p.tokens, p.peak_bytes) for p in probes], max(sizes))), probes[-1].peak_bytes)
    found = Plan(
        rows=len(trainer.rows),
        steps=len(trainer.plan),
        tokens=sum(sizes),
        largest_step=max(sizes),
        seconds=ready + _seconds(trainer, sizes, probes),
        peak_bytes=peak,
        available_bytes=free_on_gpu() if trainer.device == "cuda" else available_memory() + probes[-1].peak_bytes,
    )
    check_fits(found, config, probes, max(neutral))
    return found


def check_fits(found: Plan, config: LoopConfig, probes: Sequence[Probe], fixed: int = 0) -> None:
    """Raise TrainingError if a plan needs more memory than there is, and name the batch size that would fit.

    `fixed` tokens of a step do not depend on its rows: those of the neutral ones.
    """
    room = (1 - KEPT_FREE) * found.available_bytes
    if found.peak_bytes <= room:
        return
    points = [(probe.tokens, float(probe.peak_bytes)) for probe in probes]
    fewer = range(config.batch_size - 1, 0, -1)
    own = (found.largest_step - fixed) / config.batch_size
    share = {count: fixed + own * count for count in fewer}
    extra = found.peak_bytes - _line(points, found.largest_step)
    fits = next((count for count, tokens in share.items() if _line(points, tokens) + extra <= room), None)
    hint = f"set train.batch_size to {fits}" if fits else "choose a smaller base model"
    raise TrainingError(
        f"training needs about {found.peak_bytes / 1e9:.1f} GB, and {room / 1e9:.1f} GB are available", hint=hint
    )


def available_memory(file: Path = Path("/proc/meminfo")) -> int:
    """Return how many bytes a process can still get, as the machine reports it; 2^60 where it reports nothing."""
    if not file.is_file():
        return 1 << 60
    values = dict(line.split(":", 1) for line in file.read_text(encoding="ascii").splitlines() if ":" in line)
    return int(values["MemAvailable"].split()[0]) * 1024


def free_on_gpu() -> int:
    """Return how many bytes this process has on the GPU or can still get."""
    import torch

    return int(torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved())


def _own_sizes(trainer: LoraTrainer) -> list[int]:
    """Return the tokens that each step computes for its rows."""
    return [computed_length([trainer.rows[place] for place in places]) for places in trainer.plan]


def _neutral_sizes(trainer: LoraTrainer) -> list[int]:
    """Return the tokens that each step computes for its neutral rows."""
    config, neutral, steps = trainer.config, trainer.lessons.neutral, range(1, len(trainer.plan) + 1)
    if not neutral:
        return [0] * len(steps)
    chosen = (neutral.chosen(step, config.retention_rows, config.seed) for step in steps)
    return [computed_length([neutral.rendered[place] for place in places]) for places in chosen]


def _seconds(trainer: LoraTrainer, sizes: Sequence[int], probes: Sequence[Probe]) -> float:
    """Return the seconds of all steps and validations; a step on the model's own replies is tried separately."""
    points = [(probe.tokens, probe.seconds) for probe in probes]
    known = sum(_line(points, size) for size in sizes[: trainer.offline_steps])
    return known + _last_phase(trainer) + _validations(trainer)


def _last_phase(trainer: LoraTrainer) -> float:
    """Return the seconds of the steps on the model's own replies; the first one also loads the teacher."""
    count = len(trainer.plan) - trainer.offline_steps
    if not count:
        return 0.0
    first, later = (_tried(trainer, trainer.offline_steps).seconds for _ in range(2))
    return first + (count - 1) * later


def _probes(trainer: LoraTrainer, sizes: Sequence[int]) -> list[Probe]:
    order = sorted(range(len(sizes)), key=lambda step: sizes[step])
    chosen = [order[round(share * (len(order) - 1))] for share in PROBES]
    _tried(trainer, chosen[0])  # the first step of all also pays for what is set up once
    return [_tried(trainer, step) for step in chosen]


def _tried(trainer: LoraTrainer, step: int) -> Probe:
    started = time.perf_counter()
    _, tokens = trainer.update(trainer.plan[step], rate=0.0, on_policy=step >= trainer.offline_steps)
    peak = _peak(trainer.device)
    return Probe(tokens, time.perf_counter() - started, peak)


def _peak(device: str) -> int:
    """Return the most bytes that this process has held, on the GPU once that has finished."""
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    import torch

    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated())


def _validations(trainer: LoraTrainer) -> float:
    if not trainer.valid:
        return 0.0
    started = time.perf_counter()
    trainer.validate()
    times = sum(trainer.validates_after(step) for step in range(1, len(trainer.plan) + 1))
    return times * (time.perf_counter() - started)


def _line(points: Sequence[tuple[float, float]], place: float) -> float:
    """Return the value at `place` of the least-squares line through points; neither it nor the slope is below zero."""
    mean_x, mean_y = (sum(point[axis] for point in points) / len(points) for axis in (0, 1))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    return max(0.0, mean_y + max(0.0, slope) * (place - mean_x))
