"""What the unit tests share: a recipe of a few lines, to be changed or spoilt by a test, and strict schemas."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from crd_schemas import read_schema
from hypothesis import settings

PROJECT = Path(__file__).parents[2]

# A machine that does something else meanwhile is no failure.
settings.register_profile("unhurried", deadline=None, max_examples=50)
settings.load_profile("unhurried")

WriteRecipe = Callable[..., Path]


@pytest.fixture
def write_recipe(tmp_path: Path) -> WriteRecipe:
    """Return a function that writes a recipe with the given top-level keys changed; None leaves a key out."""

    def write(**changes: Any) -> Path:
        folder = tmp_path / "recipe"
        (folder / "documents").mkdir(parents=True, exist_ok=True)
        (folder / "prompt.md").write_text("You are a cook. Never name a price.\n", encoding="utf-8")
        item = {"id": "item-1", "prompt": "How long do I boil 3 eggs?", "gold": "7"}
        (folder / "items.jsonl").write_text(json.dumps(item) + "\n", encoding="utf-8")
        values: dict[str, Any] = {
            "name": "cook",
            "model": "embedded:smollm2-135m",
            "full_prompt": "prompt.md",
            "short_prompt": "You are a cook.",
            "documents": "documents",
            "suites": {"kitchen": "items.jsonl"},
            **changes,
        }
        kept = {key: value for key, value in values.items() if value is not None}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(kept), encoding="utf-8")
        return folder

    return write


@pytest.fixture(scope="session")
def crds() -> Path:
    """The folder of the custom resource definitions, which lie outside the repository (docs/schemas.md)."""
    return Path(os.environ.get("TUNING_ROOM_CRDS") or PROJECT.parent / "shared" / "crds")


@pytest.fixture(scope="session")
def schema_errors(crds: Path) -> Callable[[dict[str, Any]], list[str]]:
    """Return a function that names what a document's own CRD refuses; unknown fields are refused."""
    from jsonschema import Draft202012Validator

    validators: dict[tuple[str, str], Draft202012Validator] = {}

    def errors(document: dict[str, Any]) -> list[str]:
        key = (document["apiVersion"], document["kind"])
        if key not in validators:
            validators[key] = Draft202012Validator(read_schema(crds, *key))
        return [f"{error.json_path}: {error.message}" for error in validators[key].iter_errors(document)]

    return errors
