"""What the evaluate stage is told to do."""

import re
from pathlib import Path

from pydantic import Field, field_validator

from tuning_room.evaluate.gates import Arm as Arm
from tuning_room.evaluate.gates import Gate as Gate
from tuning_room.workspace import StageConfig


class EvaluateConfig(StageConfig):
    """The arms on held-out items, and the gates that decide."""

    model: str = Field(description="base model: embedded:<name>, a folder, or a hub id")
    full_prompt: Path = Field(description="file with the full prompt, the system turn of the prompted arms")
    short_prompt: str = Field(description="the system turn of the arm `baked`")
    suites: dict[str, Path] = Field(description="held-out items by suite: a JSONL file each")
    arms: list[Arm] = Field(["base", "prompted", "baked", "baked_prompted"], description="ways to serve to compare")
    metrics: list[str] = Field(["asks", "tells", "leaks", "on_topic"], description="what is measured of each reply")
    max_tokens: int = Field(64, ge=1, description="longest reply in tokens; a reply is greedy")
    batch_size: int = Field(64, ge=1, description="replies made at once")
    limit: int | None = Field(None, ge=1, description="only the first so many items of each suite (for a trial)")
    gates: list[Gate] = Field([], description="all must be met for the verdict `ship`")

    @field_validator("suites")
    @classmethod
    def _names(cls, suites: dict[str, Path]) -> dict[str, Path]:
        # A suite's name becomes a file's name and a task's name.
        if wrong := [name for name in suites if name == "all" or not re.fullmatch(r"[A-Za-z0-9_-]+", name)]:
            raise ValueError(f"a suite cannot be named '{wrong[0]}': use letters, digits, - and _, and not 'all'")
        return suites
