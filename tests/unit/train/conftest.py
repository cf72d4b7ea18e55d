"""Rows of a few words, and a training on them that takes a second: what the tests of training share."""

from pathlib import Path
from typing import Any

import pytest
from training_rows import STEPS, Configure, dialogue

from tuning_room.records import write_jsonl
from tuning_room.train.config import LoopConfig, TrainConfig
from tuning_room.workspace import Workspace


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files of rows to train on and of others to validate with."""
    folder = tmp_path_factory.mktemp("rows")
    write_jsonl(folder / "train.jsonl", [dialogue(n) for n in range(14)])
    write_jsonl(folder / "valid.jsonl", [dialogue(n) for n in range(20, 25)])
    return folder / "train.jsonl", folder / "valid.jsonl"


@pytest.fixture
def configure(tiny_model: Path, rows: tuple[Path, Path], tmp_path: Path) -> Configure:
    """Return a function that makes a configuration with some values changed."""

    def configured(folder: str = "out", **changes: Any) -> LoopConfig:
        given: dict[str, Any] = {
            "model_path": str(tiny_model),
            "data_path": str(rows[0]),
            "eval_data_path": str(rows[1]),
            "ckpt_output_dir": str(tmp_path / folder),
            "lora_r": 4,
            "lora_alpha": 8,
            "num_epochs": 2,
            "effective_batch_size": 4,
            "learning_rate": 5e-3,
            "warmup_steps": 2,
            "save_steps": 3,
            "eval_steps": 4,
            "max_steps": STEPS,
        }
        return LoopConfig.from_hub({**given, **changes})

    return configured


@pytest.fixture
def stage(tiny_model: Path, rows: tuple[Path, Path], tmp_path: Path) -> tuple[TrainConfig, Workspace]:
    """A training and its run folder with a dataset."""
    workspace = Workspace(tmp_path / "run")
    workspace.train_rows.parent.mkdir(parents=True)
    workspace.train_rows.write_bytes(rows[0].read_bytes())
    workspace.valid_rows.write_bytes(rows[1].read_bytes())
    config = TrainConfig(model=str(tiny_model), recipe="r", short_prompt="Ask.", rank=4, alpha=8, batch_size=4, seed=1)
    return config, workspace
