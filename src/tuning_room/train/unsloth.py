"""Training Hub's Unsloth backend for GPUs, with its faults mended (Training Hub 0.11.2).

Stock, it learns every token of a row, the user's and the system turn's too; it makes of the whole effective batch one
batch a device, whatever micro batch it is told; it does not resume unless it is asked to; it passes `logging_dir`,
which transformers refuse since 5.17; and it computes all activations twice, however small the model. Here rows come as
tokens by this package's own rendering, with the places that are learned; nothing is packed or cut.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from training_hub.algorithms.lora import UnslothLoRABackend
from training_hub.callbacks import TrainingHubCallback, TrainingHubContext

from tuning_room.errors import DivergedError, MissingPrerequisiteError, OccupiedError, TrainingError
from tuning_room.files import atomic_writer
from tuning_room.train.adapter import refused_targets, targets
from tuning_room.train.batches import Rows, load_rows
from tuning_room.train.faults import LossWatch, explained
from tuning_room.train.gpu import Pass, computes_in_bf16, kept_rows, plan_pass
from tuning_room.train.loop_config import LoopConfig
from tuning_room.train.metrics import Metric, MetricsFile
from tuning_room.train.team import rank_and_size

NAME = "unsloth"
# What only our own loop can do.
OBJECTIVES = ("sft_weight", "distill_weight", "retention_weight", "on_policy_steps", "patience", "start_adapter")
OWN = ("on_step", "on_prepare", "leave_out_too_long", "skip_layers", "max_steps")
FINGERPRINT = "unsloth-fingerprint"
LOG = "unsloth.log"


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
        metrics = MetricsFile(folder / "metrics.jsonl")
        told = Told(metrics, self.own["on_step"] or _untold, self)
        found = self._trained({**given, "callbacks": [*(given.get("callbacks") or []), told]}, folder)
        if told.fault:
            raise told.fault
        whole = list(logged(found["trainer"].state.log_history, metrics.read()))
        if found["trainer"].is_world_process_zero():
            metrics.replace(whole)
        return {**found, "metrics": whole, "left_out": self.rows.left_out}

    def _trained(self, given: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Train as Training Hub does, with what it leaves to its caller."""
        mended = {"enable_jit_checkpoint": True, "save_model": False, "bf16": computes_in_bf16()}
        try:
            # What Unsloth and the trainer print would stand in the caller's JSON, or tear the live curve apart.
            with (folder / LOG).open("a", buffering=1) as log, explained(folder, lambda: ""), redirect_stdout(log):
                found: dict[str, Any] = super().execute_training({**given, **mended})
        except ImportError as error:
            raise MissingPrerequisiteError(str(error).splitlines()[0], hint="pip install unsloth") from None
        return found

    def steps(self) -> int:
        """Return how many steps the training has."""
        whole = self._steps_of_an_epoch() * self.epochs
        return min(whole, self.own["max_steps"] or whole)

    def rows_in(self, step: int) -> int:
        """Return the rows of a step counted from 1: the last one of an epoch has what is left."""
        is_last = step % self._steps_of_an_epoch() == 0
        return (len(self.rows.rendered) - 1) % self._whole() + 1 if is_last else self._whole()

    def _steps_of_an_epoch(self) -> int:
        return -(-len(self.rows.rendered) // self._whole())

    def _whole(self) -> int:
        return self.one_pass.rows * self.one_pass.times * rank_and_size()[1]

    def _load_unsloth_model(self, params: dict[str, Any]) -> tuple[Any, Any]:
        """Load model, tokenizer and rows, and see how many rows go through the model at once."""
        model, tokenizer = super()._load_unsloth_model(params)
        self.rows = self._load(params, tokenizer)
        self.epochs = params.get("num_epochs") or 1
        kept = kept_rows(model.config, max(len(row.input_ids) for row in self.rows.rendered))
        self.one_pass = plan_pass(params.get("effective_batch_size"), params.get("micro_batch_size"), kept)
        return model, tokenizer

    def _apply_lora_config(self, model: Any, params: dict[str, Any], supports_grad_ckpt: bool = True) -> Any:
        """Leave the lowest layers without an adapter, and compute activations once where the memory can hold them."""
        loader: Any = import_module("unsloth").FastModel
        plain = loader.get_peft_model
        changes = targets(model, params.get("target_modules") or "all-linear", self.own["skip_layers"] or 0)
        if not self.one_pass.recomputes:
            changes["use_gradient_checkpointing"] = False

        def made(*arguments: Any, **more: Any) -> Any:
            return plain(*arguments, **{**more, **changes})

        try:
            with replaced(loader, "get_peft_model", made):
                return super()._apply_lora_config(model, params, supports_grad_ckpt)
        except ValueError as error:
            raise refused_targets(error) if "target" in str(error).lower() else error from None

    def _prepare_dataset(self, params: dict[str, Any], tokenizer: Any, is_vlm: bool = False) -> Any:
        """Return rows as token ids and the places that are learned; DataError for one that is too long."""
        from datasets import Dataset

        is_held_out = params["data_path"] == params.get("eval_data_path")
        return Dataset.from_dict(masked(self._load(params, tokenizer) if is_held_out else self.rows))

    def _load(self, params: dict[str, Any], tokenizer: Any) -> Rows:
        leave_out = bool(self.own["leave_out_too_long"])
        return load_rows(Path(params["data_path"]), tokenizer, params.get("max_seq_len", 2048), leave_out=leave_out)

    def _build_training_args(self, params: dict[str, Any], **more: Any) -> Any:
        """Return the arguments of TRL's trainer, mended."""
        trl: Any = import_module("trl")
        plain, changes = trl.SFTConfig, arguments(params, self.one_pass, self.steps())

        def mended(**given: Any) -> Any:
            given.pop("logging_dir", None)
            return plain(**{**given, **changes})

        with replaced(trl, "SFTConfig", mended):
            return super()._build_training_args(params, **more)


class Told(TrainingHubCallback):
    """Writes and tells each step as it is logged, and stops a training that diverges, in all processes alike."""

    run_on_all_ranks = True

    def __init__(self, metrics: MetricsFile, on_step: Callable[[Metric, int], None], training: UnslothBackend) -> None:
        self.metrics, self.on_step, self.training = metrics, on_step, training
        self.watch = LossWatch()
        self.fault: DivergedError | None = None
        self.began, self.tokens = 0.0, 0

    def on_train_begin(self, context: TrainingHubContext) -> None:
        """Forget the steps after the checkpoint from which this training goes on, and start the clock."""
        if context.is_main_process:
            self.metrics.keep_until(context.step)
        before = self.metrics.read()
        self.watch.recall(metric.loss for metric in before)
        self.tokens = sum(metric.tokens for metric in before)
        self.began = time.perf_counter()

    def on_log(self, context: TrainingHubContext) -> None:
        """Write and tell a step's loss."""
        logs = context.metrics or {}
        if "loss" not in logs or self._diverges(context, logs["loss"]):
            return
        now, tokens = time.perf_counter(), int(logs.get("num_input_tokens_seen", 0))
        rate, rows = logs.get("learning_rate", 0.0), self.training.rows_in(context.step)
        own = max(0, tokens - self.tokens)
        metric = Metric(context.step, logs["loss"], None, rate, rows, own, now - self.began)
        self.began, self.tokens = now, tokens
        if context.is_main_process:
            self.metrics.append(metric)
            self.on_step(metric, self.training.steps())

    def _diverges(self, context: TrainingHubContext, loss: float) -> bool:
        """Say whether a training has diverged, and stop it then; what a callback raises, Training Hub only logs."""
        try:
            self.watch.check(context.step, loss)
        except DivergedError as fault:
            self.fault = self.fault or fault
            if context.control:
                context.control.should_training_stop = True
        return self.fault is not None


def _untold(metric: Metric, total: int) -> None:
    """Take a step's metrics, of which nobody wants to hear."""


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Let a library's name mean something else for a while: Training Hub leaves no other place to put a word in."""
    plain = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, plain)


