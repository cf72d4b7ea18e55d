"""Rendering a release.

Real: the stage as the runner calls it, the files it writes, PyYAML. Made up: the adapter folder, whose weights nothing
loads. No cluster, no Argo CD, no KServe.
"""

import subprocess
import sys
from typing import Any

import pytest
from deploy_samples import DIGEST, RELEASE, REPOSITORY, deploy_config, read_release_folder, write_adapter

from drawn_adapters import write_stated_adapter
from tuning_room.deploy import STAGE, DeployResult, run
from tuning_room.errors import (
    AdapterMismatchError,
    DataError,
    MissingInputError,
    ModelError,
    RecipeError,
    StageError,
    TuningRoomError,
)
from tuning_room.files import digest
from tuning_room.workspace import Workspace

COMMON_FILES = {
    "README.md",
    "project.yaml",
    "application.yaml",
    "appset-test.yaml",
    "appset-prod.yaml",
    f"{RELEASE}/base/kustomization.yaml",
    f"{RELEASE}/overlays/test/kustomization.yaml",
    f"{RELEASE}/overlays/test/replicas.yaml",
    f"{RELEASE}/overlays/prod/kustomization.yaml",
    f"{RELEASE}/overlays/prod/replicas.yaml",
    f"{RELEASE}/test/serving/config.yaml",
    f"{RELEASE}/prod/serving/config.yaml",
}
LLM_FILES = {f"{RELEASE}/base/llminferenceservice.yaml", "health/LLMInferenceService/health.lua"}
PIN = "sha256:" + "0" * 64
LLM_PATH = f"{RELEASE}/base/llminferenceservice.yaml"
INFERENCE_PATH = f"{RELEASE}/base/inferenceservice.yaml"


def rendered(workspace: Workspace, **changes: Any) -> dict[str, dict[str, Any]]:
    run(deploy_config(**changes), workspace)
    return read_release_folder(workspace.deploy)


@pytest.mark.parametrize(("kind", "own"), [("llm", LLM_FILES), ("inference", {INFERENCE_PATH})])
def test_writes_exactly_these_files(workspace: Workspace, kind: str, own: set[str]) -> None:
    result = run(deploy_config(kind=kind), workspace)
    written = {file.relative_to(workspace.deploy).as_posix() for file in workspace.deploy.rglob("*") if file.is_file()}
    assert written == COMMON_FILES | own
    assert result == DeployResult(release=RELEASE, files=sorted(written), adapter_uri=f"pvc://adapters/{RELEASE}")


def test_llm_inference_service(workspace: Workspace) -> None:
    amounts = {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}
    assert rendered(workspace)[LLM_PATH] == {
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": "LLMInferenceService",
        "metadata": {
            "name": RELEASE,
            "labels": {"app.kubernetes.io/name": "socratic-tutor", "app.kubernetes.io/part-of": "tuning-room"},
            "annotations": {
                "tuning-room/adapter-digest": f"sha256:{DIGEST}",
                "tuning-room/adapter-rank": "16",
                "tuning-room/base-model": "embedded:smollm2-135m",
                "tuning-room/template-digest": "sha256:" + "ab" * 32,
            },
        },
        "spec": {
            "model": {
                "uri": "pvc://models/smollm2-135m",
                "name": "smollm2-135m",
                "lora": {
                    "maxRank": 16,
                    "maxAdapters": 1,
                    "adapters": [{"name": RELEASE, "uri": f"pvc://adapters/{RELEASE}"}],
                },
            },
            "replicas": 1,
            "router": {"gateway": {}, "route": {}, "scheduler": {}},
            "template": {"containers": [{"name": "main", "resources": {"requests": amounts, "limits": amounts}}]},
        },
    }


def test_inference_service_mounts_whole_claims_and_names_the_folders_below(workspace: Workspace) -> None:
    predictor = rendered(workspace, kind="inference")[INFERENCE_PATH]["spec"]["predictor"]
    assert predictor["storageUris"] == [
        {"uri": "pvc://models", "mountPath": "/mnt/models/base"},
        {"uri": "pvc://adapters", "mountPath": "/mnt/models/adapters"},
    ]
    assert predictor["model"]["modelFormat"] == {"name": "vLLM"}
    assert predictor["model"]["args"] == [
        "--model=/mnt/models/base/smollm2-135m",
        "--served-model-name=smollm2-135m",
        "--enable-lora",
        "--lora-modules",
        f"{RELEASE}=/mnt/models/adapters/{RELEASE}",
        "--max-lora-rank",
        "16",
    ]


def test_inference_service_of_an_image_and_a_bucket(workspace: Workspace) -> None:
    base = f"oci://registry.example.com/models/smollm2@{PIN}"
    predictor = rendered(workspace, kind="inference", base_model_uri=base, adapter_uri="s3://room/adapters/")[
        INFERENCE_PATH
    ]["spec"]["predictor"]
    assert predictor["storageUris"] == [
        {"uri": base, "mountPath": "/mnt/models/base"},
        {"uri": f"s3://room/adapters/{RELEASE}", "mountPath": f"/mnt/models/adapters/{RELEASE}"},
    ]
    assert "--model=/mnt/models/base" in predictor["model"]["args"]
    assert f"{RELEASE}=/mnt/models/adapters/{RELEASE}" in predictor["model"]["args"]


