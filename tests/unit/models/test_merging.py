"""Merging an adapter into a base of two random layers; the comparison with the unmerged model is the product's."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from drawn_adapters import write_drawn_lineage
from tuning_room.errors import AdapterMismatchError
from tuning_room.models import load_adapter, load_model, load_tokenizer
from tuning_room.models.lineage import read_lineage, write_lineage
from tuning_room.models.merging import merge


def test_the_merged_model_says_what_the_adapter_says(tiny_model: Path, drawn_adapter: Path, tmp_path: Path) -> None:
    found = merge(tiny_model, drawn_adapter, tmp_path / "merged", system="You are a tutor.")
    assert found.largest_difference < 0.01 < found.adapter_moves and found.same_choices > 0.98
    merged: Any = load_model(tmp_path / "merged")
    beside = load_adapter(load_model(tiny_model), drawn_adapter)
    ids = torch.tensor([load_tokenizer(tmp_path / "merged")("What is 3 x 4?")["input_ids"]])
    with torch.inference_mode():
        torch.testing.assert_close(merged(ids).logits, beside(ids).logits, rtol=1e-3, atol=1e-3)
    lineage = read_lineage(drawn_adapter)
    assert read_lineage(tmp_path / "merged") == lineage.model_copy(update={"merged": found})
    assert not list((tmp_path / "merged").glob("*.bin"))


def test_a_merge_that_goes_wrong_is_refused_and_writes_nothing(
    tiny_model: Path, drawn_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AdapterMismatchError, match=r"a logit differs by .*, more than 1e-12"):
        merge(tiny_model, drawn_adapter, tmp_path / "merged", bound=1e-12)
    # A merge that forgets the adapter, as one into a wrong module would.
    monkeypatch.setattr(PeftModel, "merge_and_unload", lambda model, **_: model.unload(), raising=False)
    with pytest.raises(AdapterMismatchError, match="a logit differs"):
        merge(tiny_model, drawn_adapter, tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_that_changes_nothing_or_is_of_another_template_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model: Any = get_peft_model(load_model(tiny_model), LoraConfig(r=2, target_modules="all-linear"))
    model.save_pretrained(tmp_path / "idle", save_embedding_layers=False)
    write_drawn_lineage(tiny_model, tmp_path / "idle", "idle")
    with pytest.raises(AdapterMismatchError, match="changes nothing"):
        merge(tiny_model, tmp_path / "idle", tmp_path / "merged")
    other = read_lineage(tmp_path / "idle").model_copy(update={"template_digest": "0f" * 32})
    write_lineage(tmp_path / "idle", other)
    with pytest.raises(AdapterMismatchError, match="another chat template"):
        merge(tiny_model, tmp_path / "idle", tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
