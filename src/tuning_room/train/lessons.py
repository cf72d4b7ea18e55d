"""What a training learns from: the rows, what a teacher says of them, what must not change, and its own replies."""

from pathlib import Path
from typing import Any

from tuning_room.train.batches import Rows, load_rows
from tuning_room.train.loop_config import LoopConfig
from tuning_room.train.neutral import NeutralRows, neutral_rows
from tuning_room.train.on_policy import OnPolicy
from tuning_room.train.targets import Targets
from tuning_room.train.team import Team

VALIDATION_ROWS = 16  # more rows would cost more time than they add certainty


class Lessons:
    """Rows and validation rows as tokens, the validation rows by length; and beside them what the objectives need.

    `tops` and `valid_tops` are the teacher's predictions, empty without distillation; `neutral` and `on_policy` are
    None where they are not asked for. The base model is asked for what is not kept from before.
    """

    def __init__(self, config: LoopConfig, tokenizer: Any, team: Team) -> None:
        self.config, self.tokenizer = config, tokenizer
        given = self._load(config.data_path)
        held_out = self._load(config.eval_data_path, VALIDATION_ROWS) if config.eval_data_path else Rows([], [])
        order = sorted(range(len(held_out.rendered)), key=lambda i: len(held_out.rendered[i].input_ids))
        held_out = Rows([held_out.dialogues[i] for i in order], [held_out.rendered[i] for i in order])
        self.dialogues, self.rows, self.left_out = given
        self.valid = held_out.rendered
        place = Path(config.targets_dir or Path(config.ckpt_output_dir) / "targets")
        targets = Targets(place, Path(config.model_path), tokenizer, team, config.on_prepare)
        self.tops, self.valid_tops = ([*self._taught(targets, rows)] for rows in (given, held_out))
        self.neutral = self._neutral(targets)
        self.on_policy = self._on_policy(targets, given)
        targets.release()  # a last phase comes late: until then the memory holds one model, not two

    def _load(self, path: str, most: int | None = None) -> Rows:
        config = self.config
        return load_rows(Path(path), self.tokenizer, config.max_seq_len, leave_out=config.leave_out_too_long, most=most)

    def _taught(self, targets: Targets, rows: Rows) -> list[Any]:
        if not self.config.distill_weight:
            return []
        return targets.taught(rows.rendered, rows.dialogues, self.config.full_prompt)

    def _neutral(self, targets: Targets) -> NeutralRows | None:
        if not self.config.retention_weight:
            return None
        return neutral_rows(Path(self.config.retention_prompts), targets, self.config.retention_under)

    def _on_policy(self, targets: Targets, rows: Rows) -> OnPolicy | None:
        if not self.config.on_policy_steps:
            return None
        return OnPolicy(targets, rows.dialogues, self.config.full_prompt, self.config.on_policy_tokens)
