"""The rendered documents against the schemas of the kinds they are.

Real: the custom resource definitions of KServe and Argo CD, read in place and made strict; kustomize inside kubectl.
Not shown here: what webhooks and controllers refuse beyond the schemas, and the schemas' CEL rules.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from crd_schemas import read_schema
from deploy_samples import RELEASE, deploy_config, read_release_folder

from tuning_room.deploy import run
from tuning_room.workspace import Workspace

SchemaErrors = Callable[[dict[str, Any]], list[str]]

OCI = "oci://registry.example.com/models/smollm2@sha256:" + "0" * 64
IMAGE = "registry.example.com/vllm@sha256:" + "0" * 64
VARIANTS: list[dict[str, Any]] = [
    {"kind": "llm"},
    {"kind": "inference"},
    {"kind": "llm", "base_model_uri": OCI, "adapter_uri": "hf://team", "gpu": 0, "image": IMAGE, "replicas": 3},
    {"kind": "inference", "base_model_uri": OCI, "adapter_uri": "s3://room/adapters", "gpu": 0, "image": IMAGE},
]


def test_a_missing_schema_fails_where_everything_is_to_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ci, outcome in (("true", pytest.fail.Exception), ("", pytest.skip.Exception)):
        monkeypatch.setenv("CI", ci)
        with pytest.raises(outcome, match=r"outside the repository, docs/schemas\.md"):
            read_schema(tmp_path, "argoproj.io/v1alpha1", "Application")


def is_custom_resource(document: dict[str, Any]) -> bool:
    return str(document.get("apiVersion")).startswith(("serving.kserve.io/", "argoproj.io/"))


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_every_document_fits_its_schema(
    workspace: Workspace, schema_errors: SchemaErrors, changes: dict[str, Any]
) -> None:
    run(deploy_config(**changes), workspace)
    documents = read_release_folder(workspace.deploy)
    custom = {path: doc for path, doc in documents.items() if is_custom_resource(doc)}
    assert {path: schema_errors(doc) for path, doc in custom.items()} == {path: [] for path in custom}
    assert len(custom) == 7
    others = {doc.get("kind", "parameters") for path, doc in documents.items() if path not in custom}
    assert others == {"Kustomization", "parameters"}


MISSPELT: list[tuple[str, str, tuple[str | int, ...], str, str]] = [
    ("inference", f"{RELEASE}/base/inferenceservice.yaml", ("spec", "predictor"), "storageUris", "storageURIs"),
    ("inference", f"{RELEASE}/base/inferenceservice.yaml", ("spec", "predictor", "model"), "args", "arguments"),
    ("inference", f"{RELEASE}/base/inferenceservice.yaml", ("spec", "predictor", "storageUris", 0), "uri", "url"),
    ("inference", f"{RELEASE}/base/inferenceservice.yaml", ("spec", "predictor", "model"), "modelFormat", "format"),
    ("llm", f"{RELEASE}/base/llminferenceservice.yaml", ("spec", "model"), "uri", "url"),
    ("llm", f"{RELEASE}/base/llminferenceservice.yaml", ("spec", "model"), "lora", "loRA"),
    ("llm", f"{RELEASE}/base/llminferenceservice.yaml", ("spec", "model", "lora"), "maxRank", "max_rank"),
    ("llm", f"{RELEASE}/base/llminferenceservice.yaml", ("spec",), "replicas", "replica"),
    ("llm", f"{RELEASE}/base/llminferenceservice.yaml", ("spec", "template", "containers", 0), "resources", "resource"),
    ("llm", f"{RELEASE}/overlays/prod/replicas.yaml", ("spec",), "replicas", "Replicas"),
    ("llm", "application.yaml", ("spec", "syncPolicy"), "syncOptions", "syncOption"),
    ("llm", "application.yaml", ("spec", "source"), "repoURL", "repoUrl"),
    ("llm", "appset-prod.yaml", ("spec", "generators", 0, "git"), "revision", "targetRevision"),
    ("llm", "appset-prod.yaml", ("spec", "template", "spec", "syncPolicy"), "automated", "automatic"),
    ("llm", "project.yaml", ("spec",), "sourceRepos", "sourceRepo"),
]


def at(document: Any, place: tuple[str | int, ...]) -> Any:
    for step in place:
        document = document[step]
    return document


@pytest.mark.parametrize(("kind", "path", "place", "right", "wrong"), MISSPELT)
def test_misspelt_field_is_refused_by_the_schema(
    workspace: Workspace,
    schema_errors: SchemaErrors,
    kind: str,
    path: str,
    place: tuple[str | int, ...],
    right: str,
    wrong: str,
) -> None:
    run(deploy_config(kind=kind), workspace)
    document = read_release_folder(workspace.deploy)[path]
    holder = at(document, place)
    holder[wrong] = holder.pop(right)
    assert any(f"'{wrong}' was unexpected" in error for error in schema_errors(document))


def test_storage_uri_in_capitals_is_refused(workspace: Workspace, schema_errors: SchemaErrors) -> None:
    run(deploy_config(kind="inference"), workspace)
    document = read_release_folder(workspace.deploy)[f"{RELEASE}/base/inferenceservice.yaml"]
    document["spec"]["predictor"]["model"]["storageURI"] = "pvc://models/smollm2-135m"
    assert any("'storageURI' was unexpected" in error for error in schema_errors(document))


@pytest.mark.parametrize("kind", ["llm", "inference"])
@pytest.mark.parametrize(("environment", "count"), [("test", 1), ("prod", 3)])
def test_kustomize_renders_each_environment(
    workspace: Workspace, kubectl: str, schema_errors: SchemaErrors, kind: str, environment: str, count: int
) -> None:
    run(deploy_config(kind=kind, replicas=3), workspace)
    base = read_release_folder(workspace.deploy / RELEASE / "base")
    (expected,) = [doc for doc in base.values() if doc["kind"] != "Kustomization"]
    expected["metadata"]["namespace"] = f"tuning-room-{environment}"
    expected["metadata"]["labels"]["tuning-room/environment"] = environment
    if kind == "llm":
        expected["spec"]["replicas"] = count
    else:
        expected["spec"]["predictor"].update(minReplicas=count, maxReplicas=count)

    overlay = workspace.deploy / RELEASE / "overlays" / environment
    output = subprocess.run([kubectl, "kustomize", str(overlay)], capture_output=True, text=True, check=True).stdout
    (document,) = yaml.safe_load_all(output)
    assert document == expected
    assert schema_errors(document) == []
