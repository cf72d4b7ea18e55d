"""What the train stage is told to do."""

from pydantic import Field

from tuning_room.workspace import StageConfig


class TrainConfig(StageConfig):
    """LoRA fine-tuning on the accepted dialogues."""

    model: str = Field(description="base model: embedded:<name>, a folder, or a hub id")
    recipe: str = Field(description="the recipe's name, written into the adapter's lineage")
    short_prompt: str = Field(description="the system turn that remains, written into the adapter's lineage")
    backend: str = Field("tuning-room-cpu", description="Training Hub backend: tuning-room-cpu, or unsloth on a GPU")
    rank: int = Field(16, ge=1, le=256, description="LoRA rank")
    alpha: int = Field(32, ge=1, description="LoRA alpha: the update is scaled by alpha / rank")
    target_modules: str | list[str] = Field("all-linear", description="modules that get an adapter in each layer")
    skip_layers: int = Field(0, ge=0, description="lowest layers left without an adapter: their backward pass is saved")
    epochs: int = Field(1, ge=1, description="passes over the training rows")
    batch_size: int = Field(8, ge=1, description="rows per optimizer step")
    learning_rate: float = Field(5e-4, gt=0, description="peak learning rate")
    warmup_fraction: float = Field(0.05, ge=0, lt=1, description="share of the steps in which the rate rises")
    max_length: int = Field(1024, ge=16, description="longest row in tokens; a longer one is an error, not cut")
    save_every: int = Field(20, ge=1, description="optimizer steps between checkpoints")
    validate_every: int = Field(100, ge=1, description="optimizer steps between validations")
    max_steps: int | None = Field(None, ge=1, description="stop after so many steps (for a trial)")
    seed: int = Field(7, description="order of the rows and the adapter's first weights")
