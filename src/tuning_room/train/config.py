"""What the train stage is told to do."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tuning_room.paths import Checks, ModelReference, RecipeFile, RecipePath, RecipeText
from tuning_room.workspace import StageConfig

QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|[kMGTP]i?)?$"
NEUTRAL_PROMPTS = Path(__file__).parent / "neutral_prompts.txt"


class KubeflowConfig(StageConfig):
    """Where and on what a TrainJob runs; recipe and run folder lie on a volume that every node can write to."""

    image: str = Field(description="container image with tuning-room installed, by digest")
    claim: str = Field(description="persistent volume claim with the recipe and the run folder (ReadWriteMany)")
    namespace: str = Field("default", description="namespace of job and claim")
    runtime: str = Field("torch-distributed", description="the cluster's training runtime")
    recipe_path: str = Field("", description="the recipe's folder on the volume; recipes/<name> if empty")
    runs_path: str = Field("runs", description="the folder of runs on the volume")
    nodes: int = Field(1, ge=1, description="pods that train together")
    processes: int = Field(1, ge=1, description="processes in a pod: one a GPU, or one on CPUs")
    cpu: str = Field("4", pattern=QUANTITY, description="CPU of a pod, a Kubernetes quantity")
    memory: str = Field("8Gi", pattern=QUANTITY, description="memory of a pod, a Kubernetes quantity")
    gpu: int = Field(0, ge=0, description="GPUs of a pod")


class MlflowConfig(StageConfig):
    """Where a finished training is written to; credentials come from MLflow's own variables."""

    tracking_uri: str = Field(
        "", description="server or sqlite:///file; MLFLOW_TRACKING_URI or runs/mlflow.db if empty"
    )
    experiment: str = Field("", description="MLflow's experiment; the recipe's name if empty")


class SweepConfig(StageConfig):
    """What `train --sweep` tries; every combination gets the same number of steps."""

    learning_rate: list[Annotated[float, Field(gt=0)]] = Field(
        [], description="learning rates; half, once and twice the recipe's if empty"
    )
    rank: list[Annotated[int, Field(ge=1, le=256)]] = Field(
        [], description="LoRA ranks, alpha in proportion; the recipe's if empty"
    )
    epochs: list[Annotated[int, Field(ge=1)]] = Field(
        [], description="passes over as many rows as the steps then allow; the recipe's if empty"
    )
    steps: int = Field(60, ge=1, description="optimizer steps of each combination")
    prompts: int = Field(16, ge=1, description="validation prompts that each of them answers")


class TrainConfig(StageConfig):
    """LoRA fine-tuning on the accepted dialogues; docs/training.md says which objective to choose when."""

    model: ModelReference = Field(description="base model: embedded:<name>, a folder, or a hub id")
    recipe: str = Field(description="the recipe's name, written into the adapter's lineage")
    full_prompt: RecipeText | None = Field(
        None, description="the long prompt, under which the base model is the teacher"
    )
    short_prompt: str = Field(description="the system turn that remains, written into the adapter's lineage")
    backend: Literal["tuning-room-cpu", "unsloth"] = Field(
        "tuning-room-cpu", description="Training Hub backend: tuning-room-cpu, or unsloth on a GPU"
    )
    quantize: Literal["none", "4bit"] = Field("none", description="4bit: QLoRA, with unsloth on a GPU only")
    rank: int = Field(16, ge=1, le=256, description="LoRA rank")
    alpha: int = Field(32, ge=1, description="LoRA alpha: the update is scaled by alpha / rank")
    target_modules: str | list[str] = Field("all-linear", description="modules that get an adapter in each layer")
    skip_layers: int = Field(0, ge=0, description="lowest layers left without an adapter: their backward pass is saved")
    start: RecipePath | None = Field(None, description="folder of an adapter of the same shape to go on from")
    sft: float = Field(1.0, ge=0, description="weight of the rows' own tokens (cross entropy)")
    distill: float = Field(
        0.0, ge=0, description="weight of what the base model predicts under the full prompt (forward KL)"
    )
    retention: float = Field(0.0, ge=0, description="weight of the way from the base model on neutral prompts (KL)")
    retention_prompts: RecipeFile = Field(NEUTRAL_PROMPTS, description="text file of neutral prompts, one a line")
    retention_rows: int = Field(1, ge=1, description="neutral rows per optimizer step")
    retention_under: Literal["nothing", "short_prompt"] = Field(
        "nothing", description="the trained model's system turn above neutral prompts"
    )
    on_policy_steps: int = Field(0, ge=0, description="last steps, on the model's own replies (reverse KL)")
    on_policy_tokens: int = Field(48, ge=1, description="longest reply of its own")
    on_policy_clip: float = Field(4.0, gt=0, description="nats that a token of its own replies counts at most")
    on_policy_rate: float = Field(0.1, gt=0, description="learning rate of the last phase, as a share of the peak")
    epochs: int = Field(1, ge=1, description="passes over the training rows")
    batch_size: int = Field(8, ge=1, description="rows per optimizer step")
    learning_rate: float = Field(5e-4, gt=0, description="peak learning rate")
    warmup_fraction: float = Field(0.05, ge=0, lt=1, description="share of the steps in which the rate rises")
    max_length: int = Field(1024, ge=16, description="longest row in tokens; a longer one is never cut")
    too_long: Literal["error", "leave_out"] = Field("error", description="what a longer row is: leave_out counts it")
    save_every: int = Field(20, ge=1, description="optimizer steps between checkpoints")
    validate_every: int = Field(100, ge=1, description="optimizer steps between validations")
    patience: int | None = Field(None, ge=1, description="stop after so many validations without a lower loss")
    max_steps: int | None = Field(None, ge=1, description="stop after so many steps on the rows (for a trial)")
    checks: Checks = Field({}, description="the dataset's checks, by which a sweep is ranked")
    sweep: SweepConfig | None = Field(None, description="what `train --sweep` tries (docs/training.md)")
    mlflow: MlflowConfig | None = Field(None, description="write trainings to MLflow (docs/training.md)")
    kubeflow: KubeflowConfig | None = Field(None, description="where `train --on kubeflow` runs (docs/training.md)")
    seed: int = Field(7, description="order of the rows and the adapter's first weights")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not (self.sft or self.distill or self.on_policy_steps):
            raise ValueError("nothing would be learned: let sft, distill or on_policy_steps be above 0")
        if (self.distill or self.on_policy_steps) and not self.full_prompt:
            raise ValueError("distill and on_policy_steps need full_prompt, under which the base model is the teacher")
        if self.quantize == "4bit" and self.backend != "unsloth":
            raise ValueError("quantize: 4bit needs backend: unsloth")
        return self

    def digest(self) -> str:
        """Return the digest of what is trained: where it runs, and what else was tried, make no difference."""
        same: dict[str, Any] = {"kubeflow": None, "mlflow": None, "sweep": None, "checks": {}}
        return super(TrainConfig, self.model_copy(update=same)).digest()
