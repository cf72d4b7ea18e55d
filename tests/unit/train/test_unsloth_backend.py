"""Training Hub's Unsloth backend, fixed: each fix against its fault.

Real here: Training Hub's backend, TRL's trainer, its masks, checkpoints and resume, PEFT. Not real: a GPU, and Unsloth,
whose place two functions of PEFT take; tests/functional/test_unsloth.py runs the real one on a CPU (marker slow).
"""

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from training_rows import dialogue, taken

from tuning_room.errors import DataError, DivergedError, MissingPrerequisiteError, OccupiedError, TrainingError
from tuning_room.models import load_model, load_tokenizer
from tuning_room.records import TrainingStep, write_jsonl
from tuning_room.train.batches import load_rows
from tuning_room.train.config import LoopConfig
from tuning_room.train.unsloth import (
    Pass,
    UnslothBackend,
    forget_other_run,
    kept_rows,
    logged,
    masked,
    plan_pass,
)

pytestmark = pytest.mark.usefixtures("one_thread")


class FastLanguageModel:
    """Loads a model as Unsloth would, without its patches."""

    @staticmethod
    def from_pretrained(model_name: str, **more: Any) -> tuple[Any, Any]:
        return load_model(Path(model_name)), load_tokenizer(Path(model_name))


class FastModel(FastLanguageModel):
    """Makes an adapter as Unsloth would."""

    given: dict[str, Any] = {}

    @staticmethod
    def get_peft_model(model: Any, r: int, lora_alpha: int, target_modules: Any, **more: Any) -> Any:
        from peft import LoraConfig, get_peft_model

        FastModel.given = more
        layers = more.get("layers_to_transform")
        return get_peft_model(
            model,
            LoraConfig(
                r=r,
                lora_alpha=lora_alpha,
                target_modules=target_modules,
                layers_to_transform=layers,
                task_type="CAUSAL_LM",
            ),
        )


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("unsloth")
    module.FastLanguageModel, module.FastModel = FastLanguageModel, FastModel
    monkeypatch.setitem(sys.modules, "unsloth", module)


@pytest.fixture
def given(tiny_model: Path, rows: tuple[Path, Path], tmp_path: Path) -> dict[str, Any]:
    """What the stage tells Training Hub."""
    return {
        "model_path": str(tiny_model),
        "data_path": str(rows[0]),
        "eval_data_path": str(rows[1]),
        "ckpt_output_dir": str(tmp_path / "training"),
        "lora_r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj", "down_proj"],
        "num_epochs": 2,
        "effective_batch_size": 4,
        "learning_rate": 5e-2,
        "warmup_steps": 1,
        "max_seq_len": 500,
        "save_steps": 2,
        "eval_steps": 4,
        "seed": 1,
    }


def test_stock_training_hub_passes_what_transformers_refuse(given: dict[str, Any]) -> None:
    # If this fails, Training Hub has been fixed, and the fix here can go.
    from training_hub.algorithms.lora import UnslothLoRABackend

    with pytest.raises(TypeError, match="logging_dir"):
        UnslothLoRABackend()._build_training_args({**given, "bf16": False})


@pytest.mark.parametrize(
    ("whole", "micro", "devices", "expected"),
    [
        (8, 2, 1, (2, 4)),
        (8, None, 1, (4, 2)),
        (8, 2, 2, (2, 2)),
        (2, 8, 1, (2, 1)),
        (4, 4, 8, (1, 1)),
        (6, None, 1, (3, 2)),
        (7, None, 1, (1, 7)),
        (10, None, 1, (2, 5)),
    ],
)
def test_rows_a_pass_and_passes_a_step_make_the_step(
    monkeypatch: pytest.MonkeyPatch, whole: int, micro: int | None, devices: int, expected: tuple[int, int]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(devices))
    found = plan_pass(whole, micro, kept=0)
    assert (found.rows, found.times) == expected and found.recomputes


