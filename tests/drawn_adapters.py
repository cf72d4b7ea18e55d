"""Adapters that were drawn, not trained, for tests of what is done with one."""

import json
from pathlib import Path
from typing import Any

from tuning_room.files import digest
from tuning_room.models import load_model, load_tokenizer
from tuning_room.rendering import template_digest

EMBEDDED = "embedded:smollm2-135m"


def write_small_run(base: Path, root: Path, recipe: str, seed: int) -> Path:
    """Write the adapter of a run folder, and what training would say of it."""
    adapter = root / "adapter"
    write_drawn_adapter(base, adapter, seed)
    lineage = {
        "recipe": recipe,
        "base_model": EMBEDDED,
        "short_prompt": "You are a helper.",
        "adapter_digest": digest(adapter / "adapter_model.safetensors"),
        "template_digest": template_digest(load_tokenizer(base)),
    }
    (adapter / "tuning_room.json").write_text(json.dumps(lineage), encoding="utf-8")
    return root


def write_drawn_adapter(base: Path, folder: Path, seed: int = 3) -> None:
    """Write a LoRA adapter whose weights are random under a fixed seed."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    model: Any = get_peft_model(load_model(base), config)
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.25)
    model.peft_config["default"].base_model_name_or_path = EMBEDDED
    model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
