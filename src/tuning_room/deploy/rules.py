"""What the schemas of KServe and Argo CD let pass and a release must not have.

A violation reads `<file>: <field>: <what is wrong>`. Nothing is written while there is one.
"""

import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import get_type_hints
from urllib.parse import urlsplit

from tuning_room.deploy.argocd import Parameters
from tuning_room.deploy.manifests import RANKS, Document, Documents, ModelServer, served
from tuning_room.deploy.release import slug

ADAPTER_SCHEMES = ("hf", "s3", "pvc")
BASE_SCHEMES = (*ADAPTER_SCHEMES, "oci")
BY_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")
# A commit, a tag written in full, or a version: everything else may be a branch.
PINNED = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}|refs/tags/\S+|v?\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?")
KUSTOMIZATION = {"apiVersion", "kind", "namespace", "resources", "labels", "patches"}
SYNC_OPTION = "ServerSideApply=true"


def violations(documents: Documents) -> list[str]:
    """Return what is wrong with a release's documents, by path; an empty list if nothing is."""
    return list(dict.fromkeys(problem for rule in RULES for problem in rule(documents)))


def _model_servers(documents: Documents) -> Iterator[str]:
    found = [(path, served(doc)) for path, doc in documents.items()]
    servers = [(path, server) for path, server in found if server is not None]
    if not servers:
        yield "base: no LLMInferenceService or InferenceService with a model"
    for path, server in servers:
        for problem in (*server.problems, *_names(server), *_uris(server), *_rank(server), *_lineage(server)):
            yield f"{path}: {problem}"


def _names(server: ModelServer) -> Iterator[str]:
    names = [name for name, _ in server.adapters]
    if not names:
        yield "adapters: there is none"
    if len(set(names)) < len(names):
        yield f"adapters: names are not unique: {', '.join(sorted(names))}"
    for name in names:
        if not name or name in (".", "..") or "/" in name:
            yield f"adapters: name '{name}' cannot be a folder's name"
        if name == server.model_name:
            yield f"adapters: name '{name}' is the base model's name too"


def _uris(server: ModelServer) -> Iterator[str]:
    for name, uri in server.adapters:
        if urlsplit(uri).scheme not in ADAPTER_SCHEMES or not urlsplit(uri).netloc:
            yield f"adapters: {name}: uri '{uri}': KServe loads adapters from hf://, s3:// and pvc:// only"
    if urlsplit(server.base_uri).scheme not in BASE_SCHEMES or not urlsplit(server.base_uri).netloc:
        yield f"model: uri '{server.base_uri}': not hf://, s3://, pvc:// or oci://"
    if server.base_uri.startswith("oci://") and not BY_DIGEST.fullmatch(server.base_uri):
        yield f"model: uri '{server.base_uri}': an image needs its digest (@sha256:...)"
    for image in server.images:
        if not BY_DIGEST.fullmatch(image):
            yield f"image '{image}': an image needs its digest (@sha256:...)"


def _rank(server: ModelServer) -> Iterator[str]:
    rank = server.annotations.get("tuning-room/adapter-rank", "")
    if not rank.isdecimal():
        yield f"metadata.annotations: tuning-room/adapter-rank: '{rank}' is not a rank"
    elif server.max_rank is None:
        yield "the highest LoRA rank (maxRank, --max-lora-rank) is not written; vLLM would take 16"
    elif server.max_rank < int(rank):
        yield f"the highest LoRA rank is {server.max_rank}, the adapter has {rank}"
    elif server.max_rank not in RANKS:
        yield f"the highest LoRA rank is {server.max_rank}, vLLM takes only {', '.join(map(str, RANKS))}"


def _lineage(server: ModelServer) -> Iterator[str]:
    base = server.annotations.get("tuning-room/base-model", "")
    if not base or slug(base) != server.model_name:
        yield f"model: '{server.model_name}' is served, the adapter was trained for '{base}'"
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", server.annotations.get("tuning-room/adapter-digest", "")):
        yield "metadata.annotations: tuning-room/adapter-digest: not a sha256"


def _applications(documents: Documents) -> Iterator[str]:
    projects = [doc for doc in documents.values() if doc.get("kind") == "AppProject"]
    for path, doc, spec in _application_specs(documents):
        options = spec.get("syncPolicy", {}).get("syncOptions", [])
        if SYNC_OPTION not in options:
            yield f"{path}: syncPolicy.syncOptions: {SYNC_OPTION} is missing"
        for repository, revision in _sources(doc, spec):
            yield from (f"{path}: {problem}" for problem in _source(repository, revision))
            if not any(_admits(project, spec, repository) for project in projects):
                yield f"{path}: project '{spec.get('project')}' does not admit this repository and destination"


def _application_specs(documents: Documents) -> Iterator[tuple[str, Document, Document]]:
    for path, doc in documents.items():
        if doc.get("kind") == "Application":
            yield path, doc, doc["spec"]
        elif doc.get("kind") == "ApplicationSet":
            yield path, doc, doc["spec"]["template"]["spec"]


