"""The training loop: LoRA in fp32 on a CPU, loss on the assistant's tokens only."""

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tuning_room.errors import TrainingError
from tuning_room.files import digest
from tuning_room.models import limit_threads, load_model, load_tokenizer
from tuning_room.train import checkpoint
from tuning_room.train.batches import IGNORED, Batch, collate, epoch_order, load_rows
from tuning_room.train.metrics import Metric, MetricsFile

VALIDATION_ROWS = 16  # more rows would cost more time than they add certainty
VALIDATION_BATCH = 16  # rows at once: nothing is kept for a backward pass


@dataclass(frozen=True)
class LoopConfig:
    """What the loop needs, in Training Hub's names; lengths in tokens, steps in optimizer steps."""

    model_path: str
    data_path: str
    ckpt_output_dir: str
    eval_data_path: str | None = None
    lora_r: int = 16
    lora_alpha: int = 32
    target_modules: str | list[str] = "all-linear"
    skip_layers: int = 0
    num_epochs: int = 1
    effective_batch_size: int = 8
    learning_rate: float = 5e-4
    warmup_steps: int = 10
    max_seq_len: int = 1024
    save_steps: int = 20
    eval_steps: int = 25
    max_steps: int | None = None
    seed: int = 7
    on_step: Callable[[Metric, int], None] | None = field(default=None, compare=False)

    def fingerprint(self) -> str:
        """Return a digest of all that a step depends on: a checkpoint of another run is not resumed."""
        places = ("model_path", "ckpt_output_dir", "data_path", "eval_data_path", "on_step")
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in places}
        values |= {"model": digest(Path(self.model_path)), "data": digest(Path(self.data_path))}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class LoraTrainer:
    """Trains a LoRA adapter on a causal language model, and goes on where it was stopped."""

    def __init__(self, config: LoopConfig) -> None:
        import torch

        limit_threads()
        torch.manual_seed(config.seed)
        self.config = config
        self.tokenizer = load_tokenizer(Path(config.model_path))
        self.rows = load_rows(Path(config.data_path), self.tokenizer, config.max_seq_len)
        self.valid = self._valid_rows()
        self.model = self._with_adapter(load_model(Path(config.model_path)))
        self.parameters = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        learned = self.parameters.values()
        self.optimizer = torch.optim.AdamW(learned, lr=config.learning_rate, weight_decay=0.0, fused=True)
        self.plan = self._plan()
        self.done = 0
        self.folder = Path(config.ckpt_output_dir)
        self.metrics = MetricsFile(self.folder / "metrics.jsonl")

    def train(self) -> Any:
        """Train from the last checkpoint to the end and return the PEFT model.

        Raises TrainingError if the loss is no longer a number. Ctrl-C saves a checkpoint first.
        """
        fingerprint = self.config.fingerprint()
        self.done = checkpoint.load(self.folder / "checkpoint", self.parameters, self.optimizer, fingerprint)
        self.metrics.keep_until(self.done)
        try:
            for step in range(self.done + 1, len(self.plan) + 1):
                self._one_step(step)
                if step % self.config.save_steps == 0 or step == len(self.plan):
                    self._save(fingerprint)
        except KeyboardInterrupt:
            self._save(fingerprint)
            raise
        return self.model

    def _one_step(self, step: int) -> None:
        started = time.monotonic()
        rate = learning_rate(step, len(self.plan), self.config.warmup_steps, self.config.learning_rate)
        rows = self.plan[step - 1]
        loss, tokens = self.update(collate([self.rows[i] for i in rows]), rate)
        if not math.isfinite(loss):
            raise TrainingError(
                f"step {step}: the loss is {loss}", hint="lower train.learning_rate; the last checkpoint is kept"
            )
        # The weights are now those of this step: an interrupted validation does not undo it.
        self.done = step
        valid = None
        try:
            valid = self.validate() if self.validates_after(step) else None
        finally:
            seconds = time.monotonic() - started
            metric = Metric(step, loss, valid, rate, len(rows), tokens, round(seconds, 3))
            self.metrics.append(metric)
        if self.config.on_step:
            self.config.on_step(metric, len(self.plan))

    def update(self, batch: Batch, rate: float) -> tuple[float, int]:
        """Take an optimizer step at a learning rate, and return the loss in nats a token and the tokens computed."""
        import torch

        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        self.optimizer.step()
        return float(loss.detach()), int(batch.input_ids.numel())

    def _loss(self, batch: Batch) -> Any:
        """Return the mean cross entropy over the learned tokens; logits are made for those alone."""
        import torch

        base = self.model.get_base_model()
        seen = base.get_decoder()(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            packing=batch.packing,
            use_cache=False,
        )
        learned = batch.labels != IGNORED
        logits = base.get_output_embeddings()(seen.last_hidden_state[learned])
        return torch.nn.functional.cross_entropy(logits.float(), batch.labels[learned])

    def validate(self) -> float:
        """Return the loss on the validation rows, in nats a token; the mean over rows."""
        import torch

        total, size = 0.0, VALIDATION_BATCH
        self.model.eval()
        with torch.inference_mode():
            for start in range(0, len(self.valid), size):
                rows = self.valid[start : start + size]
                total += float(self._loss(collate(rows))) * len(rows)
        self.model.train()
        return total / len(self.valid)

    def validates_after(self, step: int) -> bool:
        """Say whether a step, counted from 1, is followed by a validation."""
        return bool(self.valid) and (step % self.config.eval_steps == 0 or step in (1, len(self.plan)))

    def _valid_rows(self) -> list[Any]:
        if not self.config.eval_data_path:
            return []
        rows = load_rows(Path(self.config.eval_data_path), self.tokenizer, self.config.max_seq_len)
        return sorted(rows[:VALIDATION_ROWS], key=lambda row: len(row.input_ids))

    def _with_adapter(self, model: Any) -> Any:
        from peft import LoraConfig, get_peft_model

        from tuning_room.train.packing import install

        install(model)
        config = LoraConfig(
            r=self.config.lora_r,
            lora_alpha=self.config.lora_alpha,
            task_type="CAUSAL_LM",
            **self._targets(model),
        )
        return get_peft_model(model, config).train()

    def _targets(self, model: Any) -> dict[str, Any]:
        """Return PEFT's arguments that say which modules of which layers get an adapter."""
        modules, skipped, count = self.config.target_modules, self.config.skip_layers, model.config.num_hidden_layers
        if not skipped:
            return {"target_modules": modules}
        if skipped >= count:
            raise TrainingError(f"train.skip_layers is {skipped}, but the model has {count} layers")
        if modules == "all-linear":
            modules = linear_modules(model)
        return {"target_modules": modules, "layers_to_transform": list(range(skipped, count))}

    def _plan(self) -> list[list[int]]:
        lengths = [len(row.input_ids) for row in self.rows]
        size, seed = self.config.effective_batch_size, self.config.seed
        steps = [b for epoch in range(self.config.num_epochs) for b in epoch_order(lengths, size, seed, epoch)]
        return steps[: self.config.max_steps]

    def _save(self, fingerprint: str) -> None:
        if self.done > 0:
            progress = checkpoint.Progress(self.done, fingerprint)
            checkpoint.save(self.folder / "checkpoint", self.parameters, self.optimizer, progress)


def linear_modules(model: Any) -> list[str]:
    """Return the names of a model's linear modules, the output layer left out."""
    from torch.nn import Linear

    output = model.get_output_embeddings()
    found = {name.rsplit(".", 1)[-1] for name, m in model.named_modules() if isinstance(m, Linear) and m is not output}
    return sorted(found)


def learning_rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Return the rate of a step counted from 1: a linear rise to `peak`, then half a cosine to a tenth of it."""
    if step <= warmup:
        return peak * step / warmup
    along = (step - warmup) / max(1, steps - warmup)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * along)))
