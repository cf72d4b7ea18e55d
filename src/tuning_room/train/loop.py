"""The training loop: LoRA in fp32 or bf16, on a CPU or a GPU, loss on the assistant's tokens only."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from tuning_room.errors import DataError
from tuning_room.models import device, limit_threads, load_model, load_tokenizer
from tuning_room.models.attention import accepted
from tuning_room.records import TrainingStep
from tuning_room.rendering import Rendered
from tuning_room.train import checkpoint
from tuning_room.train.adapter import with_adapter
from tuning_room.train.batches import IGNORED, Batch, attend_packed, collate, epoch_order, padded
from tuning_room.train.checkpoint import BestAdapter
from tuning_room.train.config import LoopConfig
from tuning_room.train.faults import LossWatch, explained, stopped_by_signals
from tuning_room.train.lessons import Lessons, NeutralRows
from tuning_room.train.metrics import MetricsFile
from tuning_room.train.objectives import cross_entropy, forward_divergence, joined, reverse_divergence
from tuning_room.train.team import Team

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor

    from tuning_room.engines.scoring import TopTokens

VALIDATION_BATCH = 16  # rows at once: nothing is kept for a backward pass
ON_POLICY_EPOCH = 1 << 20  # an order of the rows that no epoch has


class LoraTrainer:
    """Trains a LoRA adapter on a causal language model, and resumes where it was stopped."""

    def __init__(self, config: LoopConfig) -> None:
        import torch

        limit_threads()
        self.device = device()
        torch.manual_seed(config.seed)
        self.config, self.team = config, Team()
        self.folder = config.ckpt_output_dir
        self.tokenizer = load_tokenizer(config.model_path)
        self.lessons = Lessons(config, self.tokenizer, self.team)
        self.rows, self.valid = self.lessons.rows, self.lessons.valid
        base = load_model(config.model_path, self.device, config.precision)
        self.unpacked = attend_packed(base)
        self._accepted = accepted(base)
        self.model = with_adapter(base, config)
        self.parameters = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        learned = self.parameters.values()
        self.optimizer = torch.optim.AdamW(learned, lr=config.learning_rate, weight_decay=0.0, fused=True)
        self.plan = self._plan()
        self.done = 0
        self.metrics = MetricsFile(self.folder / "metrics.jsonl")
        self.watch = LossWatch()
        self.losses: list[float] = []
        self.best = BestAdapter(self.folder / "best", config.fingerprint(), config.patience)

    def train(self) -> "PeftModel":
        """Train from the last checkpoint to the end and return the PEFT model, with its best weights.

        After a last phase on its own replies these are the last ones.

        Raises DivergedError if the loss is NaN or explodes, and TrainingError where memory or the disk is full; what
        was best is kept then. Ctrl-C and SIGTERM save a checkpoint first.
        """
        fingerprint = self.config.fingerprint()
        self.done = checkpoint.load(self.folder / checkpoint.CHECKPOINT, self.parameters, self.optimizer, fingerprint)
        self.metrics.keep_until(self.done)
        self.team.meet()  # nobody takes a step before all have read the earlier ones
        try:
            with explained(self.folder, self.best.what_is_kept), stopped_by_signals() as stop:
                self._resume()
                for step in self._steps():
                    self._one_step(step)
                    if step % self.config.save_every == 0 or step == len(self.plan):
                        self._save(fingerprint)
                    stop.between_steps()
        except KeyboardInterrupt:
            self._save(fingerprint)
            raise
        if self.team.leads:
            self.metrics.settle()
        return self.best.restore(self.model) if self.best_step and self.team.leads else self.model

    @property
    def best_step(self) -> int | None:
        """The step whose weights training returns; None where these are the last ones.

        The last phase has another aim than the validation loss: what was best before it would undo it.
        """
        return self.best.found.step if self.best.found and self.done <= self.offline_steps else None

    def _resume(self) -> None:
        """Pick up what is kept of the steps that were taken before, and make up for a validation that was cut off."""
        steps = self.metrics.read()
        last = steps[-1].step if steps else 0
        if last != self.done:
            raise DataError(
                f"{self.metrics.path}: ends at step {last}, but the checkpoint is of step {self.done}",
                hint=f"delete {self.folder / checkpoint.CHECKPOINT} to train from the beginning",
            )
        self.losses = self.best.begin(steps)
        self.watch.recall(step.loss for step in steps)
        if steps and steps[-1].valid_loss is None and self.validates_after(self.done):
            valid = self._validated(self.done)
            if self.team.leads:
                self.metrics.replace([*steps[:-1], steps[-1].model_copy(update={"valid_loss": valid})])

    def _steps(self) -> Iterator[int]:
        """Yield the steps that are still to be taken; patience ends those on the rows, not the last phase."""
        for step in range(self.done + 1, len(self.plan) + 1):
            if step > self.offline_steps or not self.best.is_patience_over(self.losses):
                yield step

    def _one_step(self, step: int) -> None:
        """Take a step, validate if it is time, and report it."""
        started = time.monotonic()
        rate = self._rate(step)
        rows = self.plan[step - 1]
        loss, tokens = self.update(rows, rate, on_policy=step > self.offline_steps)
        self.watch.check(step, loss)
        # The weights are now those of this step: an interrupted validation does not undo it.
        self.done = step
        valid = None
        try:
            valid = self._validated(step) if self.validates_after(step) else None
        finally:
            self._report(
                TrainingStep(
                    step=step,
                    loss=loss,
                    valid_loss=valid,
                    learning_rate=rate,
                    rows=len(rows),
                    tokens=tokens,
                    seconds=round(time.monotonic() - started, 3),
                )
            )

    def _validated(self, step: int) -> float:
        """Return the validation loss after a step, and keep the adapter if it is the best one so far."""
        valid = self.validate()
        self.watch.check_validation(step, valid)
        if step <= self.offline_steps:
            self.losses.append(valid)
            if self.team.leads:
                self.best.offer(self.model, step, valid)
        return valid

    def _report(self, step: TrainingStep) -> None:
        if self.team.leads:
            self.metrics.append(step)
            if self.config.on_step:
                self.config.on_step(step, len(self.plan))

    def _rate(self, step: int) -> float:
        config, offline = self.config, self.offline_steps
        if step > offline:
            return config.learning_rate * config.on_policy_rate
        return learning_rate(step, offline, config.warmup(offline), config.learning_rate)

    def update(self, places: Sequence[int], rate: float, *, on_policy: bool = False) -> tuple[float, int]:
        """Take an optimizer step on rows at a learning rate.

        Returns the loss in nats per token and the number of tokens computed.
        """
        import torch

        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        share = self.team.share(places)
        loss, tokens = self._on_own_replies(share) if on_policy else self._on_rows(share)
        if self.lessons.neutral:
            tokens += self._on_neutral_rows(self.lessons.neutral)
        for parameter in self.parameters.values():
            if parameter.grad is None:  # that of an expert which no token was sent to
                parameter.grad = torch.zeros_like(parameter)
        self.team.sum_gradients(self.parameters.values())
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        self.optimizer.step()
        return self.team.total(loss), round(self.team.total(tokens))

    def _on_rows(self, places: Sequence[int]) -> tuple[float, int]:
        tops = [self.lessons.tops[i] for i in places] if self.lessons.tops else []
        return self._backward([self.rows[i] for i in places], lambda batch: self._loss(batch, tops))

    def _on_own_replies(self, places: Sequence[int]) -> tuple[float, int]:
        """Add the gradient of what the teacher thinks of the model's own replies to some rows."""
        assert self.lessons.on_policy
        if not places:
            return self._backward([], lambda batch: batch.labels)
        seed = self.config.seed + 1000 * self.done + self.team.rank
        own = self.lessons.on_policy.draw(self.model, places, seed)

        def judged(batch: Batch) -> "Tensor":
            return reverse_divergence(self._scores(batch)[0], joined(own.tops, self.device), self.config.on_policy_clip)

        return self._backward(own.rows, judged)

    def _on_neutral_rows(self, neutral: NeutralRows) -> int:
        """Add the gradient of what must not change, and return the number of tokens computed."""
        chosen = self.team.share(neutral.chosen(self.done + 1, self.config.retention_rows, self.config.seed))
        tops = [neutral.tops[i] for i in chosen]

        def moved(batch: Batch) -> "Tensor":
            return self.config.retention * forward_divergence(self._scores(batch)[0], joined(tops, self.device))

        return self._backward([neutral.rendered[i] for i in chosen], moved)[1]

    def _backward(self, rows: Sequence[Rendered], loss_of: "Callable[[Batch], Tensor]") -> tuple[float, int]:
        """Add the gradient of a mean loss over the learned tokens of rows, all processes' together."""
        learned = sum(sum(row.learned) for row in rows)
        share = learned / self.team.total(learned)
        if not rows:
            return 0.0, 0
        batch = self.batch(rows)
        loss = loss_of(batch) * share
        loss.backward()
        return float(loss.detach()), int(batch.input_ids.numel())

    def batch(self, rows: Sequence[Rendered]) -> Batch:
        """Return rows as one batch on the model's device: packed, or padded where `unpacked` says why not."""
        return (padded(rows) if self.unpacked else collate(rows)).to(self.device)

    def _scores(self, batch: Batch) -> "tuple[Tensor, Tensor]":
        """Return the scores at the m learned tokens, (m, vocabulary), made for those alone, and the tokens, (m,)."""
        learned = batch.labels != IGNORED
        # By the model's own last steps: some scale or cap what their output layer gives.
        places = learned.any(0).nonzero()[:, 0]
        named: dict[str, object] = {"logits_to_keep": places} if "logits_to_keep" in self._accepted else {}
        with self._products():
            scores = self.model.get_base_model()(**batch.arguments(), use_cache=False, **named).logits
        kept = learned[:, places]
        return (scores if named else scores[:, places])[kept].float(), batch.labels[learned]

    def _products(self) -> "AbstractContextManager[object]":
        """Have products in bf16 where the recipe asks for it, those with the adapter's fp32 weights too."""
        import torch

        if self.config.precision == "fp32":
            return nullcontext()
        in_bf16: AbstractContextManager[object] = torch.autocast(self.device, torch.bfloat16)
        return in_bf16

    def _loss(self, batch: Batch, tops: "Sequence[TopTokens]" = ()) -> "Tensor":
        """Return the mean loss over the learned tokens: cross entropy, and the divergence from a teacher if given."""
        scores, tokens = self._scores(batch)
        parts = []
        if self.config.sft:
            parts.append(self.config.sft * cross_entropy(scores, tokens))
        if tops:
            parts.append(self.config.distill * forward_divergence(scores, joined(tops, self.device)))
        return sum(parts)

    def validate(self) -> float:
        """Return the loss on the validation rows, in nats per token."""
        import torch

        total, size = 0.0, VALIDATION_BATCH
        self.model.eval()
        with torch.inference_mode():
            for start in range(0, len(self.valid), size):
                rows, tops = self.valid[start : start + size], self.lessons.valid_tops[start : start + size]
                total += float(self._loss(self.batch(rows), tops)) * len(rows)
        self.model.train()
        return total / len(self.valid)

    def validates_after(self, step: int) -> bool:
        """Return whether a step, counted from 1, is followed by a validation."""
        return bool(self.valid) and (step % self.config.validate_every == 0 or step in (1, len(self.plan)))

    def _plan(self) -> list[list[int]]:
        lengths = [len(row.input_ids) for row in self.rows]
        size, seed = self.config.batch_size, self.config.seed
        # Without a weight on the rows nothing is learned from them but on the model's own replies.
        epochs = range(self.config.epochs if self.config.sft or self.config.distill else 0)
        steps = [b for epoch in epochs for b in epoch_order(lengths, size, seed, epoch)]
        steps = steps[: self.config.max_steps]
        self.offline_steps = len(steps)
        wanted, more = self.config.on_policy_steps, list[list[int]]()
        while len(more) < wanted:
            more += epoch_order(lengths, size, seed, ON_POLICY_EPOCH + len(more))
        return steps + more[:wanted]

    def _save(self, fingerprint: str) -> None:
        if self.done > 0 and self.team.leads:
            progress = checkpoint.Progress(self.done, fingerprint)
            checkpoint.save(self.folder / checkpoint.CHECKPOINT, self.parameters, self.optimizer, progress)


def learning_rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Return the rate of a step counted from 1: a linear rise to `peak`, then half a cosine to a tenth of it."""
    if step <= warmup:
        return peak * step / warmup
    along = (step - warmup) / max(1, steps - warmup)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * along)))
