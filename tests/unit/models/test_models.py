"""What a model reference stands for; pure functions, nothing is missing here."""

from pathlib import Path

import pytest

from tuning_room.models import base_name, hub_name


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("embedded:smollm2-135m", "smollm2-135m"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct"),
        ("gpt2", "gpt2"),
        ("/models/my model/", "my model"),
        ("models/a:b", "a:b"),
    ],
)
def test_a_base_model_has_the_last_part_of_its_reference_as_its_name(reference: str, name: str) -> None:
    assert base_name(reference) == name


def test_the_folder_one_stands_in_has_a_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert base_name(".") == tmp_path.name


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("embedded:smollm2-135m", ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0")),
        ("Qwen/Qwen2.5-0.5B-Instruct", ("Qwen/Qwen2.5-0.5B-Instruct", None)),
        ("embedded:other", (None, None)),
        ("/models/mine", (None, None)),
        ("./models", (None, None)),
        ("mine", (None, None)),
        ("a/b/c", (None, None)),
    ],
)
def test_a_card_names_the_hubs_model(reference: str, expected: tuple[str | None, str | None]) -> None:
    assert hub_name(reference) == expected


def test_a_folder_is_not_taken_for_a_model_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert hub_name("models/mine") == (None, None)