@pytest.mark.parametrize(
    ("kept", "micro", "expected"),
    [
        (32, None, Pass(32, 1, recomputes=False)),
        (20, None, Pass(16, 2, recomputes=False)),
        (20, 8, Pass(8, 4, recomputes=False)),
        (3, None, Pass(4, 8, recomputes=True)),
        (3, 2, Pass(2, 16, recomputes=False)),
    ],
)
def test_a_pass_is_as_large_as_the_memory_allows(kept: int, micro: int | None, expected: Pass) -> None:
    assert plan_pass(32, micro, kept) == expected


def test_the_rows_that_fit_are_counted_from_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from transformers import GPT2Config, LlamaConfig

    config = LlamaConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=2, vocab_size=1000)
    assert kept_rows(config, 100) == 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2 * 8 * 100 * (2 * (18 * 64 + 8 * 128) + 12_000), 0))
    assert kept_rows(config, 100) == 8
    assert kept_rows(config, 101) == 7
    assert kept_rows(GPT2Config(), 100) == 0, "its sizes have other names"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert kept_rows(config, 100) == 0, "two processes have to take the same passes"


def test_only_the_assistants_tokens_are_learned(
    given: dict[str, Any], tiny_model: Path, rows: tuple[Path, Path]
) -> None:
    from datasets import Dataset
    from trl import SFTTrainer

    tokenizer = load_tokenizer(tiny_model)
    loaded = load_rows(rows[0], tokenizer, 500)
    backend = UnslothBackend()
    backend.config, backend.rows = LoopConfig.from_hub(given), loaded
    backend.one_pass = Pass(4, 1, recomputes=False)
    settings = backend._build_training_args({**given, "bf16": False})
    trainer = SFTTrainer(
        model=load_model(tiny_model),
        args=settings,
        train_dataset=Dataset.from_dict(masked(loaded)),
        processing_class=tokenizer,
    )
    expected = {
        tuple(row.input_ids): [t if learn else -100 for t, learn in zip(row.input_ids, row.learned, strict=True)]
        for row in loaded.rendered
    }
    seen = 0
    for batch in trainer.get_train_dataloader():
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
            kept = mask.bool()
            assert labels[kept].tolist() == expected[tuple(ids[kept].tolist())]
            assert (labels[~kept] == -100).all()
            seen += 1
    assert seen == 14


def train(given: dict[str, Any], **more: Any) -> dict[str, Any]:
    return UnslothBackend().execute_training({**given, **more})


