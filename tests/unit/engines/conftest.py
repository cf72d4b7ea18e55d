"""What the tests of the in-process engine share."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="module")
def all_on_one_thread(one_thread: None) -> None:
    """Have every module of this folder compute on one thread."""


@pytest.fixture(scope="package")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that was drawn large, so that every reply and likelihood differs from the base's."""
    import torch
    from peft import LoraConfig, get_peft_model

    from tuning_room.models import load_model

    torch.manual_seed(9)
    model: Any = get_peft_model(load_model(tiny_model), LoraConfig(r=4, target_modules="all-linear"))
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=1.0)
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder
