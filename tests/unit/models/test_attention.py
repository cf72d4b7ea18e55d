"""Whether our attention may compute a model. Real here: transformers; the models are small and random (families.py)."""

from pathlib import Path
from typing import Any

import pytest
import torch

from families import write_family
from tuning_room.engines import decoding
from tuning_room.engines.local import LocalEngine
from tuning_room.errors import TrainingError
from tuning_room.models import load_model
from tuning_room.models.attention import departure, is_same, known_scores
from tuning_room.train import batches
from tuning_room.train.adapter import targets

UNLIKE = ["Mistral, window", "Gemma 2", "Gemma 3", "gpt-oss", "Falcon-H1", "LFM2"]


def test_rounding_is_the_same_and_anything_else_is_not() -> None:
    scores = torch.tensor([[4.0, -20.0, 3.0]])
    assert is_same(scores + 0.01, scores)
    assert not is_same(scores + torch.tensor([0.0, 0.0, 0.1]), scores)
    assert not is_same(scores * torch.nan, scores)
    assert is_same((scores + 0.5).bfloat16(), scores)
    assert not is_same((scores + 3).bfloat16(), scores)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Llama", ""),
        ("Qwen3-MoE", ""),
        ("Mistral, window", "2 of 2 layers see a window of tokens only"),
        ("Gemma 2", "1 of 2 layers see a window of tokens only, its attention scores are soft-capped"),
        ("LFM2", "1 of 2 layers keep a state instead of attending"),
        ("Falcon-H1", "2 of 2 layers keep a state beside attending"),
    ],
)
def test_a_configuration_says_how_layers_differ(tmp_path: Path, name: str, said: str) -> None:
    assert departure(load_model(write_family(name, tmp_path)).config) == said


@pytest.mark.parametrize("name", UNLIKE)
def test_a_configuration_that_does_not_say_it_is_found_out(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = load_model(write_family(name, tmp_path))
    own = model.config._attn_implementation
    for module in (decoding, batches):
        monkeypatch.setattr(module, "departure", lambda config: "")
    assert decoding.unlike_lanes(model, known_scores(model))
    assert batches.attend_packed(model)
    assert model.config._attn_implementation == own, "the model stays as it was"
    assert not LocalEngine(tmp_path).is_fast


def test_a_module_that_is_never_called_is_named(tmp_path: Path) -> None:
    model = load_model(write_family("Mamba", tmp_path))
    assert targets(model, "all-linear", 0)["target_modules"] == ["in_proj", "x_proj"]
    with pytest.raises(TrainingError, match=r"train\.target_modules: dt_proj: this model never calls it"):
        targets(model, ["in_proj", "dt_proj"], 0)
