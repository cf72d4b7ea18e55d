"""Training through Training Hub's verb `lora_sft`, and the backend `tuning-room-cpu` that we register with it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from training_hub import AlgorithmRegistry, Backend

from tuning_room.errors import TrainingError
from tuning_room.records import TrainingStep
from tuning_room.train.config import LoopConfig
from tuning_room.train.faults import explained
from tuning_room.train.loop import LoraTrainer

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

NAME = "tuning-room-cpu"
# What Training Hub adds by itself, and what means nothing on a CPU: any other value than these is refused.
WITHOUT_EFFECT: dict[str, object] = {
    "callbacks": [],
    "peft_enabled": True,
    "peft_type": "lora",
    "init_lora_weights": True,
    "use_dora": False,
    "use_rslora": False,
    "lora_dropout": 0.0,
    "bf16": False,
    "fp16": False,
    "load_in_8bit": False,
}


class Trained(NamedTuple):
    """What a backend returns: the PEFT model and its steps, the rows trained on and those left out as too long.

    `best_step` is the step whose weights the model has, None where these are the last ones. `unpacked` says why rows
    were padded, '' if they were packed.
    """

    model: "PeftModel"
    tokenizer: "PreTrainedTokenizerBase"
    steps: list[TrainingStep]
    rows: int
    left_out: int
    best_step: int | None = None
    unpacked: str = ""


def trained(
    backend: str,
    config: LoopConfig,
    on_step: Callable[[TrainingStep, int], None],
    on_prepare: Callable[[str, int, int], None],
) -> Trained:
    """Train through Training Hub, and report each step, and before the first one what the base model is asked."""
    from training_hub import lora_sft

    register()
    found: dict[str, Any] = lora_sft(backend=backend, on_step=on_step, on_prepare=on_prepare, **config.as_hub())
    return Trained(**{name: found[name] for name in Trained._fields if name in found})


def register() -> None:
    """Make our backend known to Training Hub, and our fixed version of its own for GPUs; twice does no harm."""
    from tuning_room.train import unsloth

    AlgorithmRegistry.register_backend("lora_sft", NAME, CpuLoraBackend)
    AlgorithmRegistry.register_backend("lora_sft", unsloth.NAME, unsloth.UnslothBackend)


class CpuLoraBackend(Backend):
    """LoRA fine-tuning in fp32, with the loss on the assistant's tokens only, that resumes after a kill."""

    def execute_training(self, algorithm_params: Mapping[str, object]) -> dict[str, object]:
        """Train and return what Trained has.

        Raises TrainingError for a parameter of Training Hub that this backend does not have.
        """
        config = LoopConfig.from_hub(
            {k: v for k, v in algorithm_params.items() if not (k in WITHOUT_EFFECT and v == WITHOUT_EFFECT[k])}
        )
        if config.quantize != "none":
            raise TrainingError(f"backend {NAME}: load_in_4bit needs a GPU", hint="set train.backend to unsloth")
        with explained(config.ckpt_output_dir, lambda: ""):
            trainer = LoraTrainer(config)
        model = trainer.train()
        steps, lessons = trainer.metrics.read(), trainer.lessons
        return Trained(
            model, trainer.tokenizer, steps, len(lessons.rows), lessons.left_out, trainer.best_step, trainer.unpacked
        )._asdict()