def _sources(doc: Document, spec: Document) -> Iterator[tuple[str, str]]:
    source = spec.get("source", {})
    yield source.get("repoURL", ""), source.get("targetRevision", "")
    for generator in doc["spec"].get("generators", []):
        git = generator.get("git", {})
        yield git.get("repoURL", ""), git.get("revision", "")


def _source(repository: str, revision: str) -> Iterator[str]:
    if not PINNED.fullmatch(revision):
        yield f"revision '{revision}' can move; name a commit, a version or refs/tags/..."
    address = urlsplit(repository)
    if address.password or (address.username and address.scheme in ("http", "https")):
        yield "repoURL: has credentials in it; give them to Argo CD, not to git"
    if not address.scheme and not re.match(r"[\w.-]+@[\w.-]+:", repository):
        yield f"repoURL '{repository}': not the address of a repository"


def _admits(project: Document, spec: Document, repository: str) -> bool:
    bounds = project["spec"]
    wanted = spec.get("destination", {})
    # A templated namespace is judged by the config.yaml that it comes from.
    spaces = [
        to
        for to in bounds.get("destinations", [])
        if to.get("server") == wanted.get("server")
        and ("{{" in wanted.get("namespace", "") or to.get("namespace") == wanted.get("namespace"))
    ]
    named = project["metadata"]["name"] == spec.get("project")
    return named and repository in bounds.get("sourceRepos", []) and bool(spaces)


def _projects(documents: Documents) -> Iterator[str]:
    for path, doc in documents.items():
        if doc.get("kind") != "AppProject":
            continue
        spec = doc["spec"]
        if not spec.get("sourceRepos") or any("*" in url for url in spec["sourceRepos"]):
            yield f"{path}: sourceRepos: name the repositories, no '*'"
        places = [value for to in spec.get("destinations", []) for value in to.values()]
        if not places or any("*" in place for place in places):
            yield f"{path}: destinations: name the cluster and the namespaces, no '*'"
        if spec.get("clusterResourceWhitelist"):
            yield f"{path}: clusterResourceWhitelist: a release needs no cluster-wide resource"


def _kustomizations(documents: Documents) -> Iterator[str]:
    for path, doc in documents.items():
        if PurePosixPath(path).name != "kustomization.yaml":
            continue
        for key in sorted(doc.keys() - KUSTOMIZATION):
            yield f"{path}: {key}: unknown field"
        for name in [*doc.get("resources", []), *(patch.get("path", "") for patch in doc.get("patches", []))]:
            if not _exists(documents, PurePosixPath(path).parent, name):
                yield f"{path}: '{name}' is not in this release"


def _exists(documents: Documents, folder: PurePosixPath, name: str) -> bool:
    parts: list[str] = []
    for part in (folder / name).parts:
        if part == "..":
            parts = parts[:-1]
        else:
            parts.append(part)
    target = "/".join(parts)
    return target in documents or f"{target}/kustomization.yaml" in documents


def _generator_files(documents: Documents) -> Iterator[str]:
    files = {path: doc for path, doc in documents.items() if PurePosixPath(path).name == "config.yaml"}
    for path, doc in files.items():
        yield from (f"{path}: {problem}" for problem in _parameters(doc, documents))
    for path, doc in documents.items():
        if doc.get("kind") != "ApplicationSet":
            continue
        for pattern in _patterns(doc):
            if not any(fnmatch(file, pattern) for file in files):
                yield f"{path}: generators: '{pattern}' finds no config.yaml"


def _parameters(doc: Document, documents: Documents) -> Iterator[str]:
    expected = set(get_type_hints(Parameters))
    for key in sorted(doc.keys() ^ expected):
        yield f"{key}: {'missing' if key in expected else 'unknown field'}"
    overlay = documents.get(f"{doc.get('overlay')}/kustomization.yaml")
    if overlay is None:
        yield f"overlay '{doc.get('overlay')}' is not in this release"
    elif overlay.get("namespace") != doc.get("namespace"):
        yield f"namespace '{doc.get('namespace')}' is not its overlay's, '{overlay.get('namespace')}'"
    if not any(_allows(project, doc.get("namespace", "")) for project in documents.values()):
        yield f"namespace '{doc.get('namespace')}' is not among the project's destinations"


def _allows(project: Document, namespace: str) -> bool:
    if project.get("kind") != "AppProject":
        return False
    return any(to.get("namespace") == namespace for to in project["spec"].get("destinations", []))


def _patterns(doc: Document) -> list[str]:
    files = [file for generator in doc["spec"]["generators"] for file in generator.get("git", {}).get("files", [])]
    return [file.get("path", "") for file in files]


RULES: tuple[Callable[[Documents], Iterator[str]], ...] = (
    _model_servers,
    _applications,
    _projects,
    _kustomizations,
    _generator_files,
)
