"""Training Hub's Unsloth backend for GPUs, with four faults mended (Training Hub 0.11.2).

Stock, it learns every token of a row, the user's and the system turn's too; it makes of the whole effective batch one
batch a device, whatever micro batch it is told; it does not resume unless it is asked to; and it passes `logging_dir`,
which transformers refuse since 5.17. Here rows come as tokens by this package's own rendering, with the places that are
learned; nothing is packed or cut.
"""

import os
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from training_hub.algorithms.lora import UnslothLoRABackend
from training_hub.callbacks import TrainingHubCallback, TrainingHubContext

from tuning_room.errors import MissingPrerequisiteError, TrainingError
from tuning_room.files import atomic_writer
from tuning_room.train.batches import Rows, load_rows
from tuning_room.train.loop_config import LoopConfig
from tuning_room.train.metrics import Metric, MetricsFile

NAME = "unsloth"
MICRO_BATCH = 4  # rows a device and pass, where nobody says: what fits beside most models
# What only our own loop can do.
OBJECTIVES = ("sft_weight", "distill_weight", "retention_weight", "on_policy_steps", "patience", "start_adapter")
OWN = ("on_step", "on_prepare", "leave_out_too_long", "skip_layers", "max_steps")
FINGERPRINT = "unsloth-fingerprint"


class UnslothBackend(UnslothLoRABackend):
    """LoRA on a GPU with the loss on the assistant's tokens only, accumulation as asked, and a resume after a kill."""

    def execute_training(self, algorithm_params: dict[str, Any]) -> dict[str, Any]:
        """Train and return the PEFT model, `tokenizer`, `metrics` and the rows `left_out`.

        Raises TrainingError for an objective that only this package's own loop has, and MissingPrerequisiteError
        without Unsloth.
        """
        if unknown := sorted(set(OBJECTIVES) & set(algorithm_params)):
            raise TrainingError(
                f"backend {NAME}: it cannot do {', '.join(unknown)}", hint="train on the rows alone, or on a CPU"
            )
        self.own = {name: algorithm_params.get(name) for name in OWN}
        given = {name: value for name, value in algorithm_params.items() if name not in OWN}
        folder = Path(given["ckpt_output_dir"])
        forget_other_run(folder, fingerprint(algorithm_params))
        self.rows: Rows | None = None
        mended = {"enable_jit_checkpoint": True, "save_model": False, "bf16": computes_in_bf16()}
        try:
            found = super().execute_training({**given, **mended, "callbacks": self._callbacks(given)})
        except ImportError as error:
            raise MissingPrerequisiteError(str(error).splitlines()[0], hint="pip install unsloth") from None
        metrics = MetricsFile(folder / "metrics.jsonl")
        metrics.replace(list(logged(found["trainer"].state.log_history)))
        return {**found, "metrics": metrics.read(), "left_out": self.rows.left_out if self.rows else 0}

    def _callbacks(self, given: dict[str, Any]) -> list[TrainingHubCallback]:
        """Return the caller's callbacks, and one that shows the steps."""
        batch, epochs = given.get("effective_batch_size") or MICRO_BATCH, given.get("num_epochs") or 1

        def total() -> int:
            rows = len(self.rows.rendered) if self.rows else 0
            return self.own["max_steps"] or -(-rows // batch) * epochs

        shown = [Told(self.own["on_step"], total)] if self.own["on_step"] else []
        return [*(given.get("callbacks") or []), *shown]

    def _apply_lora_config(self, model: Any, params: dict[str, Any], supports_grad_ckpt: bool = True) -> Any:
        """Leave the lowest layers without an adapter, as the recipe says: stock, all have one."""
        loader: Any = import_module("unsloth").FastModel
        skipped, count = self.own["skip_layers"] or 0, model.config.num_hidden_layers
        plain = loader.get_peft_model

        def made(*arguments: Any, **more: Any) -> Any:
            layers = {"layers_to_transform": list(range(skipped, count))} if skipped else {}
            return plain(*arguments, **more, **layers)

        with patch.object(loader, "get_peft_model", made):
            return super()._apply_lora_config(model, params, supports_grad_ckpt)

    def _prepare_dataset(self, params: dict[str, Any], tokenizer: Any, is_vlm: bool = False) -> Any:
        """Return rows as token ids and the places that are learned; DataError for one that is too long."""
        from datasets import Dataset

        leave_out = bool(self.own["leave_out_too_long"])
        rows = load_rows(Path(params["data_path"]), tokenizer, params.get("max_seq_len", 2048), leave_out=leave_out)
        self.rows = self.rows or rows
        return Dataset.from_dict(masked(rows))

    def _build_training_args(self, params: dict[str, Any], **more: Any) -> Any:
        """Return the arguments of TRL's trainer, mended."""
        trl: Any = import_module("trl")
        plain, changes = trl.SFTConfig, arguments(params, self.own["max_steps"])

        def mended(**given: Any) -> Any:
            given.pop("logging_dir", None)
            return plain(**{**given, **changes})

        with patch.object(trl, "SFTConfig", mended):
            return super()._build_training_args(params, **more)


class Told(TrainingHubCallback):
    """Tells each step as it is logged."""

    def __init__(self, on_step: Callable[[Metric, int], None], total: Callable[[], int]) -> None:
        self.on_step, self.total = on_step, total

    def on_log(self, context: TrainingHubContext) -> None:
        """Tell a step's loss."""
        if "loss" in (context.metrics or {}):
            metric = Metric(context.step, context.loss, None, context.learning_rate or 0.0, 0, 0, 0.0)
            self.on_step(metric, self.total())


def computes_in_bf16() -> bool:
    """Say whether there is a GPU that computes in bf16."""
    import torch

    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())


