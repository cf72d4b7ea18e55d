"""A finished training in MLflow: parameters, curves, digests of the lineage, and the adapter.

Written when the adapter stands on disk, so that a server that cannot be reached costs no training. MLflow itself reads
MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD and MLFLOW_TRACKING_TOKEN; no secret stands in a recipe.
"""

import os
import time
from typing import Any
from urllib.parse import urlsplit

from tuning_room.errors import TrainingError
from tuning_room.models import LINEAGE
from tuning_room.prerequisites import explained
from tuning_room.records import read_json
from tuning_room.train.artefact import told
from tuning_room.train.config import TrainConfig
from tuning_room.train.metrics import Metric, MetricsFile
from tuning_room.workspace import Workspace

AT_ONCE = 500  # metrics in a request: MLflow takes no more than 1,000
DIGESTS = ("adapter_digest", "template_digest", "train_digest", "base_model", "recipe")
CURVES = ("loss", "valid_loss", "learning_rate", "tokens", "seconds")


def track(config: TrainConfig, workspace: Workspace) -> str:
    """Write a run folder's training to MLflow and return the id of its run; one that is there is not written twice.

    Raises MissingPrerequisiteError without MLflow, and TrainingError where the server cannot be reached or refuses.
    """
    with explained("mlflow"):
        from mlflow import MlflowClient
    # Of a server that is not there MLflow would say so only after minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    address = tracking_uri(config, workspace)
    try:
        return _written(MlflowClient(tracking_uri=address), config, workspace)
    except Exception as error:
        # Whatever a store or its driver raises: the training must not be lost by it.
        # MLflow repeats the address with all that stands in it.
        reason = str(error).replace(address, without_secret(address)).strip().splitlines()[0][:200]
        raise TrainingError(f"MLflow at {without_secret(address)}: {reason}", hint="the adapter is kept") from None


def tracking_uri(config: TrainConfig, workspace: Workspace) -> str:
    """Return where MLflow writes: the recipe's word, the environment's, or a file beside the run folders."""
    named = config.mlflow.tracking_uri if config.mlflow else ""
    return named or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace.root.parent.resolve()}/mlflow.db"


def without_secret(address: str) -> str:
    """Return an address without a name and password that stand in it."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rsplit("@", 1)[-1]).geturl() if parts.netloc else address


def _written(client: Any, config: TrainConfig, workspace: Workspace) -> str:
    lineage = read_json(workspace.adapter / LINEAGE)
    experiment = _experiment(client, (config.mlflow.experiment if config.mlflow else "") or config.recipe, workspace)
    wanted = f"tags.adapter_digest = '{lineage['adapter_digest']}' and attributes.status = 'FINISHED'"
    known = client.search_runs([experiment], wanted, max_results=1)
    for run in known:
        return str(run.info.run_id)
    tags = {name: str(lineage[name]) for name in DIGESTS if name in lineage}
    name = f"{config.recipe}-{lineage['adapter_digest'][:8]}"
    run_id = str(client.create_run(experiment, tags=tags, run_name=name).info.run_id)
    for key, value in told(config).items():
        client.log_param(run_id, key, str(value)[:500])
    _log_curves(client, run_id, MetricsFile(workspace.metrics).read())
    client.log_artifacts(run_id, str(workspace.adapter), "adapter")
    client.set_terminated(run_id)
    return run_id


def _experiment(client: Any, name: str, workspace: Workspace) -> str:
    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    # A file knows no place for artifacts but the current folder; a server has its own.
    is_local = str(client.tracking_uri).startswith("sqlite:")
    place = (workspace.root.parent.resolve() / "mlartifacts").as_uri() if is_local else None
    return str(client.create_experiment(name, artifact_location=place))


def _log_curves(client: Any, run_id: str, metrics: list[Metric]) -> None:
    from mlflow.entities import Metric as Point

    now = int(time.time() * 1000)
    points = [
        Point(name, float(getattr(metric, name)), now, metric.step)
        for metric in metrics
        for name in CURVES
        if getattr(metric, name) is not None
    ]
    for start in range(0, len(points), AT_ONCE):
        client.log_batch(run_id, metrics=points[start : start + AT_ONCE])
