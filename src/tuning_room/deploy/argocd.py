"""What Argo CD reads: the project that bounds it, an ApplicationSet per environment, and a single Application."""

from typing import TypedDict

from tuning_room.deploy.config import DeployConfig
from tuning_room.deploy.release import Release

API = "argoproj.io/v1alpha1"
CLUSTER = "https://kubernetes.default.svc"
COMPONENT = "serving"


class Parameters(TypedDict):
    """A config.yaml: what the git files generator hands to an ApplicationSet's template."""

    release: str
    environment: str
    component: str
    namespace: str
    overlay: str
    adapterUri: str
    adapterDigest: str


def parameters(config: DeployConfig, release: Release, environment: str) -> dict[str, object]:
    """Return an environment's config.yaml."""
    values: Parameters = {
        "release": release.name,
        "environment": environment,
        "component": COMPONENT,
        "namespace": namespace(config, environment),
        "overlay": overlay_path(release, environment),
        "adapterUri": release.adapter_uri,
        "adapterDigest": f"sha256:{release.digest}",
    }
    return dict(values)


def project(config: DeployConfig) -> dict[str, object]:
    """Return the AppProject: this repository, these two namespaces, KServe's model servers, nothing else."""
    spaces = (config.test_namespace, config.prod_namespace)
    kinds = ("LLMInferenceService", "InferenceService")
    spec = {
        "description": f"Releases of {config.recipe}",
        "sourceRepos": [config.repo_url],
        "destinations": [{"server": CLUSTER, "namespace": space} for space in spaces],
        "clusterResourceWhitelist": [],
        "namespaceResourceWhitelist": [{"group": "serving.kserve.io", "kind": kind} for kind in kinds],
    }
    return {"apiVersion": API, "kind": "AppProject", "metadata": _metadata(config, project_name(config)), "spec": spec}


def application_set(config: DeployConfig, release: Release, environment: str) -> dict[str, object]:
    """Return an environment's ApplicationSet, which reads the release's config.yaml at one revision.

    The Application keeps its name from release to release, so that the next one replaces this one.
    """
    pinned = revision(config, release)
    files = [{"path": f"{release.name}/{environment}/*/config.yaml"}]
    template = {
        "metadata": {"name": f"{config.recipe}-{{{{ .component }}}}-{environment}"},
        "spec": _application_spec(config, pinned, "{{ .overlay }}", "{{ .namespace }}"),
    }
    spec = {
        "goTemplate": True,
        "goTemplateOptions": ["missingkey=error"],
        "generators": [{"git": {"repoURL": config.repo_url, "revision": pinned, "files": files}}],
        "template": template,
    }
    metadata = _metadata(config, f"{config.recipe}-{environment}")
    return {"apiVersion": API, "kind": "ApplicationSet", "metadata": metadata, "spec": spec}


def application(config: DeployConfig, release: Release) -> dict[str, object]:
    """Return a single Application of the test environment, for an Argo CD without ApplicationSets."""
    spec = _application_spec(config, revision(config, release), overlay_path(release, "test"), config.test_namespace)
    metadata = _metadata(config, f"{config.recipe}-{COMPONENT}-test")
    return {"apiVersion": API, "kind": "Application", "metadata": metadata, "spec": spec}


def namespace(config: DeployConfig, environment: str) -> str:
    """Return an environment's namespace."""
    return config.prod_namespace if environment == "prod" else config.test_namespace


def overlay_path(release: Release, environment: str) -> str:
    """Return the kustomize overlay's folder of an environment."""
    return f"{release.name}/overlays/{environment}"


def revision(config: DeployConfig, release: Release) -> str:
    """Return the revision that Argo CD reads; the tag is written in full because a branch may have its name."""
    return config.revision or f"refs/tags/{release.name}"


def project_name(config: DeployConfig) -> str:
    """Return the AppProject's name."""
    return f"tuning-room-{config.recipe}"


def _metadata(config: DeployConfig, name: str) -> dict[str, object]:
    return {"name": name, "namespace": config.argocd_namespace, "labels": {"app.kubernetes.io/part-of": "tuning-room"}}


def _application_spec(config: DeployConfig, pinned: str, path: str, space: str) -> dict[str, object]:
    return {
        "project": project_name(config),
        "source": {"repoURL": config.repo_url, "targetRevision": pinned, "path": path},
        "destination": {"server": CLUSTER, "namespace": space},
        "syncPolicy": {
            "automated": {"prune": True, "selfHeal": True},
            # Client-side apply drops a misspelt field with a warning; the old release goes once the new one is healthy.
            "syncOptions": ["ServerSideApply=true", "PruneLast=true"],
            "retry": {"limit": 3, "backoff": {"duration": "30s", "factor": 2, "maxDuration": "5m"}},
        },
    }
