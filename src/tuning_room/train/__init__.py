"""Train: accepted dialogues into a LoRA adapter, through Training Hub."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuning_room.train.config import TrainConfig
from tuning_room.workspace import Stage, StageResult, Workspace

STOCK = {
    "load_in_4bit": False,
    "start_adapter": None,
    "patience": None,
    "sft_weight": 1.0,
    "distill_weight": 0.0,
    "retention_weight": 0.0,
    "on_policy_steps": 0,
    "leave_out_too_long": False,
}


class TrainResult(StageResult):
    """What came of training: losses in nats a token, seconds of this process."""

    rows: int
    left_out: int = 0
    steps: int
    best_step: int | None = None
    final_loss: float
    first_valid_loss: float | None
    valid_loss: float | None
    trainable_parameters: int
    adapter_digest: str
    mlflow_run: str | None = None
    mlflow_error: str | None = None


def inputs(config: TrainConfig, workspace: Workspace) -> list[Path]:
    """Return what training reads."""
    teacher = [config.full_prompt] if config.full_prompt and needs_teacher(config) else []
    neutral = [config.retention_prompts] if config.retention else []
    start = [config.start] if config.start else []
    return [workspace.train_rows, workspace.valid_rows, *teacher, *neutral, *start]


def needs_teacher(config: TrainConfig) -> bool:
    """Say whether the base model under the full prompt is asked for its predictions."""
    return bool(config.distill or config.on_policy_steps)


def outputs(workspace: Workspace) -> list[Path]:
    """Return what training writes."""
    return [workspace.adapter, workspace.metrics]


def run(config: TrainConfig, workspace: Workspace) -> TrainResult:
    """Train an adapter on `dataset/train.jsonl` and write it to `adapter/`.

    Raises MissingInputError, DataError, ModelNotFoundError and TrainingError.
    """
    from tuning_room.train.artefact import write_adapter

    settings, rows = _settings(config, workspace)
    trained = _lora_sft(config, settings)
    digest = write_adapter(trained, config, workspace)
    return _result(trained, rows, digest).model_copy(update=_tracked(config, workspace))


def _tracked(config: TrainConfig, workspace: Workspace) -> dict[str, str]:
    """Write the training to MLflow if the recipe says so; a server that is not there costs no training."""
    from tuning_room.errors import TuningRoomError
    from tuning_room.train.tracking import track

    if not config.mlflow:
        return {}
    try:
        return {"mlflow_run": track(config, workspace)}
    except TuningRoomError as error:
        return {"mlflow_error": str(error)}


def _lora_sft(config: TrainConfig, settings: dict[str, Any]) -> dict[str, Any]:
    from training_hub import lora_sft

    from tuning_room.progress import ProgressBar
    from tuning_room.train.backend import register
    from tuning_room.train.live import LiveCurve

    register()
    with ProgressBar("train", None) as bar:
        shown = LiveCurve(bar)
        trained: dict[str, Any] = lora_sft(
            backend=config.backend, on_step=shown.show, on_prepare=shown.prepare, **settings
        )
    return trained


def _settings(config: TrainConfig, workspace: Workspace) -> tuple[dict[str, Any], int]:
    """Return the training in Training Hub's names, and how many rows there are; the model is fetched if need be."""
    from tuning_room.models import limit_threads, resolve
    from tuning_room.records import Dialogue, read_jsonl

    limit_threads()
    rows = sum(1 for _ in read_jsonl(workspace.train_rows, Dialogue))
    valid = workspace.valid_rows
    whole = -(-rows // config.batch_size) * config.epochs
    steps = min(whole, config.max_steps or whole)
    settings = {
        "model_path": str(resolve(config.model)),
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
        **_objectives(config, workspace),
    }
    return settings, rows


def _objectives(config: TrainConfig, workspace: Workspace) -> dict[str, Any]:
    """Return what is learned, for our own backend; what is at its default is left out, so that others need not know."""
    full_prompt = config.full_prompt.read_text(encoding="utf-8").strip() if config.full_prompt else ""
    under = config.short_prompt if config.retention_under == "short_prompt" else ""
    values: dict[str, Any] = {
        "load_in_4bit": config.quantize == "4bit",
        "start_adapter": str(config.start) if config.start else None,
        "leave_out_too_long": config.too_long == "leave_out",
        "patience": config.patience,
        "sft_weight": config.sft,
        "distill_weight": config.distill,
        "retention_weight": config.retention,
        "on_policy_steps": config.on_policy_steps,
    }
    if config.retention:
        values |= {
            "retention_prompts": str(config.retention_prompts),
            "retention_rows": config.retention_rows,
            "retention_under": under,
        }
    if config.on_policy_steps:
        values |= {f"on_policy_{name}": getattr(config, f"on_policy_{name}") for name in ("tokens", "clip", "rate")}
    if needs_teacher(config):
        values["full_prompt"] = full_prompt
    if needs_teacher(config) or config.retention:
        # A plan and a sweep ask the base model at the same place, and training need not ask again.
        values["targets_dir"] = str(workspace.training / "targets")
    return {name: value for name, value in values.items() if value != STOCK.get(name)}


def assist(config: TrainConfig, workspace: Workspace) -> None:
    """Train beside a process that leads, and write nothing: what run does in every other process of a team."""
    _lora_sft(config, _settings(config, workspace)[0])


def sweep(config: TrainConfig, workspace: Workspace) -> Iterator[Any]:
    """Try what the recipe's sweep names, and yield each choice (records.Tried); write them, best first, in the end.

    Raises WorkspaceBusyError, MissingInputError, DataError, ModelNotFoundError, and TrainingError where nothing can be
    trained.
    """
    from tuning_room.files import digest
    from tuning_room.records import write_json
    from tuning_room.train.config import SweepConfig
    from tuning_room.train.loop_config import LoopConfig
    from tuning_room.train.sweeping import judge_by, ranked
    from tuning_room.train.sweeping import sweep as swept

    loop = LoopConfig(**_settings(config, workspace)[0])
    judge = judge_by(
        config.checks, Path(loop.model_path), workspace.valid_rows, (config.sweep or SweepConfig()).prompts
    )
    found = []
    with workspace.locked():
        for tried in swept(config, loop, workspace.training / "sweep", judge):
            found.append(tried)
            yield tried
        # Of which rows this speaks: once they are others, a report says nothing of it.
        rows = digest(workspace.train_rows)
        write_json(workspace.sweep, {"rows": rows, "tried": [tried.model_dump() for tried in ranked(found)]})


def plan(config: TrainConfig, workspace: Workspace) -> Any:
    """Return what training will take (planning.Plan), by trying some steps; nothing is written.

    Raises MissingInputError, DataError, ModelNotFoundError, and TrainingError where the memory is not there.
    """
    started = time.perf_counter()
    from tempfile import TemporaryDirectory

    import training_hub  # noqa: F401  its import is a part of what training takes

    from tuning_room.train.loop_config import LoopConfig
    from tuning_room.train.planning import plan as planned

    settings, _ = _settings(config, workspace)
    with TemporaryDirectory() as place:
        return planned(LoopConfig(**{**settings, "ckpt_output_dir": place}), started)


def _result(trained: dict[str, Any], rows: int, digest: str) -> TrainResult:
    metrics = trained["metrics"]
    valid = [m.valid_loss for m in metrics if m.valid_loss is not None]
    return TrainResult(
        rows=rows - trained.get("left_out", 0),
        left_out=trained.get("left_out", 0),
        steps=metrics[-1].step,
        best_step=trained.get("best_step"),
        final_loss=sum(m.loss for m in metrics[-10:]) / len(metrics[-10:]),
        first_valid_loss=valid[0] if valid else None,
        valid_loss=(min(valid) if trained.get("best_step") else valid[-1]) if valid else None,
        trainable_parameters=sum(p.numel() for p in trained["model"].parameters() if p.requires_grad),
        adapter_digest=digest,
    )


STAGE = Stage("train", TrainResult, inputs, outputs, run)
