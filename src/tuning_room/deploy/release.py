"""A release: an adapter with the name under which it is deployed, and what its folder says of it."""

import re
from pathlib import Path
from typing import NamedTuple

from tuning_room.deploy.config import DeployConfig
from tuning_room.errors import DataError, ModelError, RecipeError
from tuning_room.models import SETTINGS, check_base, check_recipe, portable
from tuning_room.models.lineage import adapter_name, trained_lineage
from tuning_room.records import read_json

# RFC 1035 with two characters or more: KServe wants a letter first, and YAML reads a lone 'y' as true.
DNS_LABEL = re.compile(r"[a-z][-a-z0-9]*[a-z0-9]")
# KServe names a volume 'mnt-models-adapters-<release>', and a volume's name has at most 63 characters.
LONGEST_RELEASE = 43
LONGEST_LABEL = 63  # characters of a DNS label


class Release(NamedTuple):
    """What is deployed; `digest` is 64 hex digits, `rank` the highest rank of any layer."""

    name: str
    digest: str
    rank: int
    base_model: str
    model_name: str
    template_digest: str
    base_uri: str
    adapter_uri: str


def read_release(config: DeployConfig, folder: Path) -> Release:
    """Return the release that an adapter folder makes under a config.

    Raises RecipeError for a name that Kubernetes would refuse, AdapterMismatchError for an adapter that was changed or
    belongs to another base model or recipe, ModelError for one that vLLM cannot serve, MissingInputError and DataError
    for its files.
    """
    check_names(config)
    lineage = trained_lineage(folder)
    check_base(folder, lineage.base_model, config.model)
    name = release_name(config.recipe, lineage.adapter_digest)
    check_recipe(folder, lineage.recipe, config.recipe)
    model_name = slug(config.model)
    return Release(
        name=name,
        digest=lineage.adapter_digest,
        rank=_rank(folder / SETTINGS),
        base_model=portable(config.model),
        model_name=model_name,
        template_digest=lineage.template_digest,
        base_uri=config.base_model_uri or f"pvc://models/{model_name}",
        adapter_uri=f"{config.adapter_uri.rstrip('/')}/{name}",
    )


def release_name(recipe: str, sha256: str) -> str:
    """Return `<recipe>-<digest8>`; RecipeError if that is too long for what KServe derives from it."""
    name = adapter_name(recipe, sha256)
    if len(name) > LONGEST_RELEASE:
        raise RecipeError(
            f"recipe '{recipe}': the release name '{name}' has {len(name)} characters, more than {LONGEST_RELEASE}",
            hint=f"give the recipe a name of at most {LONGEST_RELEASE - 9} characters",
        )
    return name


def check_names(config: DeployConfig) -> None:
    """Raise RecipeError unless every name can be a DNS label and there is a repository."""
    for field in ("recipe", "test_namespace", "prod_namespace", "argocd_namespace"):
        value = getattr(config, field)
        if not DNS_LABEL.fullmatch(value) or len(value) > LONGEST_LABEL:
            raise RecipeError(
                f"deploy.{field} '{value}': Kubernetes cannot use it as a name (DNS label)",
                hint="use 2 to 63 of a-z, 0-9 and '-', a letter first, no '-' at the end",
            )
    if config.test_namespace == config.prod_namespace:
        raise RecipeError(
            f"deploy.prod_namespace '{config.prod_namespace}': is the test environment's namespace too",
            hint="give each environment a namespace of its own",
        )
    if config.kind == "inference":
        _check_hosts(config)
    if not config.repo_url:
        raise RecipeError("deploy.repo_url: not set", hint="set it to the git repository that Argo CD reads")


def _check_hosts(config: DeployConfig) -> None:
    """Raise RecipeError if what KServe makes of a release's name and a namespace is no label of a host name."""
    name = adapter_name(config.recipe, "0" * 64)
    for field in ("test_namespace", "prod_namespace"):
        host = f"{name}-predictor-{getattr(config, field)}"
        if (over := len(host) - LONGEST_LABEL) > 0:
            raise RecipeError(
                f"deploy.{field} '{getattr(config, field)}': KServe makes <name>-predictor-<namespace> of it, "
                f"which has {len(host)} characters, more than {LONGEST_LABEL}",
                hint=f"shorten the recipe's name or the namespace by {over} characters",
            )


def slug(reference: str) -> str:
    """Return the name under which a base model is served: the last part of its reference, as a DNS label."""
    last = re.split(r"[/:]", reference.rstrip("/"))[-1].lower()
    name = re.sub(r"[^a-z0-9]+", "-", last).strip("-")
    if not name:
        raise RecipeError(
            f"model '{reference}': no name can be made from it", hint="name a hub id, folder or embedded:..."
        )
    return name


def _rank(path: Path) -> int:
    config = _mapping(path)
    unfit = [key for key in ("modules_to_save", "use_dora") if config.get(key)]
    if unfit:
        raise ModelError(f"{path}: {unfit[0]}: vLLM cannot serve it", hint="train a plain LoRA adapter")
    pattern = config.get("rank_pattern")
    ranks = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else [])]
    whole = [rank for rank in ranks if isinstance(rank, int) and rank > 0]
    if len(whole) < len(ranks):
        raise DataError(f"{path}: r: not a rank among {ranks}", hint="train the adapter again")
    return max(whole)


def _mapping(path: Path) -> dict[str, object]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path}: not a JSON object", hint="train the adapter again")
    return value
