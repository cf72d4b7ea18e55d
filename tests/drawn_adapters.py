"""Adapters that were drawn, not trained, for tests of what is done with one."""

from pathlib import Path
from typing import Any

from tuning_room.files import digest
from tuning_room.models import WEIGHTS, load_model, load_tokenizer, portable
from tuning_room.models.lineage import AdapterLineage, write_lineage
from tuning_room.rendering import template_digest

EMBEDDED = "embedded:smollm2-135m"


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
        adapter_digest=digest(adapter / WEIGHTS),
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
