"""What the deploy tests are made of: a fabricated adapter folder, a config, and a way to name what is missing."""

import json
from pathlib import Path
from typing import Any

import yaml

from tuning_room.deploy import DeployConfig

DIGEST = "3f2a9c0d" * 8
RELEASE = "socratic-tutor-3f2a9c0d"
REPOSITORY = "https://git.example.com/team/gitops.git"


def write_adapter(folder: Path, config: dict[str, Any] | None = None, **lineage: Any) -> None:
    """Write a folder that looks like an adapter; the weights are two bytes that no test loads."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {
        "recipe": "socratic-tutor",
        "base_model": "embedded:smollm2-135m",
        "adapter_digest": DIGEST,
        "template_digest": "ab" * 32,
        **lineage,
    }
    peft = {"r": 16, "base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct", **(config or {})}
    (folder / "adapter_config.json").write_text(json.dumps(peft))
    (folder / "adapter_model.safetensors").write_bytes(b"{}")
    (folder / "tuning_room.json").write_text(json.dumps({k: v for k, v in known.items() if v is not None}))


def deploy_config(**changes: Any) -> DeployConfig:
    """Return a config with what has no default, and the changes."""
    values = {"recipe": "socratic-tutor", "model": "embedded:smollm2-135m", "repo_url": REPOSITORY, **changes}
    return DeployConfig.model_validate(values)


def read_release_folder(folder: Path) -> dict[str, dict[str, Any]]:
    """Return every YAML document below a folder by its path."""
    files = sorted(folder.rglob("*.yaml"))
    return {file.relative_to(folder).as_posix(): yaml.safe_load(file.read_text()) for file in files}