@pytest.mark.parametrize("environment", ["test", "prod"])
def test_application_set_reads_one_config_file_at_a_tag(workspace: Workspace, environment: str) -> None:
    documents = rendered(workspace)
    spec = documents[f"appset-{environment}.yaml"]["spec"]
    assert spec["generators"] == [
        {
            "git": {
                "repoURL": REPOSITORY,
                "revision": f"refs/tags/{RELEASE}",
                "files": [{"path": f"{RELEASE}/{environment}/*/config.yaml"}],
            }
        }
    ]
    assert spec["template"]["spec"]["project"] == documents["project.yaml"]["metadata"]["name"]
    assert spec["template"]["spec"]["source"]["targetRevision"] == f"refs/tags/{RELEASE}"
    assert "ServerSideApply=true" in spec["template"]["spec"]["syncPolicy"]["syncOptions"]
    parameters = documents[f"{RELEASE}/{environment}/serving/config.yaml"]
    assert parameters == {
        "release": RELEASE,
        "environment": environment,
        "component": "serving",
        "namespace": f"tuning-room-{environment}",
        "overlay": f"{RELEASE}/overlays/{environment}",
        "adapterUri": f"pvc://adapters/{RELEASE}",
        "adapterDigest": f"sha256:{DIGEST}",
    }


def test_single_application_is_the_test_environment(workspace: Workspace) -> None:
    spec = rendered(workspace)["application.yaml"]["spec"]
    assert spec["source"]["path"] == f"{RELEASE}/overlays/test"
    assert spec["destination"]["namespace"] == "tuning-room-test"


def test_project_admits_one_repository_and_two_namespaces(workspace: Workspace) -> None:
    spec = rendered(workspace, test_namespace="room-a", prod_namespace="room-b")["project.yaml"]["spec"]
    assert spec["sourceRepos"] == [REPOSITORY]
    assert [to["namespace"] for to in spec["destinations"]] == ["room-a", "room-b"]
    assert spec["clusterResourceWhitelist"] == []


def test_knobs_reach_the_documents(workspace: Workspace) -> None:
    image = f"registry.example.com/vllm@{PIN}"
    documents = rendered(workspace, replicas=3, gpu=0, cpu="500m", memory="6Gi", image=image, revision="v1.2.0")
    (container,) = documents[LLM_PATH]["spec"]["template"]["containers"]
    assert container["image"] == image
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": "6Gi"}
    assert documents[f"{RELEASE}/overlays/prod/replicas.yaml"]["spec"] == {"replicas": 3}
    assert documents[f"{RELEASE}/overlays/test/replicas.yaml"]["spec"] == {"replicas": 1}
    assert documents["appset-prod.yaml"]["spec"]["generators"][0]["git"]["revision"] == "v1.2.0"


@pytest.mark.parametrize(("peft", "bound"), [({"r": 4}, 8), ({"r": 12}, 16), ({"r": 8, "rank_pattern": {"q": 33}}, 64)])
def test_rank_bound_is_one_that_vllm_knows_and_holds_every_layer(
    workspace: Workspace, peft: dict[str, Any], bound: int
) -> None:
    write_adapter(workspace.adapter, peft)
    found = {path.rpartition("/")[2]: document for path, document in rendered(workspace).items()}
    assert found["llminferenceservice.yaml"]["spec"]["model"]["lora"]["maxRank"] == bound


def test_rendering_twice_gives_the_same_bytes(workspace: Workspace) -> None:
    run(deploy_config(), workspace)
    first = digest(workspace.deploy)
    run(deploy_config(), workspace)
    assert digest(workspace.deploy) == first


def test_runner_repeats_the_stage_only_when_something_changed(workspace: Workspace) -> None:
    assert workspace.perform(STAGE, deploy_config())[1]
    assert not workspace.perform(STAGE, deploy_config())[1]
    assert workspace.perform(STAGE, deploy_config(replicas=2))[1]


REFUSED: list[tuple[dict[str, Any], type[TuningRoomError], str]] = [
    ({"recipe": "Socratic_Tutor"}, RecipeError, "deploy.recipe"),
    ({"recipe": "-tutor"}, RecipeError, "deploy.recipe"),
    ({"recipe": "1tutor"}, RecipeError, "deploy.recipe"),
    ({"recipe": "t" * 40}, RecipeError, "at most 34 characters"),
    ({"prod_namespace": "Prod"}, RecipeError, "deploy.prod_namespace"),
    ({"prod_namespace": "tuning-room-test"}, RecipeError, "a namespace of its own"),
    ({"repo_url": ""}, RecipeError, "deploy.repo_url"),
    ({"model": "hub/other-model"}, AdapterMismatchError, "hub/other-model"),
    ({"adapter_uri": "oci://registry.example.com/adapters"}, StageError, "hf://, s3:// and pvc:// only"),
    ({"base_model_uri": "oci://registry.example.com/smollm2:latest"}, StageError, "needs its digest"),
    ({"base_model_uri": "/mnt/models/base"}, StageError, "not hf://, s3://, pvc:// or oci://"),
    ({"image": "vllm/vllm-openai:latest"}, StageError, "needs its digest"),
    ({"revision": "HEAD"}, StageError, "can move"),
    ({"revision": "main"}, StageError, "can move"),
    ({"revision": "1.2.*"}, StageError, "can move"),
    ({"repo_url": "https://bot:secret@git.example.com/a.git"}, StageError, "credentials"),
]


