"""What the advice is based on."""

from pydantic import BaseModel, ConfigDict, Field

from tuning_room.paths import ModelReference, RecipeText
from tuning_room.workspace import StageConfig


class Traffic(BaseModel):
    """How much the assistant is used."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    users: int = Field(1000, ge=1, description="users a day")
    messages_per_user: int = Field(10, ge=1, description="messages a user sends a day")


class AdviseConfig(StageConfig):
    """The prompts, the model and the traffic."""

    model: ModelReference = Field(description="base model, whose tokenizer counts")
    full_prompt: RecipeText = Field(description="file with the full prompt")
    short_prompt: str = Field(description="the system turn that remains after baking")
    traffic: Traffic = Field(Traffic(), description="how much the assistant is used")
