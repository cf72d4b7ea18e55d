"""The configuration of the report stage."""

from pydantic import Field

from tuning_room.paths import ModelReference, RecipeText
from tuning_room.workspace import StageConfig


class ReportConfig(StageConfig):
    """What the report says about the recipe, and how many replies it shows."""

    recipe: str = Field(description="the recipe's name, used as the report's title")
    description: str = Field("", description="what the recipe bakes, in a sentence")
    model: ModelReference = Field(description="base model, as the recipe names it")
    full_prompt: RecipeText = Field(description="file with the full prompt")
    short_prompt: str = Field(description="the system turn that remains")
    messages_per_day: int = Field(ge=1, description="the recipe's traffic: users times messages per user")
    examples: int = Field(12, ge=0, description="number of items shown side by side, evenly spaced over the suites")
    worst: int = Field(20, ge=0, description="maximum number of failing replies of the baked arm that are shown")
    failing: int = Field(3, ge=0, description="maximum number of failing replies that are shown for each requirement")
    dialogues: int = Field(8, ge=0, description="maximum number of multi-turn dialogues that are shown in full")
