"""What a training does when something goes wrong: every fault here is real but the full disk and the missing memory."""

import errno
import math
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from training_rows import STEPS, Configure, dialogue

from tuning_room.errors import DataError, DivergedError, TrainingError
from tuning_room.models import load_adapter, load_model
from tuning_room.records import write_jsonl
from tuning_room.train import checkpoint
from tuning_room.train.checkpoint import BestAdapter
from tuning_room.train.config import TrainConfig
from tuning_room.train.faults import CALM, LossWatch
from tuning_room.train.loop import LoraTrainer

pytestmark = pytest.mark.usefixtures("one_thread")


def valid_losses(trainer: LoraTrainer) -> dict[int, float]:
    return {m.step: m.valid_loss for m in trainer.metrics.read() if m.valid_loss is not None}


# --- the best adapter


def validating(trainer: LoraTrainer, losses: list[float]) -> list[dict[str, torch.Tensor]]:
    """Let the validations give these losses, and return the weights at each of them."""
    seen: list[dict[str, torch.Tensor]] = []

    def validate() -> float:
        seen.append({name: parameter.detach().clone() for name, parameter in trainer.parameters.items()})
        return losses[len(seen) - 1]

    trainer.validate = validate  # type: ignore[method-assign]
    return seen


def test_training_returns_the_adapter_of_the_lowest_validation_loss(configure: Configure) -> None:
    trainer = LoraTrainer(configure(eval_steps=2))
    seen = validating(trainer, [4.0, 3.0, 2.0, 2.5, 2.2])
    trainer.train()
    assert trainer.best.found and trainer.best.found.step == 4
    kept = load_adapter(load_model(trainer.config.model_path), trainer.folder / "best")
    for name, parameter in trainer.parameters.items():
        assert torch.equal(parameter, seen[2][name]) and not torch.equal(parameter, seen[4][name])
        assert torch.equal(parameter, kept.get_parameter(name))


def test_training_stops_when_patience_is_over_and_stays_stopped(configure: Configure) -> None:
    config = configure(num_epochs=20, max_steps=40, eval_steps=2, patience=3, save_steps=1)
    trainer = LoraTrainer(config)
    validating(trainer, [4.0, 3.0, 3.5, 3.0, 3.2, 1.0])
    trainer.train()
    assert [metric.step for metric in trainer.metrics.read()][-1] == 8
    again = LoraTrainer(config)
    validating(again, [])
    again.train()
    assert len(again.metrics.read()) == 8 and again.best.found == trainer.best.found


@given(st.lists(st.floats(0, 9), max_size=12), st.integers(1, 4))
def test_patience_is_over_once_nothing_better_came_for_so_long(losses: list[float], patience: int) -> None:
    over = BestAdapter(Path("nowhere"), "", patience).is_patience_over(losses)
    since = len(losses) - 1 - losses.index(min(losses)) if losses else 0
    assert over == (since >= patience)
    assert not BestAdapter(Path("nowhere"), "", None).is_patience_over(losses)


def test_patience_ends_the_rows_and_not_the_last_phase(configure: Configure) -> None:
    last = {"on_policy_steps": 2, "on_policy_tokens": 3, "teacher_prompt": "Ask, and say nothing else."}
    trainer = LoraTrainer(configure(num_epochs=20, max_steps=40, eval_steps=2, patience=2, **last))
    validating(trainer, [4.0, 3.0, 3.5, 3.6, 9.0, 9.0])
    trainer.train()
    assert [metric.step for metric in trainer.metrics.read()] == [1, 2, 3, 4, 5, 6, 41, 42]
    assert trainer.best.found and trainer.best.found.step == 2


def test_a_validation_that_was_cut_off_is_made_up_for(configure: Configure) -> None:
    whole = LoraTrainer(configure("whole"))
    whole.train()
    trainer = LoraTrainer(configure())
    plain, calls = trainer.validate, [0]

    def cut_off() -> float:
        calls[0] += 1
        if calls[0] == 2:
            raise KeyboardInterrupt
        return plain()

    trainer.validate = cut_off  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    resumed = LoraTrainer(configure())
    resumed.train()
    assert valid_losses(resumed) == valid_losses(whole) and resumed.best.found == whole.best.found


