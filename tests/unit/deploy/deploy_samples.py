"""What the deploy tests are made of: a fabricated adapter folder, a config, and a way to name what is missing."""

import json
from pathlib import Path
from typing import Any

import yaml

from drawn_adapters import stated_digest, write_stated_adapter
from tuning_room.deploy import DeployConfig

SETTINGS = {"r": 16, "base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct"}
DIGEST = stated_digest(b"{}", json.dumps(SETTINGS))
RELEASE = f"socratic-tutor-{DIGEST[:8]}"
REPOSITORY = "https://git.example.com/team/gitops.git"


def write_adapter(folder: Path, config: dict[str, Any] | None = None, **lineage: Any) -> None:
    """Write a folder that looks like an adapter; the weights are two bytes that no test loads."""
    known = {"recipe": "socratic-tutor", **lineage}
    write_stated_adapter(folder, b"{}", json.dumps({**SETTINGS, **(config or {})}), **known)


def deploy_config(**changes: Any) -> DeployConfig:
    """Return a config with what has no default, and the changes."""
    values = {"recipe": "socratic-tutor", "model": "embedded:smollm2-135m", "repo_url": REPOSITORY, **changes}
    return DeployConfig.model_validate(values)


def read_release_folder(folder: Path) -> dict[str, dict[str, Any]]:
    """Return every YAML document below a folder by its path."""
    files = sorted(folder.rglob("*.yaml"))
    return {file.relative_to(folder).as_posix(): yaml.safe_load(file.read_text()) for file in files}
