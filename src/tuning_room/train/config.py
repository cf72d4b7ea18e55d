"""What the train stage is configured with: every training knob has its name and its default here, and nowhere else."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_serializer, field_validator, model_validator

from tuning_room.errors import TrainingError
from tuning_room.files import digest
from tuning_room.paths import Checks, ModelReference, RecipeFile, RecipePath, RecipeText
from tuning_room.records import TrainingStep
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
    processes: int = Field(1, ge=1, description="processes per pod: one per GPU, or one on CPUs")
    cpu: str = Field("4", pattern=QUANTITY, description="CPU of a pod, a Kubernetes quantity")
    memory: str = Field("8Gi", pattern=QUANTITY, description="memory of a pod, a Kubernetes quantity")
    gpu: int = Field(0, ge=0, description="GPUs of a pod")


class MlflowConfig(StageConfig):
    """Where a finished training is logged; credentials come from MLflow's own variables."""

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
        [], description="epochs, over as many rows as the steps then allow; the recipe's if empty"
    )
    steps: int = Field(60, ge=1, description="optimizer steps of each combination")
    prompts: int = Field(16, ge=1, description="validation prompts that each of them answers")


class TrainingKnobs(StageConfig):
    """What a training depends on, whoever runs it; `serialization_alias` is Training Hub's name for the same knob."""

    quantize: Literal["none", "4bit"] = Field(
        "none", serialization_alias="load_in_4bit", description="4bit: QLoRA, only with unsloth on a GPU"
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of the base model and its products; the adapter stays in fp32 (unsloth chooses for itself)"
    )
    rank: int = Field(16, ge=1, le=256, serialization_alias="lora_r", description="LoRA rank")
    alpha: int = Field(
        32, ge=1, serialization_alias="lora_alpha", description="LoRA alpha: the update is scaled by alpha / rank"
    )
    target_modules: str | list[str] = Field("all-linear", description="modules of each layer that get an adapter")
    skip_layers: int = Field(
        0, ge=0, description="number of lowest layers without an adapter, which saves their backward pass"
    )
    start: RecipePath | None = Field(None, description="folder of an adapter of the same shape to continue from")
    sft: float = Field(1.0, ge=0, description="weight of the cross entropy on the rows' own replies")
    distill: float = Field(0.0, ge=0, description="weight of the forward KL from the base model under the full prompt")
    retention: float = Field(0.0, ge=0, description="weight of the KL from the base model on neutral prompts")
    retention_prompts: RecipeFile = Field(NEUTRAL_PROMPTS, description="text file of neutral prompts, one per line")
    retention_rows: int = Field(1, ge=1, description="neutral rows per optimizer step")
    retention_under: Literal["nothing", "short_prompt"] = Field(
        "nothing", description="system turn above the neutral prompts: nothing, or the short prompt"
    )
    on_policy_steps: int = Field(0, ge=0, description="number of last steps on the model's own replies (reverse KL)")
    on_policy_tokens: int = Field(48, ge=1, description="maximum length of such a reply, in tokens")
    on_policy_clip: float = Field(4.0, gt=0, description="maximum loss of one token of such a reply, in nats")
    on_policy_rate: float = Field(0.1, gt=0, description="learning rate of those steps, as a fraction of the peak")
    epochs: int = Field(1, ge=1, serialization_alias="num_epochs", description="passes over the training rows")
    batch_size: int = Field(8, ge=1, serialization_alias="effective_batch_size", description="rows per optimizer step")
    learning_rate: float = Field(5e-4, gt=0, description="peak learning rate")
    warmup_fraction: float = Field(0.05, ge=0, lt=1, description="fraction of the steps over which the rate rises")
    max_length: int = Field(
        1024, ge=16, serialization_alias="max_seq_len", description="longest row in tokens; none is ever truncated"
    )
    too_long: Literal["error", "leave_out"] = Field(
        "error", description="longer rows: error stops the training, leave_out skips and counts them"
    )
    save_every: int = Field(
        20, ge=1, serialization_alias="save_steps", description="optimizer steps between checkpoints"
    )
    validate_every: int = Field(
        100, ge=1, serialization_alias="eval_steps", description="optimizer steps between validations"
    )
    patience: int | None = Field(None, ge=1, description="stop after this many validations without a lower loss")
    max_steps: int | None = Field(None, ge=1, description="stop after this many steps on the rows (for a trial run)")
    seed: int = Field(7, description="random seed: order of the rows, initial weights of the adapter")

    @property
    def needs_teacher(self) -> bool:
        """Whether the base model under the full prompt is asked for its predictions."""
        return bool(self.distill or self.on_policy_steps)