def masked(rows: Rows) -> dict[str, list[list[int]]]:
    """Return rows as TRL takes them when they are tokens already: `completion_mask` is 1 where a token is learned."""
    return {
        "input_ids": [row.input_ids for row in rows.rendered],
        "completion_mask": [[int(learn) for learn in row.learned] for row in rows.rendered],
    }


def arguments(params: dict[str, Any], max_steps: int | None) -> dict[str, Any]:
    """Return what of TRL's arguments has to be otherwise than Training Hub's."""
    devices = int(os.environ.get("WORLD_SIZE", "1"))
    whole = params.get("effective_batch_size") or MICRO_BATCH
    share = max(1, whole // devices)
    most = min(params.get("micro_batch_size") or MICRO_BATCH, share)
    micro = next(size for size in range(most, 0, -1) if share % size == 0)
    return {
        "per_device_train_batch_size": micro,
        "per_device_eval_batch_size": micro,
        "gradient_accumulation_steps": share // micro,
        "completion_only_loss": True,
        "packing": False,
        "max_steps": max_steps or -1,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        "seed": params.get("seed", 7),
    }


def fingerprint(params: dict[str, Any]) -> str:
    """Return a digest of all that a step depends on, as our own loop takes it."""
    known = {name: value for name, value in params.items() if name in LoopConfig.__dataclass_fields__}
    plain = LoopConfig(**{**known, "on_step": None, "on_prepare": None}).fingerprint()
    return f"{plain} {params.get('load_in_4bit', False)}"


def forget_other_run(folder: Path, key: str) -> None:
    """Remove the checkpoints of a run that was another one: Training Hub would go on from them."""
    path = folder / FINGERPRINT
    if path.is_file() and path.read_text(encoding="utf-8") == key:
        return
    for old in folder.glob("checkpoint-*"):
        shutil.rmtree(old)
    with atomic_writer(path) as out:
        out.write(key)


def logged(history: list[dict[str, Any]]) -> list[Metric]:
    """Return the steps of a trainer's log; a validation loss belongs to the step that it followed."""
    valid = {entry["step"]: entry["eval_loss"] for entry in history if "eval_loss" in entry}
    steps = [entry for entry in history if "loss" in entry]
    return [
        Metric(
            e["step"], e["loss"], valid.get(e["step"]), e.get("learning_rate", 0.0), 0, int(e.get("num_tokens", 0)), 0.0
        )
        for e in steps
    ]
