"""Adapters that were drawn, not trained, for tests of what is done with one."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from tuning_room.models import load_model, load_tokenizer, portable
from tuning_room.models.lineage import AdapterLineage, adapter_digest, write_lineage
from tuning_room.rendering import template_digest

EMBEDDED = "embedded:smollm2-135m"
WEIGHTS, SETTINGS = b"weights", '{"r": 12}'  # of an adapter that nothing loads


def stated_digest(weights: bytes = WEIGHTS, settings: str = SETTINGS) -> str:
    """Return the digest of an adapter with these files, worked out by hand."""
    files = {"adapter_config.json": settings.encode(), "adapter_model.safetensors": weights}
    lines = "".join(f"{name} {sha256(content).hexdigest()}\n" for name, content in files.items())
    return sha256(lines.encode()).hexdigest()


def write_stated_adapter(folder: Path, weights: bytes = WEIGHTS, settings: str = SETTINGS, **lineage: Any) -> None:
    """Write an adapter's folder that nothing loads, and what training would say of it; None leaves a field out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(weights)
    (folder / "adapter_config.json").write_text(settings, encoding="utf-8")
    stated = {
        "recipe": "cook",
        "base_model": EMBEDDED,
        "adapter_digest": stated_digest(weights, settings),
        "template_digest": "ab" * 32,
        **lineage,
    }
    text = json.dumps({name: value for name, value in stated.items() if value is not None})
    (folder / "tuning_room.json").write_text(text, encoding="utf-8")


def write_small_run(base: Path, root: Path, recipe: str, seed: int) -> Path:
    """Write the adapter of a run folder, and what training would say of it."""
    write_drawn_adapter(base, root / "adapter", seed)
    write_drawn_lineage(base, root / "adapter", recipe)
    return root


def write_drawn_lineage(base: Path, adapter: Path, recipe: str, base_model: str = EMBEDDED) -> None:
    """Write what training would say of an adapter for a base model, which is named as a recipe names it."""
    lineage = AdapterLineage(
        recipe=recipe,
        base_model=portable(base_model),
        short_prompt="You are a helper.",
        adapter_digest=adapter_digest(adapter),
        template_digest=template_digest(load_tokenizer(base)),
    )
    write_lineage(adapter, lineage)


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
