"""What is said of a model before the first stage. Real here: transformers and PEFT; the folders hold no weights."""

import json
from pathlib import Path
from typing import Any

import pytest

from families import FAMILIES, write_family
from tuning_room.errors import ModelError, TrainingError
from tuning_room.models.architectures import check_architecture
from tuning_room.train.adapter import check_targets

SMALL = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 90,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def folder(place: Path, **changes: Any) -> Path:
    settings = {name: value for name, value in {**SMALL, **changes}.items() if value is not None}
    (place / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    return place


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "brandnew"}, "knows no models of type 'brandnew'"),
        ({"model_type": "brandnew", "auto_map": {"AutoModel": "m.M"}}, "needs code of its own, which is never run"),
        ({"model_type": None}, "knows no models of type None"),
        ({"model_type": ["llama"]}, "knows no models of type"),
        ({"model_type": "t5", "architectures": None}, "models of type 't5' are no causal language models"),
        ({"model_type": "clip", "architectures": None}, "models of type 'clip' are no causal language models"),
        ({"model_type": "bart", "is_encoder_decoder": True}, "models of type 'bart' are no causal language models"),
        (
            {"architectures": ["LlamaForSequenceClassification"]},
            "weights are those of a LlamaForSequenceClassification",
        ),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "weights are those of a BertForMaskedLM"),
        ({"architectures": ["LlamaModel"]}, "weights are those of a LlamaModel, not of a causal language model"),
        (
            {"quantization_config": {"quant_method": "gptq", "bits": 4}},
            "its weights are quantized, and here they cannot",
        ),
        ({"quantization_config": {"quant_method": "own"}}, "its weights are quantized, and here they cannot be read"),
        ({"hidden_size": "wide"}, "transformers cannot build it"),
        ({"num_attention_heads": 0}, "transformers cannot build it"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError) as caught:
        check_architecture("some/model", folder(tmp_path, **changes))
    assert str(caught.value).startswith("model 'some/model': ") and said in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.hint


@pytest.mark.parametrize("text", [None, "", "{", "[1]", "nonsense"])
def test_a_folder_without_settings_is_left_to_loading(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
    check_architecture("some/model", tmp_path)


def test_modules_that_no_layer_has_and_too_few_layers_are_said(tmp_path: Path) -> None:
    def fits(modules: str | list[str], skipped: int = 0) -> None:
        check_architecture("m", folder(tmp_path), fits=lambda model: check_targets(model, modules, skipped))

    fits("all-linear")
    fits(["q_proj", "down_proj"], 1)
    with pytest.raises(TrainingError, match=r"train\.target_modules: Target modules .*query_key_value"):
        fits(["query_key_value"])
    with pytest.raises(TrainingError, match=r"train\.skip_layers is 2, but the model has 2 layers"):
        fits("all-linear", 2)


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_of_the_matrix_passes(tmp_path: Path, name: str) -> None:
    write_family(name, tmp_path)
    check_architecture(name, tmp_path, fits=lambda model: check_targets(model, "all-linear", 0))
