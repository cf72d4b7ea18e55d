"""The documents of a release as plain dicts, written and read back: model server, kustomize layers, all by path."""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypedDict

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


ADAPTER_KEYS = {"name", "uri"}


class ModelServer(NamedTuple):
    """What a model server document would serve; `adapters` are pairs of name and uri."""

    model_name: str
    base_uri: str
    max_rank: int | None
    adapters: list[tuple[str, str]]
    images: list[str]
    annotations: dict[str, str]
    problems: list[str]


def served(doc: Document) -> ModelServer | None:
    """Return what a document would serve; None if it is no model server, or only a patch of one."""
    if doc.get("kind") == "LLMInferenceService" and "model" in doc.get("spec", {}):
        return _llm(doc)
    if doc.get("kind") == "InferenceService" and "model" in doc.get("spec", {}).get("predictor", {}):
        return _inference(doc)
    return None


def _llm(doc: Document) -> ModelServer:
    spec = doc["spec"]
    model = spec["model"]
    lora = model.get("lora", {})
    adapters = lora.get("adapters", [])
    containers = spec.get("template", {}).get("containers", [])
    return ModelServer(
        model_name=model.get("name", doc["metadata"]["name"]),
        base_uri=model.get("uri", ""),
        max_rank=lora.get("maxRank"),
        adapters=[(adapter.get("name", ""), adapter.get("uri", "")) for adapter in adapters],
        images=[container["image"] for container in containers if "image" in container],
        annotations=doc["metadata"].get("annotations", {}),
        problems=[*_adapter_keys(adapters), *_own_modules(containers)],
    )


def _adapter_keys(adapters: list[Document]) -> Iterator[str]:
    for number, adapter in enumerate(adapters):
        for key in sorted(adapter.keys() ^ ADAPTER_KEYS):
            fault = "missing" if key in ADAPTER_KEYS else "unknown field"
            yield f"spec.model.lora.adapters[{number}].{key}: {fault}"


def _own_modules(containers: list[Document]) -> Iterator[str]:
    for container in containers:
        words = [*container.get("command", []), *container.get("args", [])]
        words += [variable.get("value", "") for variable in container.get("env", [])]
        if any("--lora-modules" in word for word in words):
            yield f"container '{container.get('name')}': with --lora-modules here KServe adds no adapter of its own"
        if container.get("name") != "main":
            yield f"container '{container.get('name')}': KServe runs vLLM in the one called main"


def _inference(doc: Document) -> ModelServer:
    predictor = doc["spec"]["predictor"]
    arguments = _arguments(predictor["model"].get("args", []))
    storage = predictor.get("storageUris", [])
    modules = [module.partition("=") for module in arguments.get("--lora-modules", [])]
    rank = "".join(arguments.get("--max-lora-rank", []))
    image = predictor["model"].get("image")
    return ModelServer(
        model_name="".join(arguments.get("--served-model-name", [])),
        base_uri=_source(storage, "".join(arguments.get("--model", []))),
        max_rank=int(rank) if rank.isdecimal() else None,
        adapters=[(name, _source(storage, path)) for name, _, path in modules],
        images=[image] if image else [],
        annotations=doc["metadata"].get("annotations", {}),
        problems=list(_inference_problems(predictor, arguments)),
    )


def _inference_problems(predictor: Document, arguments: dict[str, list[str]]) -> Iterator[str]:
    for flag in ("--enable-lora", "--served-model-name", "--model"):
        if flag not in arguments:
            yield f"spec.predictor.model.args: {flag} is missing"
    if "storageUri" in predictor["model"]:
        yield "spec.predictor.model.storageUri: not beside storageUris"
    for number, entry in enumerate(predictor.get("storageUris", [])):
        if entry["uri"].startswith("pvc://") and "/" in entry["uri"].removeprefix("pvc://"):
            yield f"spec.predictor.storageUris[{number}].uri: KServe mounts the whole claim, write no path behind it"


def _arguments(words: list[str]) -> dict[str, list[str]]:
    """Return the flags of a command line with their values, `--flag=value` and `--flag value` alike."""
    found: dict[str, list[str]] = {}
    flag = ""
    for word in words:
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            found[flag] = [value] if equals else []
        elif flag:
            found[flag].append(word)
    return found


def _source(storage: list[Document], path: str) -> str:
    """Return the uri of what lies at a path in the container; '' if nothing is mounted there."""
    for entry in storage:
        mount = entry.get("mountPath", "")
        if path == mount or path.startswith(f"{mount}/"):
            return str(entry["uri"]) + path.removeprefix(mount)
    return ""
