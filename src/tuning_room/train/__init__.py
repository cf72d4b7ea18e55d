"""Train: accepted dialogues into a LoRA adapter, through Training Hub."""

from pathlib import Path
from typing import Any

from tuning_room.train.config import TrainConfig
from tuning_room.workspace import Stage, StageResult, Workspace


class TrainResult(StageResult):
    """What came of training: losses in nats a token, seconds of this process."""

    rows: int
    steps: int
    final_loss: float
    first_valid_loss: float | None
    valid_loss: float | None
    trainable_parameters: int
    adapter_digest: str


def inputs(config: TrainConfig, workspace: Workspace) -> list[Path]:
    """Return what training reads."""
    return [workspace.train_rows, workspace.valid_rows]


def outputs(workspace: Workspace) -> list[Path]:
    """Return what training writes."""
    return [workspace.adapter, workspace.metrics]


def run(config: TrainConfig, workspace: Workspace) -> TrainResult:
    """Train an adapter on `dataset/train.jsonl` and write it to `adapter/`.

    Raises MissingInputError, DataError, ModelNotFoundError and TrainingError.
    """
    from tuning_room.models import limit_threads, resolve
    from tuning_room.progress import ProgressBar
    from tuning_room.records import Dialogue, read_jsonl
    from tuning_room.train.artefact import write_adapter

    limit_threads()
    count = sum(1 for _ in read_jsonl(workspace.train_rows, Dialogue))
    model_folder = resolve(config.model)
    with ProgressBar("train", None) as bar:
        trained = _lora_sft(config, workspace, model_folder, count, bar)
    digest = write_adapter(trained, config, workspace)
    return _result(trained, count, digest)


def _lora_sft(config: TrainConfig, workspace: Workspace, model_folder: Path, rows: int, bar: Any) -> dict[str, Any]:
    from training_hub import lora_sft

    from tuning_room.train.backend import register

    register()
    trained: dict[str, Any] = lora_sft(
        backend=config.backend, on_step=_StepBar(bar).show, **_settings(config, workspace, model_folder, rows)
    )
    return trained


def _settings(config: TrainConfig, workspace: Workspace, model_folder: Path, rows: int) -> dict[str, Any]:
    """Return the training in Training Hub's names."""
    valid = workspace.valid_rows
    steps = -(-rows // config.batch_size) * config.epochs
    return {
        "model_path": str(model_folder),
        "data_path": str(workspace.train_rows),
        "eval_data_path": str(valid) if valid.is_file() and valid.stat().st_size else None,
        "ckpt_output_dir": str(workspace.training),
        "lora_r": config.rank,
        "lora_alpha": config.alpha,
        "target_modules": config.target_modules,
        "skip_layers": config.skip_layers,
        "num_epochs": config.epochs,
        "effective_batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "warmup_steps": max(1, round(steps * config.warmup_fraction)),
        "max_seq_len": config.max_length,
        "save_steps": config.save_every,
        "eval_steps": config.validate_every,
        "max_steps": config.max_steps,
        "seed": config.seed,
    }


def plan(config: TrainConfig, workspace: Workspace) -> Any:
    """Return what training will take (planning.Plan), by trying some steps; nothing is written.

    Raises MissingInputError, DataError, ModelNotFoundError, and TrainingError where the memory is not there.
    """
    from tempfile import TemporaryDirectory

    from tuning_room.models import limit_threads, resolve
    from tuning_room.records import Dialogue, read_jsonl
    from tuning_room.train.loop import LoopConfig
    from tuning_room.train.planning import plan as planned

    limit_threads()
    count = sum(1 for _ in read_jsonl(workspace.train_rows, Dialogue))
    settings = _settings(config, workspace, resolve(config.model), count)
    with TemporaryDirectory() as place:
        return planned(LoopConfig(**{**settings, "ckpt_output_dir": place}))


class _StepBar:
    """Shows the losses of a step beside the bar; the last validation loss stays."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar
        self.valid = ""

    def show(self, metric: Any, steps: int) -> None:
        if metric.valid_loss is not None:
            self.valid = f", valid {metric.valid_loss:.3f}"
        self.bar.describe(f"loss {metric.loss:.3f}{self.valid}", done=metric.step, total=steps)


def _result(trained: dict[str, Any], rows: int, digest: str) -> TrainResult:
    metrics = trained["metrics"]
    valid = [m.valid_loss for m in metrics if m.valid_loss is not None]
    return TrainResult(
        rows=rows,
        steps=metrics[-1].step,
        final_loss=sum(m.loss for m in metrics[-10:]) / len(metrics[-10:]),
        first_valid_loss=valid[0] if valid else None,
        valid_loss=valid[-1] if valid else None,
        trainable_parameters=sum(p.numel() for p in trained["model"].parameters() if p.requires_grad),
        adapter_digest=digest,
    )


STAGE = Stage("train", TrainResult, inputs, outputs, run)
