"""The same training on a cluster: a `TrainJob` of Kubeflow Trainer v2 that runs the same command.

Recipe and run folder lie on a volume that all nodes mount, so that a job leaves what a training here leaves. The
runtime's pods are called `node`, and it tells torchrun by PET_ variables which of them work together.
"""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tuning_room.errors import MissingInputError, MissingPrerequisiteError, TrainingError
from tuning_room.files import atomic_writer, digest
from tuning_room.paths import PERMISSIONS
from tuning_room.train.config import KubeflowConfig, TrainConfig
from tuning_room.workspace import Workspace

Document = dict[str, Any]

MOUNT = "/work"
MANAGER = "tuning-room/train"
FIELD_MANAGER = "tuning-room"


def train_job(config: TrainConfig, key: str) -> Document:
    """Return the TrainJob of a training; its name contains `key`, since a job's training cannot be changed later.

    Raises TrainingError if the recipe does not say where the job runs.
    """
    if config.kubeflow is None:
        raise TrainingError(
            "the recipe does not say where a TrainJob would run",
            hint="write train.kubeflow with image and claim (docs/training.md)",
        )
    where = config.kubeflow
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {
            "name": f"{config.recipe}-{key[:8]}",
            "namespace": where.namespace,
            "labels": {"app.kubernetes.io/managed-by": "tuning-room", "app.kubernetes.io/part-of": config.recipe},
        },
        "spec": {
            "runtimeRef": {
                "apiGroup": "trainer.kubeflow.org",
                "kind": "ClusterTrainingRuntime",
                "name": where.runtime,
            },
            "trainer": _trainer(where, config.recipe),
            "runtimePatches": [_volume(where)],
        },
    }


def _trainer(where: KubeflowConfig, recipe: str) -> Document:
    amounts = {"cpu": where.cpu, "memory": where.memory, **({"nvidia.com/gpu": where.gpu} if where.gpu else {})}
    path = where.recipe_path or f"recipes/{recipe}"
    return {
        "image": where.image,
        "command": ["torchrun", "--no-python", "tuning-room"],
        "args": ["train", f"{MOUNT}/{path}", "--runs", f"{MOUNT}/{where.runs_path}", *PERMISSIONS.flags()],
        "numNodes": where.nodes,
        "numProcPerNode": where.processes,
        "env": [{"name": "TUNING_ROOM_CACHE", "value": f"{MOUNT}/cache"}],
        "resourcesPerNode": {"requests": amounts, "limits": amounts},
    }


def _volume(where: KubeflowConfig) -> Document:
    pod = {
        "containers": [{"name": "node", "volumeMounts": [{"name": "work", "mountPath": MOUNT}]}],
        "volumes": [{"name": "work", "persistentVolumeClaim": {"claimName": where.claim}}],
    }
    job = {"name": "node", "template": {"spec": {"template": {"spec": pod}}}}
    return {"manager": MANAGER, "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [job]}}}}


def write_job(config: TrainConfig, workspace: Workspace) -> tuple[Path, str]:
    """Write the TrainJob of a training into its run folder; return the file and the job's name.

    Raises TrainingError as train_job does, and MissingInputError where there are no rows to train on.
    """
    if not workspace.train_rows.is_file():
        raise MissingInputError(f"{workspace.train_rows} is missing", hint="run 'tuning-room dataset' first")
    read = [workspace.train_rows, workspace.valid_rows, config.full_prompt, config.retention_prompts, config.start]
    depends = [config.digest(), str(config.kubeflow), *(digest(path) for path in read if path)]
    key = hashlib.sha256(" ".join(depends).encode()).hexdigest()
    job = train_job(config, key)
    path = workspace.training / "trainjob.yaml"
    with atomic_writer(path) as out:
        out.write(as_yaml(job))
    return path, job["metadata"]["name"]


def as_yaml(job: Document) -> str:
    """Return a job as YAML."""
    return yaml.safe_dump(job, sort_keys=False, allow_unicode=True, width=120)


def submit(text: str) -> str:
    """Submit a job to the cluster of the current kubectl context, and return kubectl's answer.

    Raises MissingPrerequisiteError without kubectl, TrainingError where the cluster refuses the job.
    """
    line = ["kubectl", "apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "-f", "-"]
    try:
        done = subprocess.run(line, input=text, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        hint = "install it, or apply the file yourself"
        raise MissingPrerequisiteError("kubectl is not installed", hint=hint) from None
    except subprocess.TimeoutExpired:
        raise TrainingError("the cluster does not answer", hint="try 'kubectl cluster-info'") from None
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise TrainingError(f"the cluster refused the job: {' '.join(reason)}", hint="try 'kubectl cluster-info'")
    return done.stdout.strip()
