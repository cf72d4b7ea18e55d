"""The backend `tuning-room-cpu`, registered with Training Hub for its verb `lora_sft`."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from training_hub import AlgorithmRegistry, Backend

from tuning_room.errors import TrainingError
from tuning_room.train.faults import explained
from tuning_room.train.loop import LoraTrainer
from tuning_room.train.loop_config import LoopConfig

NAME = "tuning-room-cpu"
# What Training Hub adds by itself, or what means nothing on a CPU: a value other than these is refused.
STOCK: dict[str, Any] = {
    "callbacks": [],
    "peft_enabled": True,
    "peft_type": "lora",
    "init_lora_weights": True,
    "use_dora": False,
    "use_rslora": False,
    "lora_dropout": 0.0,
    "bf16": False,
    "fp16": False,
    "load_in_4bit": False,
    "load_in_8bit": False,
}


class CpuLoraBackend(Backend):
    """LoRA fine-tuning in fp32, with the loss on the assistant's tokens only and a resume after a kill."""

    def execute_training(self, algorithm_params: dict[str, Any]) -> dict[str, Any]:
        """Train and return the PEFT model, `tokenizer`, `metrics`, the rows `left_out` and the `best_step`.

        Raises TrainingError for a parameter of Training Hub that this backend does not have.
        """
        given = {k: v for k, v in algorithm_params.items() if not (k in STOCK and v == STOCK[k])}
        known = {f.name for f in fields(LoopConfig)}
        if unknown := sorted(set(given) - known):
            raise TrainingError(
                f"backend {NAME}: no such parameter: {', '.join(unknown)}", hint=f"it knows {', '.join(sorted(known))}"
            )
        config = LoopConfig(**given)
        with explained(Path(config.ckpt_output_dir), lambda: ""):
            trainer = LoraTrainer(config)
        model = trainer.train()
        return {
            "model": model,
            "tokenizer": trainer.tokenizer,
            "metrics": trainer.metrics.read(),
            "left_out": trainer.lessons.left_out,
            "best_step": trainer.best_step,
        }


def register() -> None:
    """Make our backend known to Training Hub and mend its own for GPUs; doing it twice is harmless."""
    from tuning_room.train import unsloth

    AlgorithmRegistry.register_backend("lora_sft", NAME, CpuLoraBackend)
    AlgorithmRegistry.register_backend("lora_sft", unsloth.NAME, unsloth.UnslothBackend)
