"""What the tests of the in-process engine share."""

from pathlib import Path
from typing import Any

import pytest

NARROW: dict[str, Any] = {
    "r": 2,
    "lora_alpha": 10,
    "target_modules": ["q_proj", "down_proj"],
    "layers_to_transform": [1],
}


@pytest.fixture(autouse=True, scope="module")
def all_on_one_thread(one_thread: None) -> None:
    """Have every module of this folder compute on one thread."""


@pytest.fixture(scope="package")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that was drawn large, so that every reply and likelihood differs from the base's."""
    return drawn_large(tiny_model, tmp_path_factory.mktemp("adapter"), r=4, target_modules="all-linear")


@pytest.fixture(scope="package")
def narrow_adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, of another rank and scale, in fewer modules and the upper layer only."""
    return drawn_large(tiny_model, tmp_path_factory.mktemp("narrow"), **NARROW)


@pytest.fixture(scope="package")
def dora_adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, which no row of a batch can be told to leave out: its layers are not plain LoRA."""
    return drawn_large(tiny_model, tmp_path_factory.mktemp("dora"), **NARROW, use_dora=True)


def drawn_large(base: Path, folder: Path, **shape: Any) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model

    from tuning_room.models import load_model

    torch.manual_seed(9)
    model: Any = get_peft_model(load_model(base), LoraConfig(**shape))
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=1.0)
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder
