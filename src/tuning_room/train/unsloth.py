"""Training Hub's Unsloth backend for GPUs, with its faults fixed (Training Hub 0.11.2).

As it comes, it learns every token of a row, the user's and the system turn's too; it makes the whole effective batch
one batch per device, whatever micro batch it is given; it does not resume unless it is asked to; it passes
`logging_dir`, which transformers refuse since 5.17; and it computes all activations twice, however small the model.
Here rows come as tokens by this package's own rendering, with the tokens that are learned; nothing is packed or
truncated.
"""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from training_hub.algorithms.lora import UnslothLoRABackend
from training_hub.callbacks import TrainingHubCallback, TrainingHubContext

from tuning_room.errors import DivergedError, MissingPrerequisiteError, OccupiedError, TrainingError
from tuning_room.files import atomic_writer
from tuning_room.models.templates import fold_system
from tuning_room.records import TrainingStep
from tuning_room.train.adapter import refused_targets, targets
from tuning_room.train.batches import TrainingRows, load_rows
from tuning_room.train.config import LoopConfig
from tuning_room.train.faults import LossWatch, explained
from tuning_room.train.metrics import MetricsFile
from tuning_room.train.team import rank_and_size

if TYPE_CHECKING:
    from datasets import Dataset
    from peft import PeftModel
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

NAME = "unsloth"
# What only our own loop can do.
CPU_ONLY = ("sft", "distill", "retention", "on_policy_steps", "patience", "precision", "start")
FINGERPRINT = "unsloth-fingerprint"
LOG = "unsloth.log"
MICRO_BATCH = 4  # rows per pass where activations are computed twice, and nobody says: what fits beside most models
FREE_SHARE = 0.5  # of the memory that is free once the model is loaded; the rest is for optimizer and kernels


class UnslothBackend(UnslothLoRABackend):
    """LoRA on a GPU with the loss on the assistant's tokens only, accumulation as asked, and a resume after a kill."""

    config: LoopConfig
    rows: TrainingRows
    one_pass: "Pass"

    def execute_training(self, algorithm_params: Mapping[str, Any]) -> dict[str, Any]:
        """Train and return what backend.Trained has, and Training Hub's own trainer.

        Raises TrainingError for an objective that only this package's own loop has, and MissingPrerequisiteError
        without Unsloth.
        """
        known = LoopConfig.hub_names().keys() & algorithm_params.keys()
        self.config = LoopConfig.from_hub({name: algorithm_params[name] for name in known})
        check_objectives(self.config)
        folder = self.config.ckpt_output_dir
        forget_other_run(folder, self.config.fingerprint())
        metrics = MetricsFile(folder / "metrics.jsonl")
        recorder = StepRecorder(metrics, self)
        more = {name: value for name, value in algorithm_params.items() if name not in known}
        given = {**more, **self.config.as_hub(), "callbacks": [*(more.get("callbacks") or []), recorder]}
        found = self._trained(given, folder)
        if recorder.fault:
            raise recorder.fault
        steps = logged(found["trainer"].state.log_history, metrics.read())
        if found["trainer"].is_world_process_zero():
            metrics.replace(steps)
        return {**found, "steps": steps, "rows": len(self.rows.rendered), "left_out": self.rows.left_out}

    def _trained(self, given: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Train as Training Hub does, with what it leaves to its caller."""
        fixed = {"enable_jit_checkpoint": True, "save_model": False, "bf16": computes_in_bf16()}
        try:
            # What Unsloth and the trainer print would end up in the caller's JSON, or tear the live curve apart.
            with (folder / LOG).open("a", buffering=1) as log, explained(folder, lambda: ""), redirect_stdout(log):
                found: dict[str, Any] = super().execute_training({**given, **fixed})
        except ImportError as error:
            raise MissingPrerequisiteError(str(error).splitlines()[0], hint="pip install unsloth") from None
        return found

    def steps(self) -> int:
        """Return how many steps the training has."""
        whole = self._steps_per_epoch() * self.config.epochs
        return min(whole, self.config.max_steps or whole)

    def rows_in(self, step: int) -> int:
        """Return the number of rows of a step counted from 1: the last one of an epoch has what is left."""
        is_last = step % self._steps_per_epoch() == 0
        return (len(self.rows.rendered) - 1) % self._rows_per_step() + 1 if is_last else self._rows_per_step()

    def _steps_per_epoch(self) -> int:
        return -(-len(self.rows.rendered) // self._rows_per_step())

    def _rows_per_step(self) -> int:
        return self.one_pass.rows * self.one_pass.times * rank_and_size()[1]

    def _load_unsloth_model(self, params: dict[str, Any]) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
        """Load model, tokenizer and rows, and work out how many rows go through the model at once."""
        model, tokenizer = super()._load_unsloth_model(params)
        fold_system(tokenizer)
        self.rows = self._load(self.config.data_path, tokenizer)
        kept = kept_rows(model.config, max(len(row.input_ids) for row in self.rows.rendered))
        self.one_pass = plan_pass(self.config.batch_size, params.get("micro_batch_size"), kept)
        return model, tokenizer

    def _apply_lora_config(
        self, model: "PreTrainedModel", params: dict[str, Any], supports_grad_ckpt: bool = True
    ) -> "PeftModel":
        """Leave the lowest layers without an adapter, and compute activations once where the memory can hold them."""
        loader: Any = import_module("unsloth").FastModel
        plain = loader.get_peft_model
        changes = targets(model, self.config.target_modules, self.config.skip_layers)
        if not self.one_pass.recomputes:
            changes["use_gradient_checkpointing"] = False

        def made(*arguments: Any, **more: Any) -> Any:
            return plain(*arguments, **{**more, **changes})

        try:
            with replaced(loader, "get_peft_model", made):
                return super()._apply_lora_config(model, params, supports_grad_ckpt)
        except ValueError as error:
            raise refused_targets(error) if "target" in str(error).lower() else error from None

    def _prepare_dataset(
        self, params: dict[str, Any], tokenizer: "PreTrainedTokenizerBase", is_vlm: bool = False
    ) -> "Dataset":
        """Return rows as token ids and which of them are learned; DataError for one that is too long."""
        from datasets import Dataset

        is_held_out = params["data_path"] == params.get("eval_data_path")
        rows = self._load(Path(params["data_path"]), tokenizer) if is_held_out else self.rows
        return Dataset.from_dict(masked(rows))

    def _load(self, path: Path, tokenizer: "PreTrainedTokenizerBase") -> TrainingRows:
        return load_rows(path, tokenizer, self.config.max_length, leave_out=self.config.too_long == "leave_out")

    def _build_training_args(self, params: dict[str, Any], **more: Any) -> Any:
        """Return the arguments of TRL's trainer, fixed."""
        trl: Any = import_module("trl")
        plain, changes = trl.SFTConfig, arguments(self.config, self.one_pass, self.steps())

        def fixed(**given: Any) -> Any:
            given.pop("logging_dir", None)
            return plain(**{**given, **changes})

        with replaced(trl, "SFTConfig", fixed):
            return super()._build_training_args(params, **more)


class StepRecorder(TrainingHubCallback):
    """Writes and reports each step as it is logged, and stops a training that diverges, in all processes alike."""

    run_on_all_ranks = True

    def __init__(self, metrics: MetricsFile, training: UnslothBackend) -> None:
        self.metrics, self.training = metrics, training
        self.watch = LossWatch()
        self.fault: DivergedError | None = None
        self.began, self.tokens = 0.0, 0

    def on_train_begin(self, context: TrainingHubContext) -> None:
        """Forget the steps after the checkpoint from which this training continues, and start the clock."""
        self.metrics.keep_until(context.step)
        before = self.metrics.read()
        self.watch.recall(step.loss for step in before)
        self.tokens = sum(step.tokens for step in before)
        self.began = time.perf_counter()

    def on_log(self, context: TrainingHubContext) -> None:
        """Write and report a step."""
        logs = context.metrics or {}
        if "loss" not in logs or self._diverges(context, logs["loss"]):
            return
        now, tokens = time.perf_counter(), int(logs.get("num_input_tokens_seen", 0))
        step = TrainingStep(
            step=context.step,
            loss=logs["loss"],
            learning_rate=logs.get("learning_rate", 0.0),
            rows=self.training.rows_in(context.step),
            tokens=max(0, tokens - self.tokens),
            seconds=now - self.began,
        )
        self.began, self.tokens = now, tokens
        if context.is_main_process:
            self.metrics.append(step)
            if on_step := self.training.config.on_step:
                on_step(step, self.training.steps())

    def _diverges(self, context: TrainingHubContext, loss: float) -> bool:
        """Return whether a training has diverged, and stop it then; what a callback raises, Training Hub only logs."""
        try:
            self.watch.check(context.step, loss)
        except DivergedError as fault:
            self.fault = self.fault or fault
            if context.control:
                context.control.should_training_stop = True
        return self.fault is not None


class Pass(NamedTuple):
    """How many rows go through the model at once, how often per step, and whether activations are computed twice."""

    rows: int
    times: int
    recomputes: bool


def computes_in_bf16() -> bool:
    """Return whether there is a GPU that computes in bf16."""
    import torch

    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())