def test_the_best_of_another_run_is_not_taken(configure: Configure) -> None:
    LoraTrainer(configure()).train()
    other = LoraTrainer(configure(seed=8, max_steps=1))
    other.train()
    assert other.best.found and other.best.found.step == 1


# --- losses


def test_a_loss_that_explodes_stops_training_and_says_what_is_kept(configure: Configure) -> None:
    trainer = LoraTrainer(configure(num_epochs=40, max_steps=100, learning_rate=40.0, warmup_steps=30))
    said = r"the loss (explodes, from|is nan).*lower train.learning_rate; the adapter of step \d+"
    with pytest.raises(TrainingError, match=said):
        trainer.train()
    assert len(trainer.metrics.read()) < 100
    load_adapter(load_model(trainer.config.model_path), trainer.folder / "best")


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_validation_loss_that_is_no_number_stops_training_too(configure: Configure, loss: float) -> None:
    trainer = LoraTrainer(configure(eval_steps=2))
    validating(trainer, [4.0, loss])
    kept = "lower train.learning_rate; the adapter of step 1"
    with pytest.raises(DivergedError, match=rf"step 2: the loss is {loss} on the validation rows; {kept}"):
        trainer.train()
    # The step itself was taken, and its line can be read.
    assert [(step.step, step.valid_loss) for step in trainer.metrics.read()] == [(1, 4.0), (2, None)]


@given(st.floats(0.01, 5), st.lists(st.floats(0, 20), min_size=1, max_size=60))
def test_only_losses_that_stay_high_are_an_explosion(first: float, losses: list[float]) -> None:
    watch, given_so_far = LossWatch(), [first]
    watch.check(1, first)
    for step, loss in enumerate(losses, start=2):
        given_so_far.append(loss)
        last = given_so_far[-CALM:]
        if len(last) == CALM and sum(last) / CALM > 3 * max(first, 1.0):
            with pytest.raises(TrainingError, match=f"step {step}: the loss explodes"):
                watch.check(step, loss)
            return
        watch.check(step, loss)


# --- the machine


def test_a_full_disk_is_said_and_the_checkpoint_before_stays(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, plain = LoraTrainer(configure()), checkpoint.save

    def full(folder: Path, parameters: Any, optimizer: Any, progress: Any) -> None:
        if progress.step > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(folder, parameters, optimizer, progress)

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(TrainingError, match="no space left on the disk; make room and run the same command again"):
        trainer.train()
    monkeypatch.undo()
    whole = LoraTrainer(configure("whole"))
    whole.train()
    resumed = LoraTrainer(configure())
    resumed.train()
    for name, parameter in resumed.parameters.items():
        assert torch.equal(parameter, whole.parameters[name])


def test_a_disk_that_is_really_full_is_said(configure: Configure) -> None:
    trainer = LoraTrainer(configure())
    room = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, room[1]))
        with pytest.raises(TrainingError, match="no space left on the disk"):
            trainer.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, room)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_signal_never_leaves_a_step_half_taken(configure: Configure) -> None:
    trainer = LoraTrainer(configure())
    plain, taken = trainer.optimizer.step, [0]

    def stepped(*given: Any) -> Any:
        found = plain(*given)
        taken[0] += 1
        if taken[0] == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return found

    trainer.optimizer.step = stepped  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert trainer.done == 4
    resumed, whole = LoraTrainer(configure()), LoraTrainer(configure("whole"))
    resumed.train()
    whole.train()
    for name, parameter in resumed.parameters.items():
        assert torch.equal(parameter, whole.parameters[name])


