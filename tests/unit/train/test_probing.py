"""Recording probes at the end of a training.

Real here: the tiny model, a training of a few steps, the in-process engine.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from training_rows import dialogue

from drawn_adapters import write_drawn_adapter
from tuning_room import train
from tuning_room.engines.local import LocalEngine
from tuning_room.engines.proving import prove
from tuning_room.errors import ModelError
from tuning_room.models import load_adapter, load_model, load_tokenizer
from tuning_room.models.lineage import read_lineage
from tuning_room.models.probes import ProbeRecord, read_probes
from tuning_room.records import write_jsonl
from tuning_room.rendering import prompt_ids, render_dialogue
from tuning_room.train import adapter as written
from tuning_room.train.config import TrainConfig
from tuning_room.train.probing import record_probes
from tuning_room.workspace import Workspace

Staged = tuple[TrainConfig, Workspace]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_a_training_records_proves_its_adapter(stage: Staged, tiny_model: Path, precision: str) -> None:
    """In fp32 whatever it trained in: the record is one of the base model as it is, not as it was rounded."""
    config, workspace = stage
    result = train.run(config.model_copy(update={"precision": precision, "learning_rate": 5e-3}), workspace)
    lineage = read_lineage(workspace.adapter)
    record = read_probes(workspace.adapter, lineage)
    assert (result.probes, result.probes_error) == (12, None)
    assert record is not None and record.adapter_digest == result.adapter_digest
    engine = LocalEngine(tiny_model, base="tiny", adapters={"r": workspace.adapter})
    found = prove(engine, "tiny", {"r": record})["r"]
    assert found.state == "proven", found.reason


@pytest.mark.parametrize("error", [ModelError, KeyError, AttributeError, OSError])
def test_probes_that_cannot_be_recorded_do_not_cost_the_training(
    error: type[Exception], stage: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any) -> ProbeRecord:
        raise error("not enough memory for this model")

    monkeypatch.setattr(written, "record_probes", fail)
    config, workspace = stage
    result = train.run(config, workspace)
    assert result.probes == 0 and "not enough memory for this model" in str(result.probes_error)
    lineage = read_lineage(workspace.adapter)
    assert lineage.probes_digest == "" and not (workspace.adapter / "probes.json").exists()
    assert read_probes(workspace.adapter, lineage) is None


@pytest.fixture
def adapted(tiny_model: Path, tmp_path: Path) -> Any:
    """The tiny model with a drawn adapter."""
    write_drawn_adapter(tiny_model, tmp_path / "adapter")
    return load_adapter(load_model(tiny_model), tmp_path / "adapter")


def rows_of(folder: Path, numbers: range, words: str = "") -> Path:
    drawn = [dialogue(number) for number in numbers]
    if words:
        turns = [row.messages[0], row_with(row.messages[1], words), *row.messages[2:]] if (row := drawn[0]) else []
        drawn[0] = row.model_copy(update={"messages": turns})
    write_jsonl(folder / "rows.jsonl", drawn)
    return folder / "rows.jsonl"


def row_with(message: Any, words: str) -> Any:
    return message.model_copy(update={"content": f"{message.content} {words}"})


def test_the_same_rows_give_the_same_probes_in_whatever_order(adapted: Any, tiny_model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    first = record_probes(adapted, tokenizer, rows_of(tmp_path, range(14)), "0" * 64)
    rows = rows_of(tmp_path, range(13, -1, -1))
    assert record_probes(adapted, tokenizer, rows, "0" * 64) == first
    assert record_probes(adapted, tokenizer, rows_of(tmp_path, range(30, 44)), "0" * 64) != first


def test_a_probe_is_what_its_kind_says(adapted: Any, tiny_model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    record = record_probes(adapted, tokenizer, rows_of(tmp_path, range(14)), "0" * 64)
    rendered = [render_dialogue(tokenizer, dialogue(number).messages).input_ids for number in range(14)]
    for probe in record.probes:
        ids = [*probe.prompt, *probe.answer]
        assert any(row[: len(ids)] == ids for row in rendered) == (probe.kind == "row")
        assert any(row[: len(probe.prompt)] == probe.prompt for row in rendered) == (probe.kind != "neutral")
    drawn = next(probe for probe in record.probes if probe.kind == "base")
    with torch.no_grad(), adapted.disable_adapter():
        scores = adapted(torch.tensor([[*drawn.prompt, *drawn.answer]])).logits[0].log_softmax(-1)
    own = scores[len(drawn.prompt) - 1 : -1]
    assert own.argmax(-1).tolist() == drawn.answer
    assert drawn.base == pytest.approx(own.max(-1).values.tolist(), abs=1e-4)


def test_a_prompt_that_is_long_is_left_aside(adapted: Any, tiny_model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    record = record_probes(adapted, tokenizer, rows_of(tmp_path, range(9), "and so on " * 40), "0" * 64)
    assert max(len(probe.prompt) for probe in record.probes) < 256


def test_few_rows_are_enough(adapted: Any, tiny_model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    record = record_probes(adapted, tokenizer, rows_of(tmp_path, range(1)), "0" * 64)
    assert [probe.kind for probe in record.probes] == ["row", "base", *["neutral"] * 4]
    assert record.probes[0].prompt == prompt_ids(tokenizer, dialogue(0).messages[:2])
