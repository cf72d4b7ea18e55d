"""Rows of a few words, and a training on them that takes a second: what the tests of training share."""

from pathlib import Path
from typing import Any

import pytest
from training_rows import STEPS, Configure, dialogue

from tuning_room.records import write_jsonl
from tuning_room.train.loop_config import LoopConfig


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
        return LoopConfig(**{**given, **changes})

    return configured
