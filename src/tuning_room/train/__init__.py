"""Train: accepted dialogues into a LoRA adapter, through Training Hub."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tuning_room.train.config import LoopConfig, SweepConfig, TrainConfig
from tuning_room.workspace import Stage, StageResult, Workspace

if TYPE_CHECKING:
    from tuning_room.records import Tried
    from tuning_room.train.adapter import WrittenAdapter
    from tuning_room.train.backend import Trained
    from tuning_room.train.planning import Plan


class TrainResult(StageResult):
    """What came of training: losses in nats per token. `path` says why rows were padded, not packed, '' if packed."""

    rows: int
    left_out: int = 0
    steps: int
    best_step: int | None = None
    final_loss: float
    first_valid_loss: float | None
    valid_loss: float | None
    trainable_parameters: int
    adapter_digest: str
    probes: int = 0
    probes_error: str | None = None
    mlflow_run: str | None = None
    mlflow_error: str | None = None
    path: str = ""


def inputs(config: TrainConfig, workspace: Workspace) -> list[Path]:
    """Return what training reads."""
    teacher = [config.full_prompt] if config.full_prompt and config.needs_teacher else []
    neutral = [config.retention_prompts] if config.retention else []
    start = [config.start] if config.start else []
    return [workspace.train_rows, workspace.valid_rows, *teacher, *neutral, *start]


def outputs(workspace: Workspace) -> list[Path]:
    """Return what training writes."""
    return [workspace.adapter, workspace.metrics]


def run(config: TrainConfig, workspace: Workspace) -> TrainResult:
    """Train an adapter on `dataset/train.jsonl` and write it to `adapter/`.

    Raises MissingInputError, DataError, ModelNotFoundError and TrainingError.
    """
    from tuning_room.train.adapter import write_adapter

    trained = _trained(config, workspace)
    written = write_adapter(trained.model, trained.tokenizer, config, workspace)
    return _result(trained, written).model_copy(update=_tracked(config, workspace))


def assist(config: TrainConfig, workspace: Workspace) -> None:
    """Train beside the process that leads and write nothing, as every other process of a team does in place of run."""
    _trained(config, workspace)


def _trained(config: TrainConfig, workspace: Workspace) -> "Trained":
    from tuning_room.progress import ProgressBar
    from tuning_room.train.backend import trained
    from tuning_room.train.metrics import LiveCurve

    loop = loop_config(config, workspace)
    with ProgressBar("train", None) as bar:
        shown = LiveCurve(bar)
        return trained(config.backend, loop, shown.show, shown.prepare)


def loop_config(config: TrainConfig, workspace: Workspace) -> LoopConfig:
    """Return a recipe's training as a backend runs it; the base model is downloaded or converted if need be."""
    from tuning_room.models import limit_threads, resolve

    limit_threads()
    valid = workspace.valid_rows
    teacher = config.full_prompt if config.needs_teacher else None
    places = {
        "model_path": resolve(config.model),
        "data_path": workspace.train_rows,
        "eval_data_path": valid if valid.is_file() and valid.stat().st_size else None,
        "ckpt_output_dir": workspace.training,
        # A plan and a sweep keep the base model's predictions in the same place, and training need not ask again.
        "targets_dir": workspace.training / "targets",
    }
    prompts = {
        "teacher_prompt": teacher.read_text(encoding="utf-8-sig").strip() if teacher else "",
        "short_prompt": config.short_prompt if config.retention else "",
    }
    return LoopConfig.model_validate({**config.knobs(), **places, **prompts})


def _tracked(config: TrainConfig, workspace: Workspace) -> dict[str, str]:
    """Log the training to MLflow if the recipe asks for it; a server that is not there costs no training."""
    from tuning_room.errors import TuningRoomError
    from tuning_room.train.tracking import track

    if not config.mlflow:
        return {}
    try:
        return {"mlflow_run": track(config, workspace)}
    except TuningRoomError as error:
        return {"mlflow_error": str(error)}


def _result(trained: "Trained", written: "WrittenAdapter") -> TrainResult:
    steps = trained.steps
    valid = [step.valid_loss for step in steps if step.valid_loss is not None]
    return TrainResult(
        rows=trained.rows,
        left_out=trained.left_out,
        steps=steps[-1].step,
        best_step=trained.best_step,
        final_loss=sum(step.loss for step in steps[-10:]) / len(steps[-10:]),
        first_valid_loss=valid[0] if valid else None,
        valid_loss=(min(valid) if trained.best_step else valid[-1]) if valid else None,
        trainable_parameters=sum(p.numel() for p in trained.model.parameters() if p.requires_grad),
        adapter_digest=written.digest,
        probes=written.probes.number,
        probes_error=written.probes.error,
        path=f"trained in padded rows, not packed ones: {trained.unpacked}" if trained.unpacked else "",
    )


def sweep(config: TrainConfig, workspace: Workspace) -> "Iterator[Tried]":
    """Try what the recipe's sweep names, yielding each combination, and write them, best first, in the end.

    Raises WorkspaceBusyError, MissingInputError, DataError, ModelNotFoundError, and TrainingError where nothing can be
    trained.
    """
    from tuning_room.files import digest
    from tuning_room.records import Sweep, write_json
    from tuning_room.train.sweeping import judge_by, ranked
    from tuning_room.train.sweeping import sweep as swept

    loop = loop_config(config, workspace)
    prompts = (config.sweep or SweepConfig()).prompts
    judge = judge_by(config.checks, loop.model_path, workspace.valid_rows, prompts)
    found = []
    with workspace.locked():
        for tried in swept(config, loop, workspace.training / "sweep", judge):
            found.append(tried)
            yield tried
        # On which rows it was tried: once they have changed, a report leaves it out.
        done = Sweep(rows=digest(workspace.train_rows), tried=ranked(found))
        write_json(workspace.sweep, done.model_dump(mode="json"))


def plan(config: TrainConfig, workspace: Workspace) -> "Plan":
    """Return what training will take, by trying some steps; nothing is written.

    Raises MissingInputError, DataError, ModelNotFoundError, and TrainingError where there is not enough memory.
    """
    started = time.perf_counter()
    from tempfile import TemporaryDirectory

    import training_hub  # noqa: F401  its import is a part of what training takes

    from tuning_room.train.planning import plan as planned

    loop = loop_config(config, workspace)
    with TemporaryDirectory() as place:
        return planned(loop.model_copy(update={"ckpt_output_dir": Path(place)}), started)


STAGE = Stage("train", TrainResult, inputs, outputs, run)
