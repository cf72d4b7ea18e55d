"""The replies of an arm on a suite, kept on disk so that a stopped evaluation goes on where it was."""

import hashlib
import json
from pathlib import Path
from typing import Any

from tuning_room.engines import Sampling
from tuning_room.errors import DataError
from tuning_room.evaluate.arms import ArmSetup
from tuning_room.evaluate.harness import EngineModel, run_task
from tuning_room.records import Record, read_jsonl, write_jsonl


class Sample(Record):
    """A reply with its metrics; tokens as the model counts them."""

    key: str
    arm: str
    suite: str
    item: str
    topic: str = ""
    family: str = ""
    type: str = ""
    in_syllabus: bool = True
    prompt: str
    gold: str
    reply: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    metrics: dict[str, bool]


def sample_key(parts: dict[str, Any], sampling: Sampling) -> str:
    """Return a digest of all that a reply depends on."""
    return hashlib.sha256(json.dumps([parts, sampling.__dict__], sort_keys=True).encode()).hexdigest()


def stored(path: Path, key: str) -> list[Sample]:
    """Return the samples on disk if they were made under the same key; else none."""
    if not path.is_file():
        return []
    try:
        samples = list(read_jsonl(path, Sample))
    except DataError:
        return []
    return samples if samples and all(sample.key == key for sample in samples) else []


def collect(
    path: Path, key: str, arm: ArmSetup, suite: str, model: EngineModel, tasks: Path, limit: int | None
) -> list[Sample]:
    """Have the harness run a suite on an arm, and write the samples."""
    rows = [_sample(row, key, arm, suite, model) for row in run_task(model, tasks, suite, arm.system, limit)]
    write_jsonl(path, rows)
    return rows


def _sample(row: dict[str, Any], key: str, arm: ArmSetup, suite: str, model: EngineModel) -> Sample:
    doc = row["doc"]
    reply = model.replies[doc["id"]]
    kept = {name: doc.get(name) or "" for name in ("topic", "family", "type")}
    return Sample(
        key=key,
        arm=arm.name,
        suite=suite,
        item=doc["id"],
        in_syllabus=doc.get("in_syllabus") is not False,
        prompt=doc["prompt"],
        gold=doc["gold"],
        reply=reply.text,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        metrics={name: bool(row[name]) for name in row["metrics"]},
        **kept,
    )
