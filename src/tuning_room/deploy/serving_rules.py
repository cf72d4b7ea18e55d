"""The two kinds of model server read back as one, with what is wrong in how each is written."""

from collections.abc import Iterator
from typing import NamedTuple

from tuning_room.deploy.manifests import Document

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
