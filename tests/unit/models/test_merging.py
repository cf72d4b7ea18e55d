"""Merging an adapter into a base of two random layers; the comparison with the unmerged model is the product's."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from drawn_adapters import write_drawn_lineage
from tuning_room.errors import AdapterMismatchError, OccupiedError
from tuning_room.models import load_adapter, load_model, load_tokenizer
from tuning_room.models.lineage import read_lineage, write_lineage
from tuning_room.models.merging import merge


def test_the_merged_model_says_what_the_adapter_says(tiny_model: Path, drawn_adapter: Path, tmp_path: Path) -> None:
    found = merge(str(tiny_model), drawn_adapter, tmp_path / "merged", system="You are a tutor.")
    assert found.largest_difference < 0.01 < found.adapter_moves and found.same_choices > 0.98
    merged: Any = load_model(tmp_path / "merged")
    beside = load_adapter(load_model(tiny_model), drawn_adapter)
    ids = torch.tensor([load_tokenizer(tmp_path / "merged")("What is 3 x 4?")["input_ids"]])
    with torch.inference_mode():
        torch.testing.assert_close(merged(ids).logits, beside(ids).logits, rtol=1e-3, atol=1e-3)
    lineage = read_lineage(drawn_adapter)
    written = read_lineage(tmp_path / "merged")
    assert written == lineage.model_copy(update={"merged": found, "files": written.files})
    assert {*written.files, "tuning_room.json"} == {path.name for path in (tmp_path / "merged").iterdir()}
    assert not list((tmp_path / "merged").glob("*.bin"))


def test_a_merge_that_goes_wrong_is_refused_and_writes_nothing(
    tiny_model: Path, drawn_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AdapterMismatchError, match=r"a logit differs by .*, more than 1e-12"):
        merge(str(tiny_model), drawn_adapter, tmp_path / "merged", bound=1e-12)
    # A merge that forgets the adapter, as one into a wrong module would.
    monkeypatch.setattr(PeftModel, "merge_and_unload", lambda model, **_: model.unload(), raising=False)
    with pytest.raises(AdapterMismatchError, match="a logit differs"):
        merge(str(tiny_model), drawn_adapter, tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_that_changes_nothing_or_is_of_another_template_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model: Any = get_peft_model(load_model(tiny_model), LoraConfig(r=2, target_modules="all-linear"))
    model.save_pretrained(tmp_path / "idle", save_embedding_layers=False)
    write_drawn_lineage(tiny_model, tmp_path / "idle", "idle", str(tiny_model))
    with pytest.raises(AdapterMismatchError, match="changes nothing"):
        merge(str(tiny_model), tmp_path / "idle", tmp_path / "merged")
    other = read_lineage(tmp_path / "idle").model_copy(update={"template_digest": "0f" * 32})
    write_lineage(tmp_path / "idle", other)
    with pytest.raises(AdapterMismatchError, match="another chat template"):
        merge(str(tiny_model), tmp_path / "idle", tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


@pytest.fixture(scope="module")
def merged(tiny_model: Path, drawn_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "merged"
    merge(str(tiny_model), drawn_adapter, folder)
    return folder


def version_control(folder: Path) -> Path:
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main")
    return folder / ".git" / "HEAD"


def an_empty_repository(folder: Path) -> Path:
    (folder / ".git").mkdir()
    return folder / ".git"


def notes(folder: Path) -> Path:
    (folder / "notes.md").write_text("measured on Friday")
    return folder / "notes.md"


def quantised(folder: Path) -> Path:
    (folder / "quantised").mkdir()
    shutil.copy(folder / "config.json", folder / "quantised")
    return folder / "quantised" / "config.json"


@pytest.mark.parametrize("put", [version_control, an_empty_repository, notes, quantised])
def test_what_somebody_put_beside_a_merged_model_stays(
    put: Callable[[Path], Path], merged: Path, tiny_model: Path, drawn_adapter: Path, tmp_path: Path
) -> None:
    precious = put(shutil.copytree(merged, tmp_path / "merged"))
    with pytest.raises(OccupiedError, match="merged: holds files that Tuning Room did not write"):
        merge(str(tiny_model), drawn_adapter, tmp_path / "merged")
    assert precious.exists()


def test_a_merged_model_alone_is_replaced(merged: Path, tiny_model: Path, drawn_adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(merged, tmp_path / "merged")
    (tmp_path / "merged" / "config.json").unlink()
    merge(str(tiny_model), drawn_adapter, tmp_path / "merged")
    assert (tmp_path / "merged" / "config.json").is_file()


@pytest.mark.parametrize("through", ["itself", "link"])
def test_the_base_model_is_not_replaced_by_its_own_merge(
    through: str, merged: Path, drawn_adapter: Path, tmp_path: Path
) -> None:
    """A merged model is a base model for a further training, and looks like a place for another merge."""
    base = shutil.copytree(merged, tmp_path / "merged-v1")
    (tmp_path / "link").symlink_to(base)
    before = {path.name: path.read_bytes() for path in base.iterdir()}
    adapter = shutil.copytree(drawn_adapter, tmp_path / "adapter")
    write_drawn_lineage(base, adapter, "again", str(base))
    target = base if through == "itself" else tmp_path / "link"
    with pytest.raises(OccupiedError, match="is the base model's own folder"):
        merge(str(base), adapter, target)
    assert {path.name: path.read_bytes() for path in base.iterdir()} == before


def test_an_adapter_of_another_base_is_refused_before_that_is_looked_for(drawn_adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterMismatchError, match="not for 'org/other'"):
        merge("org/other", drawn_adapter, tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_those_of_the_lineage_are_refused(
    tiny_model: Path, drawn_adapter: Path, tmp_path: Path
) -> None:
    adapter = shutil.copytree(drawn_adapter, tmp_path / "adapter")
    other = read_lineage(adapter).model_copy(update={"adapter_digest": "0f" * 32})
    write_lineage(adapter, other)
    with pytest.raises(AdapterMismatchError, match=r"are not those that tuning_room\.json names"):
        merge(str(tiny_model), adapter, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
