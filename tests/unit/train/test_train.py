"""Training on a Llama of two random layers. Real here: torch, PEFT, transformers, Training Hub, the files.

Not real: the model knows nothing. A falling loss shows that learning works, not that anything useful is learned.
"""

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_rows import STEPS, Configure, dialogue

from tuning_room import train
from tuning_room.errors import DataError, MissingInputError, ModelNotFoundError, TrainingError
from tuning_room.files import digest
from tuning_room.models import load_adapter, load_model, load_tokenizer
from tuning_room.records import write_jsonl
from tuning_room.rendering import Rendered
from tuning_room.train import checkpoint, planning
from tuning_room.train.backend import NAME, CpuLoraBackend, register
from tuning_room.train.batches import (
    IGNORED,
    POOL,
    collate,
    computed_length,
    epoch_order,
    load_rows,
    read_length,
    shared_length,
)
from tuning_room.train.config import TrainConfig
from tuning_room.train.loop import LoraTrainer, learning_rate
from tuning_room.train.loop_config import LoopConfig
from tuning_room.train.metrics import Metric, MetricsFile
from tuning_room.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")

PAD = 258


def weights(trainer: LoraTrainer) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trainer.parameters.items()}


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def timeless(metrics: list[Metric]) -> list[Metric]:
    return [metric._replace(seconds=0) for metric in metrics]


# --- batches


@st.composite
def rendered(draw: st.DrawFn) -> Rendered:
    ids = draw(st.lists(st.integers(0, 300), min_size=1, max_size=12))
    return Rendered(ids, draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids))))


@st.composite
def batches(draw: st.DrawFn) -> list[Rendered]:
    beginning = draw(st.lists(st.integers(0, 300), max_size=5))
    rests = draw(st.lists(rendered(), min_size=1, max_size=5))
    return [Rendered(beginning + ids, [False] * len(beginning) + learned) for ids, learned in rests]


@settings(max_examples=200, deadline=None)
@given(batches())
def test_packed_rows_hold_every_token_that_is_read_and_every_label(batch_rows: list[Rendered]) -> None:
    batch = collate(batch_rows)
    for number, row in enumerate(batch_rows):
        own = batch.packing.places[number, : read_length(row)]
        assert batch.input_ids[0, own].tolist() == row.input_ids[: len(own)]
        assert batch.position_ids[0, own].tolist() == list(range(len(own)))
        expected = [t if learn else IGNORED for t, learn in zip(row.input_ids, row.learned, strict=True)]
        assert batch.labels[0, own].tolist() == [*expected[1:], IGNORED][: len(own)]
        assert not any(row.learned[len(own) + 1 :])  # nothing is learned of what is not read


@settings(max_examples=200, deadline=None)
@given(batches())
def test_the_shared_beginning_is_packed_once(batch_rows: list[Rendered]) -> None:
    batch, shared = collate(batch_rows), shared_length(batch_rows)
    count = shared + sum(read_length(row) - shared for row in batch_rows)
    assert count == computed_length(batch_rows)
    width = max(map(read_length, batch_rows))
    assert batch.input_ids.shape == batch.labels.shape == batch.position_ids.shape == (1, count)
    assert batch.packing.places.shape == (len(batch_rows), width)
    # Scattering the rows and gathering them again ends at every packed place.
    assert batch.packing.places.flatten()[batch.packing.back].tolist() == list(range(count))
    # No token that is to be learned is shared: its loss would count once instead of once a row.
    assert not any(any(row.learned[: shared + 1]) for row in batch_rows) or shared == 0