def test_missing_memory_is_said_with_the_setting_that_helps(configure: Configure) -> None:
    trainer = LoraTrainer(configure())

    def greedy(*given: Any) -> Any:
        return torch.empty(1 << 46)  # what torch says of memory that is not there

    trainer._loss = greedy  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"out of memory for a training step; lower train.batch_size"):
        trainer.train()


def test_sigterm_saves_a_checkpoint_as_ctrl_c_does(configure: Configure) -> None:
    def stop(metric: Any, steps: int) -> None:
        if metric.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    trainer = LoraTrainer(configure(on_step=stop))
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    resumed = LoraTrainer(configure())
    resumed.train()
    assert [metric.step for metric in resumed.metrics.read()] == list(range(1, STEPS + 1))
    assert resumed.metrics.read()[:2] == trainer.metrics.read()[:2]


# --- rows


def test_rows_that_are_too_long_are_left_out_and_counted_where_the_recipe_says_so(
    configure: Configure, rows: tuple[Path, Path]
) -> None:
    lengths = sorted(len(row.input_ids) for row in LoraTrainer(configure()).rows)
    most = lengths[9]
    with pytest.raises(DataError, match=r"set train.too_long to leave_out"):
        LoraTrainer(configure(max_seq_len=most))
    trainer = LoraTrainer(configure(max_seq_len=most, too_long="leave_out", eval_data_path=None))
    kept = [length for length in lengths if length <= most]
    assert sorted(len(row.input_ids) for row in trainer.rows) == kept
    assert trainer.lessons.left_out == len(lengths) - len(kept) > 0


def test_where_all_rows_are_too_long_that_is_said(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows of at most 16 tokens"):
        LoraTrainer(configure(max_seq_len=16, too_long="leave_out"))
    write_jsonl(tmp_path / "none.jsonl", [])
    with pytest.raises(DataError, match=r"none.jsonl: no rows;"):
        LoraTrainer(configure(data_path=str(tmp_path / "none.jsonl")))


def test_a_row_without_an_assistant_is_named(configure: Configure, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    asked = dialogue(3).model_copy(update={"messages": dialogue(3).messages[:2]})
    write_jsonl(path, [dialogue(1), asked])
    with pytest.raises(DataError, match="row 'r3' has no assistant turn"):
        LoraTrainer(configure(data_path=str(path)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sft": 0}, "nothing would be learned"),
        ({"distill": 1}, "need full_prompt"),
        ({"sft": 0, "on_policy_steps": 3}, "need full_prompt"),
        ({"quantize": "4bit"}, "needs backend: unsloth"),
        ({"backend": "foo"}, "backend"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_together_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TrainConfig(model="m", recipe="r", short_prompt="Ask.", **changes)


def test_modules_that_are_not_there_are_named(configure: Configure) -> None:
    with pytest.raises(TrainingError, match=r"train.target_modules: .*nope"):
        LoraTrainer(configure(target_modules=["nope"]))
    LoraTrainer(configure(target_modules="q_proj", skip_layers=1))


# --- going on from an adapter


def test_a_training_goes_on_from_an_adapter(configure: Configure, rows: tuple[Path, Path]) -> None:
    first = LoraTrainer(configure())
    first.train().save_pretrained(first.folder / "adapter", save_embedding_layers=False)
    start = first.validate()
    second = LoraTrainer(configure("second", start=str(first.folder / "adapter"), seed=9))
    assert second.validate() == pytest.approx(start, abs=1e-6)
    second.train()
    assert min(valid_losses(second).values()) <= start


def test_an_adapter_of_another_shape_is_refused(configure: Configure, tmp_path: Path) -> None:
    first = LoraTrainer(configure(max_steps=1))
    first.train().save_pretrained(first.folder / "adapter", save_embedding_layers=False)
    with pytest.raises(TrainingError, match=r"lora_A.weight is \(4, \d+\) there and \(2, \d+\) here"):
        LoraTrainer(configure("second", lora_r=2, start=str(first.folder / "adapter")))
    with pytest.raises(TrainingError, match="not a readable adapter"):
        LoraTrainer(configure("second", start=str(tmp_path)))
