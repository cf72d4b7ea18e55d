"""The TrainJob against Kubeflow Trainer's own schema, made strict, and the command that writes it.

Real: the custom resource definition, read in place. Not shown here: that a cluster runs the job; what it would run is
shown by two local processes in test_team.py. `kubectl` is a script that keeps what it is given.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tuning_room.errors import MissingInputError, MissingPrerequisiteError, TrainingError
from tuning_room.train.config import KubeflowConfig, TrainConfig
from tuning_room.train.kubeflow import as_yaml, submit, train_job, write_job
from tuning_room.workspace import Workspace

SchemaErrors = Callable[[dict[str, Any]], list[str]]
IMAGE = "registry.example.com/tuning-room@sha256:" + "0" * 64
WHERE = KubeflowConfig(image=IMAGE, claim="tuning", nodes=2, processes=4, gpu=4)


def config(**changes: Any) -> TrainConfig:
    return TrainConfig(
        **{"model": "embedded:x", "recipe": "cook", "short_prompt": "Cook.", "kubeflow": WHERE, **changes}
    )


def at(document: Any, *place: Any) -> Any:
    for step in place:
        document = document[step]
    return document


def test_the_job_fits_its_schema(schema_errors: SchemaErrors) -> None:
    assert schema_errors(train_job(config(), "0123456789")) == []


@pytest.mark.parametrize(
    ("place", "right", "wrong"),
    [
        (("spec",), "trainer", "train"),
        (("spec",), "runtimePatches", "podTemplateOverrides"),
        (("spec", "runtimeRef"), "name", "runtime"),
        (("spec", "trainer"), "numNodes", "nodes"),
        (("spec", "trainer"), "numProcPerNode", "procPerNode"),
        (("spec", "trainer", "env", 0), "value", "val"),
        (("spec", "runtimePatches", 0, "trainingRuntimeSpec", "template", "spec", "replicatedJobs", 0), "name", "job"),
    ],
    ids=lambda value: str(value),
)
def test_a_misspelt_field_is_refused(
    schema_errors: SchemaErrors, place: tuple[Any, ...], right: str, wrong: str
) -> None:
    job = train_job(config(), "0123456789")
    owner = at(job, *place)
    owner[wrong] = owner.pop(right)
    assert schema_errors(job)


def test_the_job_runs_the_same_command_over_the_same_run_folder() -> None:
    job = train_job(config(), "0123456789ab")
    assert job["metadata"]["name"] == "cook-01234567"
    trainer = job["spec"]["trainer"]
    assert trainer["command"] + trainer["args"] == [
        *("torchrun", "--no-python", "tuning-room", "train"),
        *("/work/recipes/cook", "--runs", "/work/runs"),
    ]
    assert (trainer["image"], trainer["numNodes"], trainer["numProcPerNode"]) == (IMAGE, 2, 4)
    assert trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"] == 4
    pod = at(job, "spec", "runtimePatches", 0, "trainingRuntimeSpec", "template", "spec", "replicatedJobs", 0)
    spec = at(pod, "template", "spec", "template", "spec")
    assert spec["containers"][0]["volumeMounts"] == [{"name": "work", "mountPath": "/work"}]
    assert spec["volumes"][0]["persistentVolumeClaim"] == {"claimName": "tuning"}
    assert yaml.safe_load(as_yaml(job)) == job


def test_a_recipe_that_does_not_say_where_is_told_so() -> None:
    with pytest.raises(TrainingError, match=r"write train.kubeflow with image and claim"):
        train_job(config(kubeflow=None), "0" * 8)


def test_the_file_is_written_and_its_name_follows_rows_and_configuration(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(MissingInputError, match="run 'tuning-room dataset' first"):
        write_job(config(), workspace)
    workspace.train_rows.parent.mkdir(parents=True)
    workspace.train_rows.write_text("{}\n", encoding="utf-8")
    path, name = write_job(config(), workspace)
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["metadata"]["name"] == name
    assert write_job(config(), workspace)[1] == name
    assert write_job(config(kubeflow=WHERE.model_copy(update={"nodes": 3})), workspace)[1] != name
    assert write_job(config(rank=8), workspace)[1] != name
    workspace.train_rows.write_text("{} \n", encoding="utf-8")
    assert write_job(config(), workspace)[1] != name


def test_where_it_runs_is_no_part_of_what_is_trained() -> None:
    assert config().digest() == config(kubeflow=None).digest() != config(rank=8).digest()


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    script = tmp_path / "kubectl"
    script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/said\ncat > {tmp_path}/job\necho applied\n', encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return script


def test_a_job_is_given_to_the_cluster_by_kubectl(kubectl: Path, tmp_path: Path) -> None:
    assert submit("kind: TrainJob\n") == "applied"
    assert (tmp_path / "job").read_text(encoding="utf-8") == "kind: TrainJob\n"
    assert "apply --server-side --field-manager=tuning-room -f -" in (tmp_path / "said").read_text(encoding="utf-8")


def test_a_cluster_that_refuses_is_one_line(kubectl: Path) -> None:
    kubectl.write_text("#!/bin/sh\necho 'first' >&2\necho 'denied: no such runtime' >&2\nexit 1\n", encoding="utf-8")
    with pytest.raises(TrainingError, match="the cluster refused the job: denied: no such runtime"):
        submit("kind: TrainJob\n")


def test_without_kubectl_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPrerequisiteError, match="kubectl is not installed"):
        submit("kind: TrainJob\n")
