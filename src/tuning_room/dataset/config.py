"""What the dataset stage is told to do."""

from pathlib import Path
from typing import Any

from pydantic import Field

from tuning_room.workspace import StageConfig


class DatasetConfig(StageConfig):
    """Which candidates become training data."""

    recipe: str = Field(description="the recipe's name, for the dataset's card")
    short_prompt: str = Field(description="system turn of every row: the prompt that remains after baking")
    model: str = Field("", description="the model whose tokens are counted; nothing else depends on it")
    items: list[Path] = Field([], description="held-out evaluation items, which must not be in the training data")
    checks: dict[str, dict[str, Any]] = Field({}, description="checks that every reply must pass, with parameters")
    near_duplicate: float = Field(0.9, gt=0, le=1, description="Jaccard similarity from which a row is a duplicate")
    overlap: int = Field(8, ge=3, description="words in a row that a dialogue may not share with a held-out item")
    valid_fraction: float = Field(0.05, ge=0, lt=0.5, description="share of the problems kept for validation")
    minimum: int = Field(20, ge=1, description="fewer accepted dialogues than this are an error")
    seed: int = Field(3, description="decides which problems are kept for validation")