@pytest.mark.usefixtures("stand_in")
def test_it_trains_and_tells_each_step(given: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[tuple[TrainingStep, int]] = []
    found = train(given, skip_layers=1, on_step=lambda metric, steps: heard.append((metric, steps)))
    assert [metric.step for metric in found["steps"]] == list(range(1, 9))
    assert [metric.step for metric, _ in heard] == list(range(1, 9)) and {steps for _, steps in heard} == {8}
    first, last = (found["steps"][step - 1].valid_loss for step in (4, 8))
    assert first is not None and last is not None and last < first
    assert found["left_out"] == 0
    assert not capsys.readouterr().out, "the standard output is the caller's"
    assert "'loss'" in (Path(given["ckpt_output_dir"]) / "unsloth.log").read_text(encoding="utf-8")
    assert FastModel.given["layers_to_transform"] == [1]
    names = [name for name, p in found["model"].named_parameters() if p.requires_grad]
    assert names and all(".layers.1." in name for name in names)
    lines = (Path(given["ckpt_output_dir"]) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    written = [TrainingStep(**json.loads(line)) for line in lines]
    assert [(metric.step, metric.rows) for metric in written] == [(n, 2 if n % 4 == 0 else 4) for n in range(1, 9)]
    whole = sum(len(row.input_ids) for row in load_rows(Path(given["data_path"]), found["tokenizer"], 500).rendered)
    # Padding is counted too: rows of one length have none.
    assert sum(metric.tokens for metric in written) >= 2 * whole and all(metric.seconds > 0 for metric in written)


@pytest.mark.usefixtures("stand_in")
def test_a_run_that_was_cut_off_in_its_second_pass_takes_the_same_steps(given: dict[str, Any]) -> None:
    folder = Path(given["ckpt_output_dir"])
    whole = train(given)["steps"]
    # As a kill after the checkpoint of step 6 leaves it: eight steps, four a pass.
    shutil.rmtree(folder / "checkpoint-8")
    resumed = train(given)["steps"]
    assert resumed[:6] == whole[:6]
    for again, before in zip(resumed[6:], whole[6:], strict=True):
        assert again.loss == pytest.approx(before.loss, rel=1e-6)
        loose: dict[str, Any] = {"loss": 0.0, "seconds": 0.0, "valid_loss": None}
        assert again.model_copy(update=loose) == before.model_copy(update=loose)
    other = train({**given, "learning_rate": 1e-3}, max_steps=2)
    assert other["trainer"].state.global_step == 2


@pytest.mark.usefixtures("stand_in")
def test_no_more_steps_are_taken_than_the_passes_have(given: dict[str, Any]) -> None:
    assert [metric.step for metric in train(given, num_epochs=1, max_steps=50)["steps"]] == [1, 2, 3, 4]


@pytest.mark.usefixtures("stand_in")
def test_a_loss_that_is_no_number_ends_the_training(given: dict[str, Any]) -> None:
    with pytest.raises(DivergedError, match=r"step \d: the loss is (nan|inf)") as caught:
        train(given, learning_rate=1e30, num_epochs=8)
    assert "learning_rate" in str(caught.value.hint)
    steps = (Path(given["ckpt_output_dir"]) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(steps) < 8


def test_checkpoints_of_the_same_run_stay_and_those_of_another_go(tmp_path: Path) -> None:
    forget_other_run(tmp_path, "a")
    (tmp_path / "checkpoint-5").mkdir()
    forget_other_run(tmp_path, "a")
    assert (tmp_path / "checkpoint-5").is_dir()
    forget_other_run(tmp_path, "b")
    assert not (tmp_path / "checkpoint-5").exists()


def test_checkpoints_of_another_program_stay(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-5").mkdir()
    with pytest.raises(OccupiedError, match="holds checkpoints of another program"):
        forget_other_run(tmp_path, "a")
    assert (tmp_path / "checkpoint-5").is_dir() and len(list(tmp_path.iterdir())) == 1


def test_rows_that_are_too_long_are_never_cut(given: dict[str, Any], tmp_path: Path, tiny_model: Path) -> None:
    backend = UnslothBackend()
    backend.config = LoopConfig.from_hub({**given, "max_seq_len": 40})
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [dialogue(n) for n in range(4)])
    tokenizer = load_tokenizer(tiny_model)
    with pytest.raises(DataError, match="more than 40"):
        backend._load(path, tokenizer)


def test_what_only_our_own_loop_can_do_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="cannot do distill, patience"):
        train(given, distill=1.0, patience=3)


def test_without_unsloth_that_is_said(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "unsloth", None)
    with pytest.raises(MissingPrerequisiteError, match="Unsloth is not available"):
        train(given)


def test_a_validation_belongs_to_the_step_before_it() -> None:
    history = [
        {"step": 1, "loss": 2.0, "learning_rate": 1e-3},
        {"step": 1, "eval_loss": 1.5},
        {"step": 2, "loss": 1.0, "learning_rate": 2e-3},
        {"step": 2, "train_runtime": 3.0},
    ]
    written = [taken(2, loss=1.0)]
    found = logged(history, written)
    assert [(m.step, m.loss, m.valid_loss) for m in found] == [(1, 2.0, 1.5), (2, 1.0, None)]
    assert [(m.tokens, m.seconds) for m in found] == [(0, 0.0), (320, 0.5)]


def test_a_validation_that_is_no_number_is_a_divergence() -> None:
    with pytest.raises(DivergedError, match="step 1: the loss is nan on the validation rows"):
        logged([{"step": 1, "loss": 2.0}, {"step": 1, "eval_loss": float("nan")}], [])