def plan_pass(whole: int, wanted: int | None, kept: int) -> Pass:
    """Return how this device's share of a step's rows goes through the model.

    `whole` are the rows of a step over all devices, `wanted` the rows per pass that somebody asked for, `kept` those
    whose activations the memory can hold.
    """
    share = max(1, whole // rank_and_size()[1])
    most = min(wanted or max(MICRO_BATCH, kept), share)
    rows = next(size for size in range(most, 0, -1) if share % size == 0)
    return Pass(rows, share // rows, recomputes=rows > kept)


def kept_rows(config: "PretrainedConfig", longest: int) -> int:
    """Return how many rows of `longest` tokens the free memory can hold the activations of; 0 where that is unknown.

    In 16 bits a transformer layer keeps about 34 bytes per token and unit of width (Korthikanti et al. 2022, equation
    1; without attention's own share, which fused kernels do not keep). 16 of them are a feed-forward layer four times
    as wide; a gated one keeps 8 bytes per unit of its own width. Scores over the vocabulary count in fp32, three times.
    """
    import torch

    sizes = config.get_text_config()
    known = all(hasattr(sizes, name) for name in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    # Several processes would each see a memory of their own, and split their steps differently.
    if not torch.cuda.is_available() or not known or rank_and_size()[1] > 1:
        return 0
    free, _ = torch.cuda.mem_get_info()
    layer = 18 * sizes.hidden_size + 8 * sizes.intermediate_size
    token = sizes.num_hidden_layers * layer + 12 * sizes.vocab_size
    return int(free * FREE_SHARE / (token * longest))


def check_objectives(config: LoopConfig) -> None:
    """Raise TrainingError for a knob that only our own loop heeds, if it is not at its default."""
    asked = [name for name in CPU_ONLY if getattr(config, name) != LoopConfig.model_fields[name].default]
    if asked:
        raise TrainingError(
            f"backend {NAME}: it cannot do {', '.join(sorted(asked))}", hint="train on the rows alone, or on a CPU"
        )


@contextmanager
def replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """Let a library's name mean something else for a while: Training Hub leaves no other way to step in."""
    plain = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, plain)


def masked(rows: TrainingRows) -> dict[str, list[list[int]]]:
    """Return rows as TRL takes them if they are already tokens; `completion_mask` is 1 where a token is learned."""
    return {
        "input_ids": [row.input_ids for row in rows.rendered],
        "completion_mask": [[int(learn) for learn in row.learned] for row in rows.rendered],
    }


def arguments(config: LoopConfig, one_pass: Pass, steps: int) -> dict[str, object]:
    """Return those of TRL's arguments that have to differ from Training Hub's.

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
        "logging_nan_inf_filter": False,  # it would show the mean of the other losses in the place of a NaN
        "include_num_input_tokens_seen": "all",
        "disable_tqdm": True,
        "packing": False,
        "max_steps": steps,
        "warmup_steps": config.warmup(steps),
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        "seed": config.seed,
    }


def forget_other_run(folder: Path, key: str) -> None:
    """Remove the checkpoints of another run: Training Hub would continue from them."""
    path = folder / FINGERPRINT
    if path.is_file() and path.read_text(encoding="utf-8") == key:
        return
    checkpoints = list(folder.glob("checkpoint-*"))
    if checkpoints and not path.is_file():
        raise OccupiedError(f"{folder}: holds checkpoints of another program", hint="name a new or empty folder")
    for old in checkpoints:
        shutil.rmtree(old, ignore_errors=True)  # another process may have been quicker
    with atomic_writer(path) as out:
        out.write(key)


def logged(history: Sequence[Mapping[str, float]], written: Sequence[TrainingStep]) -> list[TrainingStep]:
    """Return the steps of a trainer's log, with what was written of them as they were taken.

    A validation loss belongs to the step that it followed; DivergedError where it is NaN.
    """
    valid = {int(entry["step"]): entry["eval_loss"] for entry in history if "eval_loss" in entry}
    for number, loss in valid.items():
        LossWatch().check_validation(number, loss)
    known = {step.step: step for step in written}
    steps = [known.get(int(entry["step"])) or _bare_step(entry) for entry in history if "loss" in entry]
    return [step.model_copy(update={"valid_loss": valid.get(step.step)}) for step in steps]


def _bare_step(entry: Mapping[str, float]) -> TrainingStep:
    """Return a step of which only the trainer's own log is left."""
    rate = entry.get("learning_rate", 0.0)
    return TrainingStep(step=int(entry["step"]), loss=entry["loss"], learning_rate=rate, rows=0, tokens=0, seconds=0.0)
