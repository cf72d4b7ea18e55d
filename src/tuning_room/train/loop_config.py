"""What the training loop is told, in Training Hub's names where it has one."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tuning_room.files import digest

OUTPUTS = ("ckpt_output_dir", "targets_dir")
PLACES = ("model_path", "data_path", "eval_data_path", "start_adapter", "retention_prompts")
NOT_LEARNED = ("on_step", "on_prepare", "save_steps")


@dataclass(frozen=True)
class LoopConfig:
    """What the loop needs; lengths in tokens, steps in optimizer steps. config.py says what each is for."""

    model_path: str
    data_path: str
    ckpt_output_dir: str
    targets_dir: str = ""
    eval_data_path: str | None = None
    lora_r: int = 16
    lora_alpha: int = 32
    target_modules: str | list[str] = "all-linear"
    skip_layers: int = 0
    start_adapter: str | None = None
    num_epochs: int = 1
    effective_batch_size: int = 8
    learning_rate: float = 5e-4
    warmup_steps: int = 10
    max_seq_len: int = 1024
    leave_out_too_long: bool = False
    save_steps: int = 20
    eval_steps: int = 25
    max_steps: int | None = None
    patience: int | None = None
    seed: int = 7
    sft_weight: float = 1.0
    distill_weight: float = 0.0
    retention_weight: float = 0.0
    retention_prompts: str = ""
    retention_rows: int = 1
    retention_under: str = ""
    on_policy_steps: int = 0
    on_policy_tokens: int = 48
    on_policy_clip: float = 4.0
    on_policy_rate: float = 0.1
    full_prompt: str = ""
    on_step: Callable[[Any, int], None] | None = field(default=None, compare=False)
    on_prepare: Callable[[str, int, int], None] | None = field(default=None, compare=False)

    def fingerprint(self) -> str:
        """Return a digest of all that a step depends on: a checkpoint of another run is not resumed."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in PLACES + OUTPUTS + NOT_LEARNED}
        read = {name: getattr(self, name) for name in PLACES}
        values |= {name: digest(Path(place)) if place else "" for name, place in read.items()}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
