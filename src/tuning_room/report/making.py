"""How the adapter was made: from documents to training rows, and the loss by step."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from tuning_room.records import TrainingStep
from tuning_room.report.evidence import Evidence
from tuning_room.workspace import StageRecord

POINTS = 48  # as many as still make a readable table


class LossPoint(BaseModel):
    """Mean training loss over the steps `first` to `last`, and the last validation among them, if any."""

    first: int
    last: int
    loss: float
    valid_step: int | None
    valid_loss: float | None


class TrainFacts(BaseModel):
    """What the train stage recorded in the manifest; None for what it did not."""

    model_config = ConfigDict(extra="ignore")

    rows: int | None = None
    trainable_parameters: int | None = None
    first_valid_loss: float | None = None
    valid_loss: float | None = None


class Training(BaseModel):
    """Losses in nats per token; a point is the mean of `window` steps."""

    steps: int
    window: int
    points: list[LossPoint]
    facts: TrainFacts


def training(evidence: Evidence) -> Training:
    """Return the loss curve of a run."""
    steps = evidence.steps
    window = max(1, -(-len(steps) // POINTS))
    record = evidence.stages.get("train")
    return Training(
        steps=len(steps),
        window=window,
        points=[_point(steps[start : start + window]) for start in range(0, len(steps), window)],
        facts=TrainFacts.model_validate(record.result if record else {}),
    )


def _point(steps: Sequence[TrainingStep]) -> LossPoint:
    validated = [step for step in steps if step.valid_loss is not None]
    return LossPoint(
        first=steps[0].step,
        last=steps[-1].step,
        loss=sum(step.loss for step in steps) / len(steps),
        valid_step=validated[-1].step if validated else None,
        valid_loss=validated[-1].valid_loss if validated else None,
    )


class Funnel(BaseModel):
    """Counts of the stages before training; None or empty for what no stage has recorded."""

    model_config = ConfigDict(extra="ignore")

    documents: int | None = None
    pages: int | None = None
    chunks: int | None = None
    candidates: int | None = None
    sources: dict[str, int] = {}
    accepted: int | None = None
    rejected: dict[str, int] = {}
    train: int | None = None
    valid: int | None = None


def funnel(stages: Mapping[str, StageRecord]) -> Funnel:
    """Return the counts of the stages that have finished."""
    counts: dict[str, Any] = {}
    for name in ("convert", "generate", "dataset"):
        if name in stages and stages[name].state == "done":
            counts |= stages[name].result
    return Funnel.model_validate(counts)
