"""Training on a Llama of two random layers. Real here: torch, PEFT, transformers, Training Hub, the files.

Not real: the model knows nothing. A falling loss shows that learning works, not that anything useful is learned.
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from training_rows import STEPS, Configure, assert_equal, dialogue

from drawn_adapters import stated_digest
from tuning_room import train
from tuning_room.errors import MissingInputError, ModelNotFoundError, TrainingError
from tuning_room.files import digest
from tuning_room.models import load_adapter, load_model
from tuning_room.models.lineage import AdapterLineage
from tuning_room.records import TrainingStep, write_jsonl
from tuning_room.train.adapter import card
from tuning_room.train.backend import NAME, CpuLoraBackend, register
from tuning_room.train.batches import IGNORED, collate
from tuning_room.train.config import TrainConfig
from tuning_room.train.loop import LoraTrainer, learning_rate
from tuning_room.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")

PAD = 258


def weights(trainer: LoraTrainer) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trainer.parameters.items()}


def timeless(metrics: list[TrainingStep]) -> list[TrainingStep]:
    return [metric.model_copy(update={"seconds": 0.0}) for metric in metrics]


# --- the learning rate


@given(st.integers(1, 500), st.integers(0, 100), st.floats(1e-6, 1))
def test_the_rate_rises_to_its_peak_and_falls_to_a_tenth(steps: int, warmup: int, peak: float) -> None:
    rates = [learning_rate(step, steps, warmup, peak) for step in range(1, steps + 1)]
    assert all(0 < rate <= peak * (1 + 1e-9) for rate in rates)
    rising, falling = rates[:warmup], rates[max(0, warmup - 1) :]
    assert rising == sorted(rising) and falling == sorted(falling, reverse=True)
    if steps > warmup:
        assert math.isclose(rates[-1], peak / 10)
        assert warmup == 0 or math.isclose(rates[warmup - 1], peak)


# --- the loss


def test_loss_and_gradient_are_those_of_transformers_on_padded_rows(configure: Configure) -> None:
    trainer = LoraTrainer(configure(max_steps=2))
    model = trainer.train().eval()
    chosen = trainer.rows[:5]
    shape = (len(chosen), max(len(row.input_ids) for row in chosen))
    ids, labels = torch.full(shape, PAD), torch.full(shape, IGNORED)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(chosen):
        learned = torch.tensor(row.learned)
        ids[i, : len(row.input_ids)] = torch.tensor(row.input_ids)
        labels[i, : len(row.input_ids)] = torch.where(learned, torch.tensor(row.input_ids), IGNORED)
        mask[i, : len(row.input_ids)] = 1
    ours = gradients(trainer, trainer._loss(collate(chosen)))
    theirs = gradients(trainer, model(input_ids=ids, attention_mask=mask, labels=labels).loss)
    assert ours.keys() == theirs.keys() == {"loss", *trainer.parameters}
    for name, value in ours.items():
        assert torch.allclose(value, theirs[name], rtol=1e-4, atol=1e-6), name


def gradients(trainer: LoraTrainer, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    trainer.optimizer.zero_grad()
    loss.backward()
    found = {name: p.grad.clone() for name, p in trainer.parameters.items() if p.grad is not None}
    return {"loss": loss.detach(), **found}


def test_a_packed_batch_has_the_loss_of_its_rows(configure: Configure) -> None:
    trainer = LoraTrainer(configure(max_steps=2))
    trainer.train().eval()
    chosen = sorted(trainer.rows, key=lambda row: len(row.input_ids))[::4]
    assert len({len(row.input_ids) for row in chosen}) > 2
    with torch.inference_mode():
        together = float(trainer._loss(collate(chosen)))
        singly = [float(trainer._loss(collate([row]))) * sum(row.learned) for row in chosen]
    assert together == pytest.approx(sum(singly) / sum(sum(row.learned) for row in chosen), abs=1e-5)


def test_only_the_adapter_gets_a_gradient(configure: Configure) -> None:
    trainer = LoraTrainer(configure())
    assert trainer.parameters and all("lora_" in name for name in trainer.parameters)
    assert not any("embed" in name or "lm_head" in name for name in trainer.parameters)
    assert {name.split(".")[4] for name in trainer.parameters} == {"0", "1"}


def test_lower_layers_can_be_left_without_an_adapter(configure: Configure) -> None:
    trainer = LoraTrainer(configure(skip_layers=1))
    kinds = {name.split(".")[6] for name in trainer.parameters}
    assert {name.split(".")[4] for name in trainer.parameters} == {"1"}
    assert kinds == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    with pytest.raises(TrainingError, match="2 layers"):
        LoraTrainer(configure(skip_layers=2))


# --- the loop


def test_the_loss_falls(configure: Configure) -> None:
    trainer = LoraTrainer(configure(num_epochs=8, max_steps=30, learning_rate=2e-2))
    trainer.train()
    metrics = trainer.metrics.read()
    assert [metric.step for metric in metrics] == list(range(1, 31))
    assert sum(m.loss for m in metrics[-4:]) / 4 < sum(m.loss for m in metrics[:4]) / 4 - 1
    valid = {m.step: m.valid_loss for m in metrics if m.valid_loss is not None}
    assert sorted(valid) == [1, *range(4, 29, 4), 30]
    assert valid[30] < valid[1] - 1
    assert all(m.learning_rate == learning_rate(m.step, 30, 2, 2e-2) for m in metrics)


def test_the_same_configuration_gives_the_same_weights(configure: Configure) -> None:
    first, second = LoraTrainer(configure("a")), LoraTrainer(configure("b"))
    first.train(), second.train()
    assert_equal(weights(first), weights(second))
    other = LoraTrainer(configure("c", seed=8))
    other.train()
    assert any(not torch.equal(weights(first)[name], weights(other)[name]) for name in weights(first))


def interrupt() -> None:
    raise KeyboardInterrupt


def stopping_in(trainer: LoraTrainer, method: str, step: int) -> None:
    """Have Ctrl-C come in the middle of a step, when a method of the trainer is called."""
    plain = getattr(trainer, method)

    def stop(*given: Any) -> Any:
        in_step = len(trainer.metrics.read()) + 1
        return interrupt() if in_step == step else plain(*given)

    setattr(trainer, method, stop)


@pytest.mark.parametrize(
    ("method", "step", "kept"),
    [("_loss", 3, 2), ("_loss", 6, 5), ("validate", 4, 4), ("validate", 1, 1), ("on_step", 5, 5), ("_loss", 1, 0)],
)
def test_stopped_by_ctrl_c_and_resumed_equals_uninterrupted(
    configure: Configure, method: str, step: int, kept: int
) -> None:
    whole = LoraTrainer(configure("whole"))
    whole.train()
    heard = (lambda metric, steps: interrupt() if metric.step == step else None) if method == "on_step" else None
    stopped = LoraTrainer(configure("parts", on_step=heard))
    if method != "on_step":
        stopping_in(stopped, method, step)
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    saved = stopped.folder / "checkpoint" / "progress.json"
    assert (json.loads(saved.read_text(encoding="utf-8"))["step"] if saved.exists() else 0) == kept
    resumed = LoraTrainer(configure("parts"))
    resumed.train()
    assert_equal(weights(whole), weights(resumed))
    assert timeless(resumed.metrics.read()) == timeless(whole.metrics.read())


def test_after_a_kill_training_goes_on_from_the_last_checkpoint(configure: Configure) -> None:
    class Killed(BaseException):
        pass

    def kill(metric: TrainingStep, steps: int) -> None:
        assert steps == STEPS
        if metric.step == 5:
            raise Killed

    whole = LoraTrainer(configure("whole"))
    whole.train()
    killed = LoraTrainer(configure("parts", on_step=kill))
    with pytest.raises(Killed):
        killed.train()
    done: list[int] = []
    resumed = LoraTrainer(configure("parts", on_step=lambda metric, _: done.append(metric.step)))
    resumed.train()
    assert done == [4, 5, 6, 7]
    assert_equal(weights(whole), weights(resumed))
    assert timeless(resumed.metrics.read()) == timeless(whole.metrics.read())
    again = LoraTrainer(configure("parts", on_step=lambda metric, _: done.append(metric.step)))
    again.train()
    assert done == [4, 5, 6, 7]
    assert_equal(weights(whole), weights(again))


@pytest.mark.parametrize("change", [{"learning_rate": 1e-3}, {"seed": 8}, {"lora_r": 2}, {"max_steps": 6}])
def test_a_run_that_differs_begins_anew(configure: Configure, change: dict[str, Any]) -> None:
    LoraTrainer(configure(max_steps=3)).train()
    done: list[int] = []
    LoraTrainer(configure(**{"max_steps": 3, **change}, on_step=lambda metric, _: done.append(metric.step))).train()
    assert done[0] == 1


def test_other_rows_are_another_run(configure: Configure, rows: tuple[Path, Path], tmp_path: Path) -> None:
    moved = tmp_path / "moved.jsonl"
    moved.write_bytes(rows[0].read_bytes())
    assert configure().fingerprint() == configure("elsewhere", data_path=str(moved)).fingerprint()
    write_jsonl(moved, [dialogue(n) for n in range(13)])
    assert configure().fingerprint() != configure(data_path=str(moved)).fingerprint()


def test_a_loss_that_is_no_number_stops_training_and_keeps_the_checkpoint(configure: Configure) -> None:
    trainer = LoraTrainer(configure())
    plain = trainer._loss

    def broken(*given: Any) -> Any:
        loss = plain(*given)
        return loss * math.nan if trainer.model.training and len(trainer.metrics.read()) == 4 else loss

    trainer._loss = broken  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match="step 5: the loss is nan"):
        trainer.train()
    assert [metric.step for metric in trainer.metrics.read()] == [1, 2, 3, 4]
    progress = json.loads((trainer.folder / "checkpoint" / "progress.json").read_text(encoding="utf-8"))
    assert progress["step"] == 3


def test_no_validation_rows_no_validation(configure: Configure) -> None:
    trainer = LoraTrainer(configure(eval_data_path=None, max_steps=1))
    trainer.train()
    assert trainer.metrics.read()[0].valid_loss is None


# --- Training Hub, and the stage


@pytest.mark.parametrize("given", [{"use_dora": True}, {"bf16": True}, {"lora_dropout": 0.1}, {"beta": 1, "alpha": 2}])
def test_parameters_that_would_be_ignored_are_refused(configure: Configure, given: dict[str, Any]) -> None:
    parameters = {**configure().as_hub(), **given}
    with pytest.raises(TrainingError, match=", ".join(sorted(given))):
        CpuLoraBackend().execute_training(parameters)


def test_training_hub_finds_the_backend_however_often_it_is_registered() -> None:
    from training_hub import AlgorithmRegistry

    register()
    register()
    assert NAME in AlgorithmRegistry.list_backends("lora_sft")


def test_the_stage_trains_through_training_hub_and_writes_an_adapter(
    stage: tuple[TrainConfig, Workspace], tiny_model: Path
) -> None:
    config, workspace = stage
    result = train.run(config, workspace)
    assert (result.rows, result.steps) == (14, 4)
    assert result.first_valid_loss is not None and result.valid_loss is not None
    assert result.adapter_digest == stated_digest(
        (workspace.adapter / "adapter_model.safetensors").read_bytes(),
        (workspace.adapter / "adapter_config.json").read_text(encoding="utf-8"),
    )
    lineage = json.loads((workspace.adapter / "tuning_room.json").read_text(encoding="utf-8"))
    assert lineage["adapter_digest"] == result.adapter_digest
    assert lineage["train_digest"] == digest(workspace.train_rows)
    assert (lineage["base_model"], lineage["short_prompt"]) == (tiny_model.name, "Ask.")
    adapter = json.loads((workspace.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    assert (adapter["base_model_name_or_path"], adapter["r"], adapter["lora_alpha"]) == (tiny_model.name, 4, 8)
    # Nothing that travels with the adapter says where it was made.
    written = [path for path in workspace.adapter.iterdir() if path.suffix in (".json", ".md")]
    assert len(written) == 4 and not any(str(tiny_model.parent) in path.read_text("utf-8") for path in written)
    assert not list(workspace.adapter.glob("*.bin"))
    # What was written is what was trained: PEFT reads it back, and it says what the trainer's model says.
    again = {"ckpt_output_dir": workspace.root / "again"}
    trainer = LoraTrainer(train.loop_config(config, workspace).model_copy(update=again))
    trainer.train()
    ids = collate(trainer.rows[:2]).input_ids
    with torch.inference_mode():
        expected = trainer.model.eval()(ids).logits
        got = load_adapter(load_model(tiny_model), workspace.adapter)(ids).logits
    assert torch.equal(expected, got)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("embedded:smollm2-135m", {"base_model": "HuggingFaceTB/SmolLM2-135M-Instruct", "license": "apache-2.0"}),
        ("some-org/some-model", {"base_model": "some-org/some-model"}),
        ("/models/mine", {}),
    ],
)
def test_the_card_names_a_base_model_that_others_can_find(model: str, expected: dict[str, str]) -> None:
    lineage = AdapterLineage(recipe="r", base_model="b", adapter_digest="a" * 64, template_digest="0" * 64)
    text = card(TrainConfig(model=model, recipe="r", short_prompt="Ask."), lineage)
    _, metadata, body = text.split("---\n", 2)
    assert yaml.safe_load(metadata) == {**expected, "library_name": "peft"}
    assert body.startswith("# r-aaaaaaaa\n") and "    Ask.\n" in body and "/models" not in text


def test_what_the_stage_lacks_is_named(stage: tuple[TrainConfig, Workspace]) -> None:
    config, workspace = stage
    with pytest.raises(ModelNotFoundError):
        train.run(config.model_copy(update={"model": "./no-such-folder"}), workspace)
    workspace.train_rows.unlink()
    with pytest.raises(MissingInputError, match=r"train\.jsonl"):
        train.run(config, workspace)
    assert not workspace.adapter.exists()
