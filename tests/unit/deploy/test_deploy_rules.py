"""Our own rules: each known mistake, put into a rendered release by hand, is found in its file, and nothing else is.

Real: the documents as the stage renders them. The rules stand where KServe's and Argo CD's schemas are silent.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deploy_samples import RELEASE, deploy_config, write_adapter

from tuning_room.deploy.manifests import Documents, documents
from tuning_room.deploy.release import check_names, read_release
from tuning_room.deploy.rules import violations
from tuning_room.errors import RecipeError

LLM = f"{RELEASE}/base/llminferenceservice.yaml"
INFERENCE = f"{RELEASE}/base/inferenceservice.yaml"
PROD = f"{RELEASE}/overlays/prod/kustomization.yaml"
PARAMETERS = f"{RELEASE}/prod/serving/config.yaml"


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Documents]:
    folder: Path = tmp_path_factory.mktemp("run") / "adapter"
    write_adapter(folder)
    configs = {kind: deploy_config(kind=kind) for kind in ("llm", "inference")}
    return {kind: documents(config, read_release(config, folder)) for kind, config in configs.items()}


@pytest.mark.parametrize("kind", ["llm", "inference"])
def test_what_the_stage_renders_breaks_no_rule(releases: dict[str, Documents], kind: str) -> None:
    assert violations(releases[kind]) == []


@pytest.mark.parametrize("field", ["test_namespace", "prod_namespace"])
@pytest.mark.parametrize("recipe", ["kay", "a" * 20, "b-9" * 10])
def test_a_host_name_of_kserve_has_63_characters_at_most(recipe: str, field: str) -> None:
    longest = 63 - len(f"{recipe}-12345678-predictor-")
    fits = {"recipe": recipe, "test_namespace": "t1", "prod_namespace": "p1", field: "n" * longest}
    check_names(deploy_config(kind="inference", **fits))
    with pytest.raises(RecipeError, match=f"deploy.{field} .* has 64 characters, more than 63") as caught:
        check_names(deploy_config(kind="inference", **{**fits, field: "n" * (longest + 1)}))
    assert "by 1 characters" in caught.value.hint
    check_names(deploy_config(kind="llm", **{**fits, field: "n" * (longest + 1)}))


def test_no_documents_are_no_release() -> None:
    assert violations({}) == ["base: no LLMInferenceService or InferenceService with a model"]


def lora(docs: Documents) -> dict[str, Any]:
    found: dict[str, Any] = docs[LLM]["spec"]["model"]["lora"]
    return found


def adapter(docs: Documents) -> dict[str, Any]:
    found: dict[str, Any] = lora(docs)["adapters"][0]
    return found


def arguments(docs: Documents) -> list[str]:
    found: list[str] = docs[INFERENCE]["spec"]["predictor"]["model"]["args"]
    return found


def container(docs: Documents) -> dict[str, Any]:
    found: dict[str, Any] = docs[LLM]["spec"]["template"]["containers"][0]
    return found


def template(docs: Documents, name: str = "appset-prod.yaml") -> dict[str, Any]:
    found: dict[str, Any] = docs[name]["spec"]["template"]["spec"]
    return found


def git(docs: Documents) -> dict[str, Any]:
    found: dict[str, Any] = docs["appset-prod.yaml"]["spec"]["generators"][0]["git"]
    return found


def replace(words: list[str], old: str, new: str) -> None:
    words[words.index(old)] = new


Mutation = Callable[[Documents], Any]
LLM_MUTATIONS: dict[str, tuple[Mutation, str, str]] = {
    "url for uri": (lambda d: adapter(d).update(url=adapter(d).pop("uri")), LLM, "adapters[0].url: unknown field"),
    "adapter without name": (lambda d: adapter(d).pop("name"), LLM, "adapters[0].name: missing"),
    "adapter from oci": (lambda d: adapter(d).update(uri="oci://r.example.com/a"), LLM, "hf://, s3:// and pvc:// only"),
    "adapter from https": (lambda d: adapter(d).update(uri="https://a.example.com/a"), LLM, "s3:// and pvc:// only"),
    "two adapters of one name": (lambda d: lora(d)["adapters"].append(dict(adapter(d))), LLM, "not unique"),
    "adapter with the base's name": (lambda d: adapter(d).update(name="smollm2-135m"), LLM, "base model's name too"),
    "adapter called ..": (lambda d: adapter(d).update(name=".."), LLM, "cannot be a folder's name"),
    "no adapter": (lambda d: lora(d).update(adapters=[]), LLM, "adapters: there is none"),
    "maxRank below the adapter's": (lambda d: lora(d).update(maxRank=8), LLM, "is 8, the adapter has 16"),
    "maxRank not written": (lambda d: lora(d).pop("maxRank"), LLM, "is not written"),
    "maxRank unknown to vLLM": (lambda d: lora(d).update(maxRank=17), LLM, "vLLM takes only"),
    "rank not recorded": (
        lambda d: d[LLM]["metadata"]["annotations"].pop("tuning-room/adapter-rank"),
        LLM,
        "is not a rank",
    ),
    "digest not recorded": (
        lambda d: d[LLM]["metadata"]["annotations"].pop("tuning-room/adapter-digest"),
        LLM,
        "not a sha256",
    ),
    "another base model": (lambda d: d[LLM]["spec"]["model"].update(name="llama"), LLM, "was trained for"),
    "base image by tag": (lambda d: d[LLM]["spec"]["model"].update(uri="oci://r.example.com/m:1"), LLM, "its digest"),
    "vllm image by tag": (lambda d: container(d).update(image="vllm/vllm-openai:v1"), LLM, "its digest"),
    "own lora modules": (lambda d: container(d).update(args=["--lora-modules", "a=b"]), LLM, "KServe adds no adapter"),
    "container not main": (lambda d: container(d).update(name="vllm"), LLM, "the one called main"),
    "sync option missing": (lambda d: template(d)["syncPolicy"].pop("syncOptions"), "appset-prod.yaml", "is missing"),
    "sync option false": (
        lambda d: d["application.yaml"]["spec"]["syncPolicy"].update(syncOptions=["ServerSideApply=false"]),
        "application.yaml",
        "ServerSideApply=true is missing",
    ),
    "HEAD in prod": (lambda d: template(d)["source"].update(targetRevision="HEAD"), "appset-prod.yaml", "can move"),
    "no revision in prod": (lambda d: template(d)["source"].pop("targetRevision"), "appset-prod.yaml", "can move"),
    "branch in the generator": (lambda d: git(d).update(revision="main"), "appset-prod.yaml", "can move"),
    "other repository": (
        lambda d: git(d).update(repoURL="https://git.example.com/other.git"),
        "appset-prod.yaml",
        "does not admit",
    ),
    "default project": (lambda d: template(d).update(project="default"), "appset-prod.yaml", "does not admit"),
    "other cluster": (
        lambda d: template(d)["destination"].update(server="https://other.example.com"),
        "appset-prod.yaml",
        "does not admit",
    ),
    "pattern finds nothing": (
        lambda d: git(d).update(files=[{"path": "other/prod/*/config.yaml"}]),
        "appset-prod.yaml",
        "finds no config.yaml",
    ),
    "any repository": (
        lambda d: d["project.yaml"]["spec"]["sourceRepos"].append("*"),
        "project.yaml",
        "name the repositories",
    ),
    "any namespace": (
        lambda d: d["project.yaml"]["spec"]["destinations"].append({"server": "*", "namespace": "*"}),
        "project.yaml",
        "name the cluster",
    ),
    "cluster resources": (
        lambda d: d["project.yaml"]["spec"].update(clusterResourceWhitelist=[{"group": "*", "kind": "*"}]),
        "project.yaml",
        "no cluster-wide resource",
    ),
    "misspelt kustomization": (lambda d: d[PROD].update(resource=[]), PROD, "resource: unknown field"),
    "base not there": (lambda d: d[PROD].update(resources=["../../bases"]), PROD, "is not in this release"),
    "misspelt parameter": (
        lambda d: d[PARAMETERS].update(nameSpace=d[PARAMETERS].pop("namespace")),
        PARAMETERS,
        "nameSpace: unknown field",
    ),
    "overlay not there": (lambda d: d[PARAMETERS].update(overlay="overlays/prd"), PARAMETERS, "is not in this release"),
    "other namespace": (lambda d: d[PARAMETERS].update(namespace="prod"), PARAMETERS, "not its overlay's"),
}
INFERENCE_MUTATIONS: dict[str, tuple[Mutation, str]] = {
    "lora not enabled": (lambda d: arguments(d).remove("--enable-lora"), "--enable-lora is missing"),
    "rank below the adapter's": (lambda d: replace(arguments(d), "16", "8"), "is 8, the adapter has 16"),
    "rank not written": (lambda d: arguments(d).__delitem__(slice(-2, None)), "is not written"),
    "served under the adapter's name": (
        lambda d: replace(arguments(d), "--served-model-name=smollm2-135m", f"--served-model-name={RELEASE}"),
        "is the base model's name too",
    ),
    "adapter where nothing is mounted": (
        lambda d: replace(arguments(d), f"{RELEASE}=/mnt/models/adapters/{RELEASE}", f"{RELEASE}=/adapters"),
        "hf://, s3:// and pvc:// only",
    ),
    "path behind a claim": (
        lambda d: d[INFERENCE]["spec"]["predictor"]["storageUris"][1].update(uri=f"pvc://adapters/{RELEASE}"),
        "mounts the whole claim",
    ),
    "adapter from oci": (
        lambda d: d[INFERENCE]["spec"]["predictor"]["storageUris"][1].update(uri="oci://r.example.com/a"),
        "hf://, s3:// and pvc:// only",
    ),
    "storageUri beside storageUris": (
        lambda d: d[INFERENCE]["spec"]["predictor"]["model"].update(storageUri="pvc://models"),
        "not beside storageUris",
    ),
}


@pytest.mark.parametrize("mistake", LLM_MUTATIONS)
def test_mistake_is_found_in_its_file(releases: dict[str, Documents], mistake: str) -> None:
    mutate, path, message = LLM_MUTATIONS[mistake]
    docs = copy.deepcopy(releases["llm"])
    mutate(docs)
    found = violations(docs)
    assert any(problem.startswith(f"{path}: ") and message in problem for problem in found), found
    assert {problem.split(": ")[0] for problem in found} == {path} or mistake == "any namespace"


@pytest.mark.parametrize("mistake", INFERENCE_MUTATIONS)
def test_mistake_in_an_inference_service_is_found(releases: dict[str, Documents], mistake: str) -> None:
    mutate, message = INFERENCE_MUTATIONS[mistake]
    docs = copy.deepcopy(releases["inference"])
    mutate(docs)
    found = violations(docs)
    assert any(problem.startswith(f"{INFERENCE}: ") and message in problem for problem in found), found


PINNED = ["a" * 40, "b" * 64, "refs/tags/any", "v1.2.3", "1.2.3", "v1.2.3-rc.1"]
FLOATING = ["", "HEAD", "main", "master", "v1", "1.2", "1.2.x", ">=1.0.0", "*", "refs/heads/main", "abc1234", RELEASE]


@pytest.mark.parametrize("revision", PINNED)
def test_revision_that_cannot_move_passes(releases: dict[str, Documents], revision: str) -> None:
    docs = copy.deepcopy(releases["llm"])
    git(docs)["revision"] = revision
    assert violations(docs) == []


@pytest.mark.parametrize("revision", FLOATING)
def test_revision_that_can_move_is_refused(releases: dict[str, Documents], revision: str) -> None:
    docs = copy.deepcopy(releases["llm"])
    git(docs)["revision"] = revision
    (problem,) = violations(docs)
    assert problem.startswith("appset-prod.yaml: revision") and "can move" in problem
