"""The artefact of training: what PEFT and vLLM read, with a card and a lineage beside it."""

from pathlib import Path
from typing import Any

from tuning_room.files import atomic_folder, digest, of_a_run
from tuning_room.models import LINEAGE, WEIGHTS, portable
from tuning_room.records import write_json
from tuning_room.rendering import template_digest
from tuning_room.train.config import TrainConfig
from tuning_room.workspace import Workspace, installed_versions


def write_adapter(trained: dict[str, Any], config: TrainConfig, workspace: Workspace) -> str:
    """Write the adapter's folder, all or nothing, and return the sha256 of its weights."""
    with atomic_folder(workspace.adapter, of_a_run) as folder:
        model = trained["model"]
        # PEFT writes the folder that it was loaded from, which is a path of this machine.
        model.peft_config["default"].base_model_name_or_path = portable(config.model)
        # Otherwise PEFT asks the hub for the base model's vocabulary, under a name that the hub does not know.
        model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
        weights = digest(folder / WEIGHTS)
        write_json(folder / LINEAGE, _lineage(trained, config, workspace, weights))
        (folder / "README.md").write_text(_card(config, weights), encoding="utf-8")
    return weights


def _lineage(trained: dict[str, Any], config: TrainConfig, workspace: Workspace, weights: str) -> dict[str, Any]:
    return {
        "recipe": config.recipe,
        "base_model": portable(config.model),
        "short_prompt": config.short_prompt,
        "adapter_digest": weights,
        "template_digest": template_digest(trained["tokenizer"]),
        "train_digest": digest(workspace.train_rows),
        "config": told(config),
        "versions": installed_versions(),
    }


def told(config: TrainConfig) -> dict[str, Any]:
    """Return a configuration without the places of this machine and of a cluster."""
    values = config.model_dump(mode="json", exclude={"kubeflow", "sweep", "checks", "mlflow"})
    kept = {name: value for name, value in values.items() if not isinstance(getattr(config, name), Path)}
    return {**kept, "model": portable(config.model)}


def _card(config: TrainConfig, weights: str) -> str:
    return f"""---
base_model: {portable(config.model)}
library_name: peft
---
# {config.recipe}-{weights[:8]}

A LoRA adapter (rank {config.rank}, alpha {config.alpha}) that carries the behaviour of a long system prompt.
Serve it with this system turn, under the base model's own chat template:

    {config.short_prompt}

`tuning_room.json` has the lineage: digests of data, template and weights, the configuration and the versions.
What it does and does not do is in the report of the run that made it.
"""
