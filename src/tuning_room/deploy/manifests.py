"""The documents of a release as plain dicts: the model server, its kustomize layers, and the whole set by path."""

from typing import Any, TypedDict

from tuning_room.deploy import argocd
from tuning_room.deploy.config import DeployConfig
from tuning_room.deploy.release import Release
from tuning_room.errors import ModelError

Document = dict[str, Any]
Documents = dict[str, Document]

ENVIRONMENTS = ("test", "prod")
# The values that vLLM's --max-lora-rank takes, 1 left out.
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
MODELS = "/mnt/models"


class LoraAdapter(TypedDict):
    """An entry of LLMInferenceService's spec.model.lora.adapters, for which KServe gives no schema."""

    name: str
    uri: str


class StorageUri(TypedDict):
    """An entry of InferenceService's spec.predictor.storageUris."""

    uri: str
    mountPath: str


def documents(config: DeployConfig, release: Release) -> Documents:
    """Return every YAML document of a release by its path in the folder."""
    found: Documents = {
        "project.yaml": argocd.project(config),
        "application.yaml": argocd.application(config, release),
        f"{release.name}/base/kustomization.yaml": _kustomization({"resources": [file_name(config)]}),
        f"{release.name}/base/{file_name(config)}": server(config, release),
    }
    for environment in ENVIRONMENTS:
        overlay = argocd.overlay_path(release, environment)
        found[f"appset-{environment}.yaml"] = argocd.application_set(config, release, environment)
        found[f"{release.name}/{environment}/serving/config.yaml"] = argocd.parameters(config, release, environment)
        found[f"{overlay}/kustomization.yaml"] = _overlay(config, environment)
        found[f"{overlay}/replicas.yaml"] = _replicas(config, release, environment)
    return found


def file_name(config: DeployConfig) -> str:
    """Return the name of the file that holds the model server."""
    return "llminferenceservice.yaml" if config.kind == "llm" else "inferenceservice.yaml"


def server(config: DeployConfig, release: Release) -> Document:
    """Return the model server, without a namespace: an LLMInferenceService or an InferenceService."""
    spec = _llm_spec(config, release) if config.kind == "llm" else {"predictor": _predictor(config, release)}
    metadata = {"name": release.name, "labels": _labels(config), "annotations": _annotations(config, release)}
    return {**_type(config), "metadata": metadata, "spec": spec}


def max_rank(rank: int) -> int:
    """Return the lowest rank bound that vLLM knows and that holds a rank; ModelError above the highest."""
    for bound in RANKS:
        if bound >= rank:
            return bound
    raise ModelError(f"adapter rank {rank}: vLLM serves at most {RANKS[-1]}", hint="train with a lower rank")


def _type(config: DeployConfig) -> Document:
    if config.kind == "llm":
        return {"apiVersion": "serving.kserve.io/v1alpha2", "kind": "LLMInferenceService"}
    return {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService"}


def _labels(config: DeployConfig) -> dict[str, str]:
    return {"app.kubernetes.io/name": config.recipe, "app.kubernetes.io/part-of": "tuning-room"}


def _annotations(config: DeployConfig, release: Release) -> dict[str, str]:
    # The prefix keeps a digest a string: all digits but one 'e' would be read as a number.
    known = {
        "tuning-room/adapter-digest": f"sha256:{release.digest}",
        "tuning-room/adapter-rank": str(release.rank),
        "tuning-room/base-model": release.base_model,
    }
    if release.template_digest:
        known["tuning-room/template-digest"] = f"sha256:{release.template_digest.removeprefix('sha256:')}"
    if config.kind == "inference":
        # storageUris works with Knative only behind a feature flag.
        known["serving.kserve.io/deploymentMode"] = "Standard"
    return known


def _llm_spec(config: DeployConfig, release: Release) -> Document:
    adapter: LoraAdapter = {"name": release.name, "uri": release.adapter_uri}
    container: Document = {"name": "main", "resources": _resources(config), **_image(config)}
    return {
        "model": {
            "uri": release.base_uri,
            "name": release.model_name,
            "lora": {"maxRank": max_rank(release.rank), "maxAdapters": 1, "adapters": [adapter]},
        },
        "replicas": 1,
        "router": {"gateway": {}, "route": {}, "scheduler": {}},
        "template": {"containers": [container]},
    }


def _predictor(config: DeployConfig, release: Release) -> Document:
    base, base_path = _mount(release.base_uri, f"{MODELS}/base", "")
    prefix = release.adapter_uri.removesuffix(f"/{release.name}")
    adapter, adapter_path = _mount(prefix, f"{MODELS}/adapters", f"/{release.name}")
    arguments = [f"--model={base_path}", f"--served-model-name={release.model_name}", "--enable-lora"]
    arguments += ["--lora-modules", f"{release.name}={adapter_path}", "--max-lora-rank", str(max_rank(release.rank))]
    return {
        "minReplicas": 1,
        "maxReplicas": 1,
        "storageUris": [base, adapter],
        "model": {
            "modelFormat": {"name": "vLLM"},
            "runtime": config.runtime,
            "args": arguments,
            "resources": _resources(config),
            **_image(config),
        },
    }


def _mount(uri: str, path: str, below: str) -> tuple[StorageUri, str]:
    """Return what is mounted, and the path of the wanted folder under it.

    In storageUris KServe mounts the whole of a claim and drops the path behind its name.
    """
    if not uri.startswith("pvc://"):
        return {"uri": f"{uri}{below}", "mountPath": f"{path}{below}"}, f"{path}{below}"
    claim, _, inside = uri.removeprefix("pvc://").partition("/")
    folder = f"/{inside}" if inside else ""
    return {"uri": f"pvc://{claim}", "mountPath": path}, f"{path}{folder}{below}"


def _image(config: DeployConfig) -> dict[str, str]:
    return {"image": config.image} if config.image else {}


def _resources(config: DeployConfig) -> Document:
    amounts = {"cpu": config.cpu, "memory": config.memory}
    if config.gpu:
        amounts["nvidia.com/gpu"] = str(config.gpu)
    return {"requests": amounts, "limits": amounts}


def _kustomization(content: Document) -> Document:
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **content}


def _overlay(config: DeployConfig, environment: str) -> Document:
    return _kustomization(
        {
            "namespace": argocd.namespace(config, environment),
            "resources": ["../../base"],
            "labels": [{"pairs": {"tuning-room/environment": environment}, "includeSelectors": False}],
            "patches": [{"path": "replicas.yaml"}],
        }
    )


def _replicas(config: DeployConfig, release: Release, environment: str) -> Document:
    count = config.replicas if environment == "prod" else 1
    predictor = {"predictor": {"minReplicas": count, "maxReplicas": count}}
    spec = {"replicas": count} if config.kind == "llm" else predictor
    return {**_type(config), "metadata": {"name": release.name}, "spec": spec}