class TrainConfig(TrainingKnobs):
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
    checks: Checks = Field({}, description="the dataset's checks, by which a sweep is ranked")
    sweep: SweepConfig | None = Field(None, description="what `train --sweep` tries (docs/training.md)")
    mlflow: MlflowConfig | None = Field(None, description="log trainings to MLflow (docs/training.md)")
    kubeflow: KubeflowConfig | None = Field(None, description="where `train --on kubeflow` runs (docs/training.md)")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not (self.sft or self.distill or self.on_policy_steps):
            raise ValueError("nothing would be learned: let sft, distill or on_policy_steps be above 0")
        if self.needs_teacher and not self.full_prompt:
            raise ValueError("distill and on_policy_steps need full_prompt, under which the base model is the teacher")
        if self.quantize == "4bit" and self.backend != "unsloth":
            raise ValueError("quantize: 4bit needs backend: unsloth")
        return self

    def digest(self) -> str:
        """Return the digest of what is trained: where it runs, and what else was tried, make no difference."""
        same: dict[str, Any] = {"kubeflow": None, "mlflow": None, "sweep": None, "checks": {}}
        return super(TrainConfig, self.model_copy(update=same)).digest()

    def knobs(self) -> dict[str, object]:
        """Return the knobs alone, as a backend takes them."""
        return {name: getattr(self, name) for name in TrainingKnobs.model_fields}


# Outputs and listeners, and how often a checkpoint is written: they change no step.
NOT_LEARNED = frozenset({"ckpt_output_dir", "targets_dir", "on_step", "on_prepare", "save_every"})


class LoopConfig(TrainingKnobs):
    """One training as a backend runs it: the knobs, what it reads and writes, and who listens.

    What stands only here has Training Hub's name where it has one.
    """

    model_path: Path
    data_path: Path
    eval_data_path: Path | None = None
    ckpt_output_dir: Path
    targets_dir: Path | None = None
    warmup_steps: int | None = Field(None, ge=0)  # Training Hub's way to set the warm-up; the fraction if there is none
    teacher_prompt: str = ""
    short_prompt: str = ""
    on_step: Callable[[TrainingStep, int], None] | None = Field(None, exclude=True)
    on_prepare: Callable[[str, int, int], None] | None = Field(None, exclude=True)

    @classmethod
    def hub_names(cls) -> dict[str, str]:
        """Return the field behind each name of Training Hub; a field without an alias goes by its own name."""
        return {field.serialization_alias or name: name for name, field in cls.model_fields.items()}

    @classmethod
    def from_hub(cls, given: Mapping[str, object]) -> Self:
        """Return the training that Training Hub's parameters describe; TrainingError names one that does not fit."""
        names = cls.hub_names()
        if unknown := sorted(given.keys() - names.keys()):
            raise TrainingError(f"no such parameter: {', '.join(unknown)}", hint=f"it knows {', '.join(sorted(names))}")
        try:
            return cls.model_validate({names[name]: value for name, value in given.items()})
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise TrainingError(f"train.{place}: {first['msg']}", hint="see docs/training.md") from None

    def as_hub(self) -> dict[str, object]:
        """Return the training in Training Hub's names, as JSON values; what is not set is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @field_validator("quantize", mode="before")
    @classmethod
    def _from_flag(cls, value: object) -> object:
        return ("4bit" if value else "none") if isinstance(value, bool) else value

    @field_serializer("quantize")
    def _as_flag(self, value: str) -> bool:
        return value == "4bit"

    @property
    def neutral_turn(self) -> str:
        """The system turn above neutral prompts, empty for none."""
        return self.short_prompt if self.retention_under == "short_prompt" else ""

    def warmup(self, steps: int) -> int:
        """Return over how many of the steps the learning rate rises to its peak."""
        return max(1, round(steps * self.warmup_fraction)) if self.warmup_steps is None else self.warmup_steps

    def fingerprint(self) -> str:
        """Return a digest of all that a step depends on: a checkpoint of another run is not resumed.

        A path counts by what is in it, not by where it is.
        """
        values = {
            name: digest(value) if isinstance(value, Path) else value for name, value in self if name not in NOT_LEARNED
        }
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
