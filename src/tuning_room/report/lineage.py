"""Where a result came from: digests, versions, configuration, times."""

from typing import Any

from pydantic import BaseModel

from tuning_room.models import portable
from tuning_room.models.lineage import adapter_name
from tuning_room.report.config import ReportConfig
from tuning_room.report.evidence import Evidence, text_digest
from tuning_room.results import ArmIdentity


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


def lineage(config: ReportConfig, evidence: Evidence) -> Lineage:
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