def test_rows_that_begin_alike_share_that_but_for_one_token() -> None:
    rows = [Rendered([7, 8, 9, n], [False, False, False, True]) for n in (1, 2)]
    assert shared_length(rows) == 2
    assert shared_length(rows[:1]) == 0
    assert collate(rows).input_ids.tolist() == [[7, 8, 9, 9]]  # of what is learned the last token need not be read


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 99), min_size=1, max_size=200), st.integers(1, 9), st.integers(0, 9), st.integers(0, 3))
def test_an_epoch_has_every_row_once(lengths: list[int], size: int, seed: int, epoch: int) -> None:
    batches = epoch_order(lengths, size, seed, epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in batches)
    assert len(batches) == -(-len(lengths) // size)
    assert batches == epoch_order(lengths, size, seed, epoch)


def test_epochs_differ_and_rows_of_similar_length_stand_together() -> None:
    lengths = [(n * 37) % 101 + 1 for n in range(4 * POOL)]
    assert epoch_order(lengths, 4, 1, 0) != epoch_order(lengths, 4, 1, 1)
    spread = [
        max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in epoch_order(lengths, 4, 1, 0)
    ]
    assert max(spread) < 20


def test_rows_that_cannot_be_trained_on_are_named(tiny_model: Path, rows: tuple[Path, Path], tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    longest = max(len(row.input_ids) for row in load_rows(rows[0], tokenizer, 500).rendered)
    assert len(load_rows(rows[0], tokenizer, longest).rendered) == 14
    with pytest.raises(DataError, match=rf"row 'r\d+' has {longest} tokens, more than {longest - 1}"):
        load_rows(rows[0], tokenizer, longest - 1)
    (tmp_path / "none.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="no rows"):
        load_rows(tmp_path / "none.jsonl", tokenizer, 500)


# --- learning rate, metrics, checkpoint


@given(st.integers(1, 500), st.integers(0, 100), st.floats(1e-6, 1))
def test_the_rate_rises_to_its_peak_and_falls_to_a_tenth(steps: int, warmup: int, peak: float) -> None:
    rates = [learning_rate(step, steps, warmup, peak) for step in range(1, steps + 1)]
    assert all(0 < rate <= peak * (1 + 1e-9) for rate in rates)
    rising, falling = rates[:warmup], rates[max(0, warmup - 1) :]
    assert rising == sorted(rising) and falling == sorted(falling, reverse=True)
    if steps > warmup:
        assert math.isclose(rates[-1], peak / 10)
        assert warmup == 0 or math.isclose(rates[warmup - 1], peak)


METRIC = Metric(1, 2.5, None, 1e-3, 4, 320, 0.5)


def test_metrics_survive_a_cut_line(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "new" / "metrics.jsonl")
    assert file.read() == []
    for step in (1, 2, 3):
        file.append(METRIC._replace(step=step, valid_loss=step / 3))
    with file.path.open("a", encoding="utf-8") as out:
        out.write('{"step": 4, "lo')
    assert [metric.step for metric in file.read()] == [1, 2, 3]
    file.keep_until(2)
    assert file.read() == [METRIC._replace(step=step, valid_loss=step / 3) for step in (1, 2)]
    file.append(METRIC._replace(step=3))
    assert [json.loads(line)["step"] for line in file.path.read_text(encoding="utf-8").splitlines()] == [1, 2, 3]


def stepped(seed: int, steps: int) -> tuple[dict[str, Any], Any]:
    torch.manual_seed(seed)
    parameters = {"b.x": torch.nn.Parameter(torch.randn(3, 2)), "a": torch.nn.Parameter(torch.randn(4))}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.1)
    advance(parameters, optimizer, steps)
    return parameters, optimizer


def advance(parameters: dict[str, Any], optimizer: Any, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        sum((parameter**2 + parameter).sum() for parameter in parameters.values()).backward()
        optimizer.step()


def test_a_checkpoint_brings_back_weights_moments_and_step(tmp_path: Path) -> None:
    parameters, optimizer = stepped(1, 3)
    checkpoint.save(tmp_path / "c", parameters, optimizer, checkpoint.Progress(3, "run"))
    others, fresh = stepped(2, 0)
    assert checkpoint.load(tmp_path / "c", others, fresh, "run") == 3
    advance(parameters, optimizer, 2)
    advance(others, fresh, 2)
    assert_equal(parameters, others)
    assert {path.suffix for path in (tmp_path / "c").iterdir()} == {".safetensors", ".json"}


def test_a_checkpoint_of_another_run_or_none_is_not_loaded(tmp_path: Path) -> None:
    parameters, optimizer = stepped(1, 3)
    assert checkpoint.load(tmp_path / "c", parameters, optimizer, "run") == 0
    checkpoint.save(tmp_path / "c", parameters, optimizer, checkpoint.Progress(3, "run"))
    others, fresh = stepped(2, 0)
    before = {name: value.detach().clone() for name, value in others.items()}
    assert checkpoint.load(tmp_path / "c", others, fresh, "another run") == 0
    assert_equal(before, others)


def test_a_later_checkpoint_replaces_the_one_before_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters, optimizer = stepped(1, 3)
    checkpoint.save(tmp_path / "c", parameters, optimizer, checkpoint.Progress(3, "run"))
    kept = digest(tmp_path / "c")
    advance(parameters, optimizer, 1)
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "write_json", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            checkpoint.save(tmp_path / "c", parameters, optimizer, checkpoint.Progress(4, "run"))
    assert digest(tmp_path / "c") == kept
    checkpoint.save(tmp_path / "c", parameters, optimizer, checkpoint.Progress(4, "run"))
    assert checkpoint.load(tmp_path / "c", *stepped(2, 0), "run") == 4
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


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

    def kill(metric: Metric, steps: int) -> None:
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
    parameters = {**vars(configure()), **given}
    with pytest.raises(TrainingError, match=", ".join(sorted(given))):
        CpuLoraBackend().execute_training(parameters)


def test_training_hub_finds_the_backend_however_often_it_is_registered() -> None:
    from training_hub import AlgorithmRegistry

    register()
    register()
    assert NAME in AlgorithmRegistry.list_backends("lora_sft")


@pytest.fixture
def stage(tiny_model: Path, rows: tuple[Path, Path], tmp_path: Path) -> tuple[TrainConfig, Workspace]:
    workspace = Workspace(tmp_path / "run")
    workspace.train_rows.parent.mkdir(parents=True)
    workspace.train_rows.write_bytes(rows[0].read_bytes())
    workspace.valid_rows.write_bytes(rows[1].read_bytes())
    config = TrainConfig(model=str(tiny_model), recipe="r", short_prompt="Ask.", rank=4, alpha=8, batch_size=4, seed=1)
    return config, workspace


def test_the_stage_trains_through_training_hub_and_writes_an_adapter(
    stage: tuple[TrainConfig, Workspace], tiny_model: Path
) -> None:
    config, workspace = stage
    result = train.run(config, workspace)
    assert (result.rows, result.steps) == (14, 4)
    assert result.first_valid_loss is not None and result.valid_loss is not None
    assert result.adapter_digest == digest(workspace.adapter / "adapter_model.safetensors")
    lineage = json.loads((workspace.adapter / "tuning_room.json").read_text(encoding="utf-8"))
    assert lineage["adapter_digest"] == result.adapter_digest
    assert lineage["train_digest"] == digest(workspace.train_rows)
    assert (lineage["base_model"], lineage["short_prompt"]) == (tiny_model.name, "Ask.")
    adapter = json.loads((workspace.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    assert (adapter["base_model_name_or_path"], adapter["r"], adapter["lora_alpha"]) == (tiny_model.name, 4, 8)
    # Nothing that travels with the adapter says where it was made.
    written = [path for path in workspace.adapter.iterdir() if path.suffix in (".json", ".md")]
    assert len(written) == 3 and not any(str(tiny_model.parent) in path.read_text("utf-8") for path in written)
    assert not list(workspace.adapter.glob("*.bin"))
    # What was written is what was trained: PEFT reads it back, and it says what the trainer's model says.
    trainer = LoraTrainer(loop_config(config, workspace))
    trainer.train()
    ids = collate(trainer.rows[:2]).input_ids
    with torch.inference_mode():
        expected = trainer.model.eval()(ids).logits
        got = load_adapter(load_model(tiny_model), workspace.adapter)(ids).logits
    assert torch.equal(expected, got)


def loop_config(config: TrainConfig, workspace: Workspace) -> LoopConfig:
    return LoopConfig(
        model_path=config.model,
        data_path=str(workspace.train_rows),
        eval_data_path=str(workspace.valid_rows),
        ckpt_output_dir=str(workspace.root / "again"),
        lora_r=config.rank,
        lora_alpha=config.alpha,
        effective_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        warmup_steps=1,
        max_seq_len=config.max_length,
        seed=config.seed,
    )


def test_what_the_stage_lacks_is_named(stage: tuple[TrainConfig, Workspace]) -> None:
    config, workspace = stage
    with pytest.raises(ModelNotFoundError):
        train.run(config.model_copy(update={"model": "./no-such-folder"}), workspace)
    workspace.train_rows.unlink()
    with pytest.raises(MissingInputError, match=r"train\.jsonl"):
        train.run(config, workspace)
    assert not workspace.adapter.exists()


# --- what it will take


@pytest.mark.parametrize("retention", [0.0, 1.0])
def test_a_plan_counts_what_training_then_does_and_changes_nothing(
    stage: tuple[TrainConfig, Workspace], tmp_path: Path, retention: float
) -> None:
    config, workspace = stage
    prompts = tmp_path / "neutral.txt"
    prompts.write_text("Name a river.\nWhat is a lake?\nWhere is north?\n", encoding="utf-8")
    config = config.model_copy(update={"retention": retention, "retention_prompts": prompts})
    if retention:
        train.plan(config, workspace)  # what a teacher has to say is kept
    before = sorted(path for path in workspace.root.rglob("*"))
    planned = train.plan(config, workspace)
    assert sorted(path for path in workspace.root.rglob("*")) == before
    train.run(config, workspace)
    metrics = [json.loads(line) for line in workspace.metrics.read_text(encoding="utf-8").splitlines()]
    assert (planned.rows, planned.steps) == (14, len(metrics))
    assert planned.tokens == sum(metric["tokens"] for metric in metrics)
    assert planned.largest_step == max(metric["tokens"] for metric in metrics)
    assert planned.seconds > 0 and 0 < planned.peak_bytes < planned.available_bytes


def test_what_does_not_fit_is_refused_with_the_setting_that_would(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tried(trainer: LoraTrainer, step: int) -> planning.Probe:
        tokens = planning._own_sizes(trainer)[step]
        return planning.Probe(tokens, 1.0, 1000 * tokens)

    monkeypatch.setattr(planning, "_tried", tried)
    config = configure()
    found = planning.plan(config, time.perf_counter())
    assert found.seconds > found.steps and found.peak_bytes == 1000 * found.largest_step

    def check(available: float) -> None:
        probes = [planning.Probe(tokens, 1.0, 1000 * tokens) for tokens in (10, 90)]
        planning.check_fits(found._replace(available_bytes=int(available)), config, probes)

    check(found.peak_bytes / 0.94)
    half = found.peak_bytes - 1000 * found.largest_step / 2
    with pytest.raises(TrainingError, match=r"GB can be had; set train.batch_size to 2"):
        check(half / 0.949)
    with pytest.raises(TrainingError, match="name a smaller base model"):
        check(1)


def test_available_memory_is_the_machines(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    7 kB\n", encoding="ascii")
    assert planning.available_memory(tmp_path / "meminfo") == 7 * 1024
    assert planning.available_memory(tmp_path / "none") > 1 << 50 and planning.available_memory() > 1 << 20


@given(st.floats(0, 10), st.floats(0, 5), st.lists(st.integers(1, 900), min_size=2, max_size=4, unique=True))
def test_a_line_through_points_is_found(start: float, slope: float, places: list[int]) -> None:
    points = [(float(place), start + slope * place) for place in places]
    assert planning._line(points, 500) == pytest.approx(start + slope * 500, rel=1e-6, abs=1e-6)
    assert planning._line([(10.0, 3.0), (20.0, 1.0)], 90) == 2.0, "more tokens never take less"
