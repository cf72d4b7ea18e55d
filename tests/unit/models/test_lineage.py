"""An adapter's lineage, written and read by one class. Real: the files."""

import json
from pathlib import Path
from typing import Any

import pytest

from tuning_room.errors import DataError, MissingInputError
from tuning_room.models.lineage import AdapterLineage, Merged, adapter_name, read_lineage, write_lineage

FULL: dict[str, Any] = {
    "recipe": "cook",
    "base_model": "embedded:smollm2-135m",
    "short_prompt": "You are a cook.",
    "adapter_digest": "0a" * 32,
    "template_digest": "1b" * 32,
    "train_digest": "2c" * 32,
    "config": {"rank": 16, "sources": ["a"]},
    "versions": {"torch": "2.13.0"},
}


def written(folder: Path, **changes: Any) -> Path:
    (folder / "tuning_room.json").write_text(json.dumps({**FULL, **changes}), encoding="utf-8")
    return folder


def test_what_is_written_is_read(tmp_path: Path) -> None:
    lineage = AdapterLineage.model_validate(FULL)
    write_lineage(tmp_path, lineage)
    assert read_lineage(tmp_path) == lineage
    assert json.loads((tmp_path / "tuning_room.json").read_text(encoding="utf-8")) == FULL
    merged = lineage.model_copy(
        update={"merged": Merged(tokens=3, largest_difference=1e-4, adapter_moves=2.5, same_choices=1.0)}
    )
    write_lineage(tmp_path, merged)
    assert read_lineage(tmp_path).merged == merged.merged


def test_fields_of_another_version_are_passed_on(tmp_path: Path) -> None:
    write_lineage(tmp_path, read_lineage(written(tmp_path, licence="Apache-2.0")))
    assert json.loads((tmp_path / "tuning_room.json").read_text(encoding="utf-8"))["licence"] == "Apache-2.0"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"recipe": ""}, "recipe"),
        ({"adapter_digest": "1234"}, "adapter_digest"),
        ({"template_digest": None}, "template_digest"),
        ({"versions": {"torch": 2}}, r"versions\.torch"),
    ],
)
def test_a_field_that_does_not_fit_is_named(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(DataError, match=rf"tuning_room\.json: {field}: .*; train the adapter again"):
        read_lineage(written(tmp_path, **changes))


@pytest.mark.parametrize("content", ["", "{", "[]", "1"])
def test_a_file_that_holds_no_lineage_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "tuning_room.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"tuning_room\.json: "):
        read_lineage(tmp_path)


def test_a_folder_without_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"tuning_room\.json: no such file"):
        read_lineage(tmp_path)


def test_an_adapter_is_named_after_its_weights() -> None:
    assert adapter_name("socratic-tutor", "0123456789abcdef" * 4) == "socratic-tutor-01234567"
    assert AdapterLineage.model_validate(FULL).name == "cook-0a0a0a0a"
