"""What the report stage is told to do."""

from pydantic import Field

from tuning_room.paths import ModelReference, RecipeText
from tuning_room.workspace import StageConfig


class ReportConfig(StageConfig):
    """What the report says of the recipe, and how much of the replies it shows."""

    recipe: str = Field(description="the recipe's name, the title of the report")
    description: str = Field("", description="what the recipe bakes, in a sentence")
    model: ModelReference = Field(description="base model, as the recipe names it")
    full_prompt: RecipeText = Field(description="file with the full prompt")
    short_prompt: str = Field(description="the system turn that remains")
    messages_per_day: int = Field(ge=1, description="the recipe's traffic: users times messages per user")
    examples: int = Field(12, ge=0, description="items shown side by side, evenly spaced over the suites")
    worst: int = Field(20, ge=0, description="failing replies of the baked arm that are shown at most")
    dialogues: int = Field(8, ge=0, description="dialogues of several turns that are shown whole at most")
