"""Where this process trains and answers: one variable, and an error without a GPU. What torch finds is faked."""

from pathlib import Path

import pytest
import torch

from tuning_room.errors import MissingPrerequisiteError, ModelError
from tuning_room.models import DEVICE, device, gpu_name, load_model


@pytest.mark.parametrize(
    ("named", "there", "expected"),
    [
        (None, True, "cpu"),
        ("", True, "cpu"),
        ("cpu", True, "cpu"),
        ("auto", True, "cuda"),
        ("auto", False, "cpu"),
        ("cuda", True, "cuda"),
    ],
)
def test_the_variable_chooses(monkeypatch: pytest.MonkeyPatch, named: str | None, there: bool, expected: str) -> None:
    monkeypatch.delenv(DEVICE, raising=False)
    if named is not None:
        monkeypatch.setenv(DEVICE, named)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert device() == expected


@pytest.mark.parametrize(("build", "lacking"), [(None, "a build of torch for CUDA"), ("13.0", "a GPU with its driver")])
def test_cuda_without_a_gpu_says_what_is_lacking(
    monkeypatch: pytest.MonkeyPatch, build: str | None, lacking: str
) -> None:
    monkeypatch.setenv(DEVICE, "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", build)
    with pytest.raises(MissingPrerequisiteError, match=f"finds no GPU; install {lacking}.*or unset {DEVICE}"):
        device()


def test_another_name_is_an_error_that_names_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEVICE, "gpu")
    with pytest.raises(ModelError, match="no such device: 'gpu'; set it to cpu, cuda or auto"):
        device()


def test_the_name_of_the_gpu_is_known_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A Card")
    monkeypatch.delenv(DEVICE, raising=False)
    assert not gpu_name()
    monkeypatch.setenv(DEVICE, "cuda")
    assert gpu_name() == "A Card"


def test_a_model_is_loaded_in_the_precision_that_is_asked_for(tiny_model: Path) -> None:
    assert {weights.dtype for weights in load_model(tiny_model).parameters()} == {torch.float32}
    assert {weights.dtype for weights in load_model(tiny_model, precision="bf16").parameters()} == {torch.bfloat16}
