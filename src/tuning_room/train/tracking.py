"""A finished training in MLflow: parameters, curves, digests of the lineage, and the adapter.

Logged once the adapter is on disk, so that no training is lost to a server that cannot be reached. MLflow itself reads
MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD and MLFLOW_TRACKING_TOKEN; no secret belongs in a recipe.
"""

import os
import time
from typing import TYPE_CHECKING

from tuning_room.engines.addresses import hidden, public, secrets
from tuning_room.errors import TrainingError
from tuning_room.models.lineage import read_lineage
from tuning_room.prerequisites import explained
from tuning_room.records import TrainingStep
from tuning_room.train.adapter import portable_config
from tuning_room.train.config import TrainConfig
from tuning_room.train.metrics import MetricsFile
from tuning_room.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

AT_ONCE = 500  # metrics per request: MLflow takes no more than 1,000
TAGS = ("adapter_digest", "template_digest", "train_digest", "base_model", "recipe")
CURVES = ("loss", "valid_loss", "learning_rate", "tokens", "seconds")


def track(config: TrainConfig, workspace: Workspace) -> str:
    """Log a run folder's training to MLflow and return the id of its run; the same adapter is not logged twice.

    Raises MissingPrerequisiteError without MLflow, and TrainingError where the server cannot be reached or refuses.
    """
    with explained("mlflow"):
        from mlflow import MlflowClient
    # Otherwise MLflow gives up on a server that is not there only after minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    address = tracking_uri(config, workspace)
    try:
        return _logged(MlflowClient(tracking_uri=address), config, workspace)
    except Exception as error:
        # Whatever a store or its driver raises: the training must not be lost to it.
        # MLflow quotes the address with everything that is in it.
        words = hidden(str(error).replace(address, public(address)), secrets(address))
        reason = words.strip().splitlines()[0][:200]
        raise TrainingError(f"MLflow at {public(address)}: {reason}", hint="the adapter is kept") from None


def tracking_uri(config: TrainConfig, workspace: Workspace) -> str:
    """Return where MLflow logs to: the recipe's address, the environment's, or a file beside the run folders."""
    named = config.mlflow.tracking_uri if config.mlflow else ""
    return named or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace.root.parent.resolve()}/mlflow.db"


def _logged(client: "MlflowClient", config: TrainConfig, workspace: Workspace) -> str:
    lineage = read_lineage(workspace.adapter)
    experiment = _experiment(client, (config.mlflow.experiment if config.mlflow else "") or config.recipe, workspace)
    wanted = f"tags.adapter_digest = '{lineage.adapter_digest}' and attributes.status = 'FINISHED'"
    for run in client.search_runs([experiment], wanted, max_results=1):
        return str(run.info.run_id)
    tags = {name: str(getattr(lineage, name)) for name in TAGS}
    run_id = str(client.create_run(experiment, tags=tags, run_name=lineage.name).info.run_id)
    for key, value in portable_config(config).items():
        client.log_param(run_id, key, str(value)[:500])
    _log_curves(client, run_id, MetricsFile(workspace.metrics).read())
    client.log_artifacts(run_id, str(workspace.adapter), "adapter")
    client.set_terminated(run_id)
    return run_id


def _experiment(client: "MlflowClient", name: str, workspace: Workspace) -> str:
    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    # With a file MLflow would put artifacts into the current folder; a server has a place of its own.
    is_local = str(client.tracking_uri).startswith("sqlite:")
    place = (workspace.root.parent.resolve() / "mlartifacts").as_uri() if is_local else None
    return str(client.create_experiment(name, artifact_location=place))


def _log_curves(client: "MlflowClient", run_id: str, steps: list[TrainingStep]) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    points = [
        Metric(name, float(getattr(step, name)), now, step.step)
        for step in steps
        for name in CURVES
        if getattr(step, name) is not None
    ]
    for start in range(0, len(points), AT_ONCE):
        client.log_batch(run_id, metrics=points[start : start + AT_ONCE])
