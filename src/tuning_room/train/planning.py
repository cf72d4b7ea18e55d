"""What a training will take, before it starts: steps, tokens, minutes and memory, by trying a few of its own steps.

A formula knows neither the machine nor the libraries; a few steps of different size do. A step's seconds are a line in
its tokens, and so is what it holds in memory. The steps are whole ones, at a learning rate of nought.
"""

import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tuning_room.errors import TrainingError
from tuning_room.train.batches import computed_length
from tuning_room.train.loop import LoraTrainer
from tuning_room.train.loop_config import LoopConfig

# Which of the steps by size are tried: one alone is off by a tenth on a busy machine.
PROBES = (0.05, 0.3, 0.5, 0.7, 0.95)
KEPT_FREE = 0.05  # of the memory at hand that a plan leaves to others


class Plan(NamedTuple):
    """Tokens are those that are computed, over all steps and in the largest; seconds by the clock, memory in bytes."""

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
    """Return what a training takes, from a start on the performance counter on.

    What passes before the first step is as long for the training itself. Raises TrainingError, with the setting that
    would fit, where the memory is not there.
    """
    trainer = LoraTrainer(config)
    ready = time.perf_counter() - started
    sizes = _sizes(trainer)
    probes = _probes(trainer, sizes[: trainer.offline_steps] or sizes[:1])
    peak = max(int(_line([(p.tokens, p.peak_bytes) for p in probes], max(sizes))), probes[-1].peak_bytes)
    found = Plan(
        rows=len(trainer.rows),
        steps=len(trainer.plan),
        tokens=sum(sizes),
        largest_step=max(sizes),
        seconds=ready + _seconds(trainer, sizes, probes),
        peak_bytes=peak,
        available_bytes=available_memory() + probes[-1].peak_bytes,
    )
    check_fits(found, config, probes)
    return found


def check_fits(found: Plan, config: LoopConfig, probes: Sequence[Probe]) -> None:
    """Raise TrainingError if a plan needs more memory than there is, and name the rows a step that would fit."""
    room = (1 - KEPT_FREE) * found.available_bytes
    if found.peak_bytes <= room:
        return
    points = [(probe.tokens, float(probe.peak_bytes)) for probe in probes]
    fewer = range(config.effective_batch_size - 1, 0, -1)
    share = {count: found.largest_step * count / config.effective_batch_size for count in fewer}
    extra = found.peak_bytes - _line(points, found.largest_step)
    fits = next((count for count, tokens in share.items() if _line(points, tokens) + extra <= room), None)
    hint = f"set train.batch_size to {fits}" if fits else "name a smaller base model"
    raise TrainingError(
        f"training needs about {found.peak_bytes / 1e9:.1f} GB, and {room / 1e9:.1f} GB can be had", hint=hint
    )


def available_memory(file: Path = Path("/proc/meminfo")) -> int:
    """Return how many bytes a process can still get; what the machine says, or as much as anybody could want."""
    if not file.is_file():
        return 1 << 60
    values = dict(line.split(":", 1) for line in file.read_text(encoding="ascii").splitlines() if ":" in line)
    return int(values["MemAvailable"].split()[0]) * 1024


def _sizes(trainer: LoraTrainer) -> list[int]:
    """Return the tokens that each step computes, its neutral rows among them."""
    config, neutral = trainer.config, trainer.lessons.neutral
    sizes = [computed_length([trainer.rows[place] for place in places]) for places in trainer.plan]
    if not neutral:
        return sizes
    chosen = (neutral.chosen(step, config.retention_rows, config.seed) for step in range(1, len(sizes) + 1))
    added = [computed_length([neutral.rendered[place] for place in places]) for places in chosen]
    return [own + more for own, more in zip(sizes, added, strict=True)]


def _seconds(trainer: LoraTrainer, sizes: Sequence[int], probes: Sequence[Probe]) -> float:
    """Return the seconds of all steps and validations; a step on the model's own replies is tried by itself."""
    offline = trainer.offline_steps
    known = sum(_line([(probe.tokens, probe.seconds) for probe in probes], size) for size in sizes[:offline])
    last = (len(sizes) - offline) * _tried(trainer, offline, sizes).seconds if len(sizes) > offline else 0.0
    return known + last + _validations(trainer)


def _probes(trainer: LoraTrainer, sizes: Sequence[int]) -> list[Probe]:
    order = sorted(range(len(sizes)), key=lambda step: sizes[step])
    chosen = [order[round(share * (len(order) - 1))] for share in PROBES]
    _tried(trainer, chosen[0], sizes)  # the first step of all also pays for what is set up once
    return [_tried(trainer, step, sizes) for step in chosen]


def _tried(trainer: LoraTrainer, step: int, sizes: Sequence[int]) -> Probe:
    started = time.perf_counter()
    trainer.update(trainer.plan[step], rate=0.0, on_policy=step >= trainer.offline_steps)
    seconds = time.perf_counter() - started
    return Probe(sizes[step], seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _validations(trainer: LoraTrainer) -> float:
    if not trainer.valid:
        return 0.0
    started = time.perf_counter()
    trainer.validate()
    times = sum(trainer.validates_after(step) for step in range(1, len(trainer.plan) + 1))
    return times * (time.perf_counter() - started)


def _line(points: Sequence[tuple[float, float]], place: float) -> float:
    """Return the value at a place of the line that fits some points best, and never less than nothing."""
    mean_x, mean_y = (sum(point[axis] for point in points) / len(points) for axis in (0, 1))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    return max(0.0, mean_y + max(0.0, slope) * (place - mean_x))
