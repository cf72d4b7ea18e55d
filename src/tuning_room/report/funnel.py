"""The way of the data from documents to training rows, as the stages have told it to the manifest."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from tuning_room.workspace import StageRecord


class Funnel(BaseModel):
    """Counts; None or nothing stands for what no stage has recorded."""

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