def masked(rows: Rows) -> dict[str, list[list[int]]]:
    """Return rows as TRL takes them when they are tokens already: `completion_mask` is 1 where a token is learned."""
    return {
        "input_ids": [row.input_ids for row in rows.rendered],
        "completion_mask": [[int(learn) for learn in row.learned] for row in rows.rendered],
    }


def arguments(params: dict[str, Any], one_pass: Pass, steps: int) -> dict[str, Any]:
    """Return what of TRL's arguments has to be otherwise than Training Hub's.

    Rows are drawn at random, not by length: transformers cannot resume that order, and Unsloth does without padding.
    """
    # Where activations are computed twice, Training Hub knows whether the model can.
    once = {} if one_pass.recomputes else {"gradient_checkpointing": False}
    return {
        **once,
        "per_device_train_batch_size": one_pass.rows,
        "per_device_eval_batch_size": one_pass.rows,
        "gradient_accumulation_steps": one_pass.times,
        "completion_only_loss": True,
        "logging_nan_inf_filter": False,  # it would show the mean of the others in the place of a loss that is none
        "include_num_input_tokens_seen": "all",
        "disable_tqdm": True,
        "packing": False,
        "max_steps": steps,
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
    checkpoints = list(folder.glob("checkpoint-*"))
    if checkpoints and not path.is_file():
        raise OccupiedError(f"{folder}: holds checkpoints of another program", hint="name a new or empty folder")
    for old in checkpoints:
        shutil.rmtree(old, ignore_errors=True)  # of several processes another one may have been there first
    with atomic_writer(path) as out:
        out.write(key)


def logged(history: list[dict[str, Any]], written: list[Metric]) -> list[Metric]:
    """Return the steps of a trainer's log, with what was written of them as they were taken.

    A validation loss belongs to the step that it followed.
    """
    valid = {entry["step"]: entry["eval_loss"] for entry in history if "eval_loss" in entry}
    known = {metric.step: metric for metric in written}
    return [
        known.get(
            entry["step"], Metric(entry["step"], entry["loss"], None, entry.get("learning_rate", 0.0), 0, 0, 0.0)
        )._replace(valid_loss=valid.get(entry["step"]))
        for entry in history
        if "loss" in entry
    ]