@pytest.mark.parametrize(("changes", "error", "message"), REFUSED, ids=[str(changes) for changes, _, _ in REFUSED])
def test_config_is_refused_and_the_old_release_stays(
    workspace: Workspace, changes: dict[str, Any], error: type[TuningRoomError], message: str
) -> None:
    run(deploy_config(), workspace)
    before = digest(workspace.deploy)
    with pytest.raises(error) as caught:
        run(deploy_config(**changes), workspace)
    assert message in str(caught.value)
    assert caught.value.hint
    assert digest(workspace.deploy) == before


BROKEN: list[tuple[dict[str, Any], dict[str, Any], type[TuningRoomError], str]] = [
    ({"r": 0}, {}, DataError, "not a rank"),
    ({"r": 1024}, {}, ModelError, "at most 512"),
    ({"modules_to_save": ["lm_head"]}, {}, ModelError, "modules_to_save"),
    ({"use_dora": True}, {}, ModelError, "use_dora"),
    ({}, {"adapter_digest": "12345678"}, DataError, "adapter_digest"),
    ({}, {"adapter_digest": None}, DataError, "adapter_digest"),
]


@pytest.mark.parametrize(("peft", "lineage", "error", "message"), BROKEN)
def test_adapter_is_refused(
    workspace: Workspace, peft: dict[str, Any], lineage: dict[str, Any], error: type[TuningRoomError], message: str
) -> None:
    write_adapter(workspace.adapter, peft, **lineage)
    with pytest.raises(error, match=message):
        run(deploy_config(), workspace)
    assert not workspace.deploy.exists()


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "tuning_room.json"])
def test_missing_file_is_named(workspace: Workspace, name: str) -> None:
    (workspace.adapter / name).unlink()
    with pytest.raises(MissingInputError, match=name):
        run(deploy_config(), workspace)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("adapter_config.json", b'{"r": 16'),
        ("adapter_config.json", b'{"r": 16, "lora_alpha": 800}'),
        ("adapter_model.safetensors", b"{"),
        ("adapter_model.safetensors", b"}{"),
    ],
)
def test_an_adapter_that_was_changed_is_refused(workspace: Workspace, name: str, content: bytes) -> None:
    (workspace.adapter / name).write_bytes(content)
    with pytest.raises(AdapterMismatchError, match=r"adapter_config\.json are not those that tuning_room\.json names"):
        run(deploy_config(), workspace)
    assert not workspace.deploy.exists()


def test_an_adapter_of_another_recipe_is_refused(workspace: Workspace) -> None:
    write_adapter(workspace.adapter, recipe="cook")
    with pytest.raises(AdapterMismatchError, match="by the recipe 'cook', not by 'socratic-tutor'"):
        run(deploy_config(), workspace)


def test_settings_that_are_no_json_are_named(workspace: Workspace) -> None:
    write_stated_adapter(workspace.adapter, settings="[]", recipe="socratic-tutor")
    with pytest.raises(DataError, match=r"adapter_config\.json"):
        run(deploy_config(), workspace)


def test_config_imports_nothing_heavy() -> None:
    script = "import sys, tuning_room.deploy.config; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "peft", "jsonschema"} & set(loaded)


def test_readme_names_what_was_rendered(workspace: Workspace) -> None:
    result = run(deploy_config(), workspace)
    text = (workspace.deploy / "README.md").read_text()
    folders = (f"{RELEASE}/overlays/test", f"{RELEASE}/overlays/prod")
    passed = {"README.md", f"{RELEASE}/base/kustomization.yaml"}
    alone = [path for path in result.files if path not in passed and not path.startswith(folders)]
    assert [path for path in (*alone, *folders) if path not in text] == []
    assert "{" not in text


def test_model_card_of_a_report_goes_along(workspace: Workspace) -> None:
    workspace.model_card.write_text("# what was found\n")
    assert "model_card.md" in run(deploy_config(), workspace).files
    assert (workspace.deploy / "model_card.md").read_text() == "# what was found\n"


def test_new_model_card_makes_a_new_release_folder(workspace: Workspace) -> None:
    workspace.perform(STAGE, deploy_config())
    assert workspace.perform(STAGE, deploy_config())[1] is False
    workspace.model_card.write_text("# what was found\n")
    assert workspace.perform(STAGE, deploy_config())[1] is True
