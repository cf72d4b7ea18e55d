"""A training in MLflow. Real here: MLflow's client, its SQLite store, its artifacts. Not shown: a team's server."""

import os
from pathlib import Path
from typing import Any

import pytest
from training_rows import taken

from tuning_room.errors import TrainingError
from tuning_room.models.lineage import AdapterLineage, write_lineage
from tuning_room.train import _tracked
from tuning_room.train.config import MlflowConfig, TrainConfig
from tuning_room.train.metrics import MetricsFile
from tuning_room.train.tracking import track, tracking_uri
from tuning_room.workspace import Workspace

DIGEST = "3f2a9c0d" * 8
LINEAGE = AdapterLineage(recipe="cook", base_model="b", adapter_digest=DIGEST, template_digest="0" * 64)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(tmp_path / "runs" / "cook")
    workspace.adapter.mkdir(parents=True)
    (workspace.adapter / "adapter_model.safetensors").write_bytes(b"weights")
    write_lineage(workspace.adapter, LINEAGE)
    metrics = MetricsFile(workspace.metrics)
    for step in range(1, 601):
        metrics.append(taken(step, 1.5 if step % 100 == 0 else None, loss=2 / step))
    return workspace


def config(**changes: Any) -> TrainConfig:
    given: dict[str, Any] = {"model": "m", "recipe": "cook", "short_prompt": "Cook.", "mlflow": MlflowConfig()}
    return TrainConfig(**{**given, **changes})


def test_parameters_curves_lineage_and_adapter_are_written(workspace: Workspace, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    run_id = track(config(rank=8), workspace)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/runs/mlflow.db")
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED" and run.info.run_name == "cook-3f2a9c0d"
    assert run.data.params["rank"] == "8" and run.data.params["short_prompt"] == "Cook."
    assert run.data.tags["adapter_digest"] == DIGEST
    losses = client.get_metric_history(run_id, "loss")
    assert [(point.step, point.value) for point in losses] == [(step, 2 / step) for step in range(1, 601)]
    assert len(client.get_metric_history(run_id, "valid_loss")) == 6
    place = client.download_artifacts(run_id, "adapter", str(tmp_path))
    assert (Path(place) / "adapter_model.safetensors").read_bytes() == b"weights"
    assert (tmp_path / "runs" / "mlartifacts").is_dir() and not (tmp_path / "mlruns").exists()


def test_an_adapter_is_written_once_and_another_one_beside_it(workspace: Workspace, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/runs/mlflow.db")

    def there() -> dict[str, str]:
        experiment = client.get_experiment_by_name("cook")
        assert experiment
        return {
            run.info.run_id: run.data.tags["adapter_digest"] for run in client.search_runs([experiment.experiment_id])
        }

    first = track(config(), workspace)
    assert there() == {first: DIGEST}
    assert track(config(), workspace) == first and there() == {first: DIGEST}
    other = LINEAGE.model_copy(update={"adapter_digest": "a" * 64})
    write_lineage(workspace.adapter, other)
    second = track(config(), workspace)
    assert there() == {first: DIGEST, second: "a" * 64}


def test_a_run_that_was_cut_off_is_not_taken_for_a_whole_one(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    def cut_off(*given: object) -> None:
        raise OSError("connection lost")

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_artifacts", cut_off)
        with pytest.raises(TrainingError, match="connection lost"):
            track(config(), workspace)
    run = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/runs/mlflow.db").get_run(track(config(), workspace))
    assert run.info.status == "FINISHED"


def test_no_path_and_no_secret_is_written(workspace: Workspace, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    run_id = track(config(start=tmp_path / "adapter", full_prompt=tmp_path / "prompt.md"), workspace)
    run = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/runs/mlflow.db").get_run(run_id)
    assert not any(str(tmp_path) in value for value in run.data.params.values())
    assert not {"mlflow", "start", "full_prompt", "kubeflow"} & set(run.data.params)


def test_a_server_that_is_not_there_costs_no_training(workspace: Workspace) -> None:
    unreachable = config(mlflow=MlflowConfig(tracking_uri="http://name:secret@127.0.0.1:9"))
    with pytest.raises(TrainingError, match=r"MLflow at http://127.0.0.1:9: ") as failed:
        track(unreachable, workspace)
    assert "secret" not in str(failed.value)
    assert _tracked(unreachable, workspace)["mlflow_error"].startswith("MLflow at http://127.0.0.1:9")
    assert _tracked(config(mlflow=None), workspace) == {}


def test_where_it_is_written(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking_uri(config(), workspace) == f"sqlite:///{workspace.root.parent.resolve()}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://one")
    assert tracking_uri(config(), workspace) == "http://one"
    assert tracking_uri(config(mlflow=MlflowConfig(tracking_uri="http://two")), workspace) == "http://two"
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://one"
