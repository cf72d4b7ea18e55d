"""How the adapter was made: from documents to training rows, the loss by step, and its lineage."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from tuning_room.files import text_digest
from tuning_room.models import portable
from tuning_room.models.lineage import adapter_name
from tuning_room.records import TrainingStep
from tuning_room.report.config import ReportConfig
from tuning_room.results import ArmIdentity
from tuning_room.workspace import StageRecord

if TYPE_CHECKING:
    from tuning_room.report.evidence import Evidence

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


def training(evidence: "Evidence") -> Training:
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


class StageTime(BaseModel):
    """When a stage last ran, and for how many seconds of wall time."""

    name: str
    state: str
    started: str
    seconds: float


class Lineage(BaseModel):
    """Digests are sha256, '' if not recorded; versions are those in training and in evaluation."""

    model: str
    release: str
    base_digest: str
    adapter_digest: str
    template_digest: str
    train_digest: str
    full_prompt_digest: str
    short_prompt_digest: str
    training_config: dict[str, Any]
    training_versions: dict[str, str]
    evaluation_versions: dict[str, str]
    stages: list[StageTime]
    arms: dict[str, ArmIdentity]


def lineage(config: ReportConfig, evidence: "Evidence") -> Lineage:
    """Return the lineage of a run."""
    adapter = evidence.adapter
    evaluated = evidence.stages.get("evaluate")
    # An arm at a server has no weights to digest.
    bases = (identity.base_model for identity in evidence.results.identities.values() if identity.base_model)
    stages = sorted(evidence.stages.items(), key=lambda entry: entry[1].started)
    return Lineage(
        model=portable(config.model),
        release=adapter_name(config.recipe, adapter.adapter_digest),
        base_digest=next(bases, ""),
        adapter_digest=adapter.adapter_digest,
        template_digest=adapter.template_digest,
        train_digest=adapter.train_digest,
        full_prompt_digest=text_digest(evidence.full_prompt),
        short_prompt_digest=text_digest(config.short_prompt),
        training_config=adapter.config,
        training_versions=adapter.versions,
        evaluation_versions=evaluated.versions if evaluated else {},
        stages=[StageTime(name=name, state=r.state, started=r.started, seconds=r.seconds) for name, r in stages],
        arms=evidence.results.identities,
    )
