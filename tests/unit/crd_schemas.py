"""The schemas of custom resource definitions, made strict: what an API server would refuse is refused."""

from pathlib import Path
from typing import Any

import yaml

from prerequisites import missing


def read_schema(crds: Path, api_version: str, kind: str) -> dict[str, Any]:
    group, _, version = api_version.partition("/")
    file = crds / f"{group}_{kind.lower()}s.yaml"
    if not file.is_file():
        missing(f"{file} does not exist: the schemas lie outside the repository, docs/schemas.md says how to get them")
    definition = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
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
