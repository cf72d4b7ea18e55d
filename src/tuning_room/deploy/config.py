"""How a release is deployed: where it runs, on what, and which repository Argo CD reads."""

from typing import Literal

from pydantic import Field

from tuning_room.paths import ModelReference
from tuning_room.workspace import StageConfig

QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|[kMGTP]i?)?$"

Kind = Literal["llm", "inference"]


class DeployConfig(StageConfig):
    """How an adapter is rendered for KServe and Argo CD; names and addresses are checked when the stage runs."""

    recipe: str = Field(description="the recipe's name; the release is named <recipe>-<digest8>")
    model: ModelReference = Field(description="the base model that is served, as the recipe names it")
    kind: Kind = Field(default="llm", description="llm (LLMInferenceService) or inference (InferenceService, vLLM)")
    base_model_uri: str = Field(
        default="",
        description="where the cluster finds the base model: hf://, s3://, pvc:// or oci://...@sha256:...; "
        "pvc://models/<model> if empty",
    )
    adapter_uri: str = Field(
        default="pvc://adapters",
        description="hf://, s3:// or pvc:// folder that holds the adapter under its release's name",
    )
    repo_url: str = Field(default="", description="the git repository that Argo CD reads, without credentials")
    revision: str = Field(
        default="", description="a commit or tag of that repository, never a branch; refs/tags/<release> if empty"
    )
    test_namespace: str = Field(default="tuning-room-test", description="the namespace of the test environment")
    prod_namespace: str = Field(default="tuning-room-prod", description="the namespace of the production environment")
    argocd_namespace: str = Field(default="argocd", description="the namespace in which Argo CD runs")
    replicas: int = Field(default=1, ge=1, description="replicas in production; the test environment has one")
    cpu: str = Field(default="4", pattern=QUANTITY, description="CPU of a replica, a Kubernetes quantity")
    memory: str = Field(default="16Gi", pattern=QUANTITY, description="memory of a replica, a Kubernetes quantity")
    gpu: int = Field(default=1, ge=0, description="GPUs of a replica; 0 asks for none")
    image: str = Field(default="", description="vLLM image by digest (...@sha256:...); KServe's own choice if empty")
    runtime: str = Field(default="kserve-vllmserver", description="the serving runtime's name, for kind inference")
