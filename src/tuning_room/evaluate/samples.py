"""The replies of an arm on a suite, kept on disk so that a stopped evaluation goes on where it was."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuning_room.engines import Reply, Sampling
from tuning_room.errors import DataError
from tuning_room.evaluate.harness import EngineModel, run_tasks
from tuning_room.evaluate.metrics import Context, measured
from tuning_room.evaluate.tasks import item_of, task_name
from tuning_room.records import Item, Message, Record, read_jsonl, write_jsonl


class Sample(Record):
    """A reply with its metrics; tokens as the model counts them. Turns of a dialogue are numbered from 1."""

    key: str
    arm: str
    suite: str
    item: str
    turn: int = 1
    topic: str = ""
    family: str = ""
    type: str = ""
    wanted: str = ""
    in_syllabus: bool = True
    before: list[Message] = []
    prompt: str
    gold: str
    reply: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    metrics: dict[str, float]


class Asked(Record):
    """An arm on a suite: what its samples are told apart by."""

    key: str
    arm: str
    suite: str
    system: str
    metrics: list[str]


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


def collect(asked: Mapping[Path, Asked], model: EngineModel, tasks: Path, context: Context) -> dict[str, list[Sample]]:
    """Have the harness run suites on an arm, all at once, and write the samples of each to its file."""
    system = next(iter(asked.values())).system
    rows = run_tasks(model, tasks, [one.suite for one in asked.values()], system)
    found = {}
    for path, one in asked.items():
        found[one.suite] = [sample for row in rows[one.suite] for sample in _samples(row, one, model, context)]
        write_jsonl(path, found[one.suite])
    return found


def _samples(row: dict[str, Any], asked: Asked, model: EngineModel, context: Context) -> list[Sample]:
    item = item_of(row["doc"])
    replies = model.replies.get((task_name(asked.suite), item.id))
    if replies is None:
        right = {name: float(row[name]) for name in asked.metrics}
        return [_sample(item, asked, Reply("", "weighed", 0, 0), 1, item.prompt, right)]
    said = [reply.text for reply in replies]
    return [
        _sample(item, asked, reply, turn, prompt, measured(asked.metrics, item, said[:turn], context))
        for turn, (reply, prompt) in enumerate(zip(replies, [item.prompt, *item.turns], strict=True), start=1)
    ]


def _sample(item: Item, asked: Asked, reply: Reply, turn: int, prompt: str, metrics: dict[str, float]) -> Sample:
    kept = item.model_dump(include={"topic", "family", "type", "wanted", "in_syllabus", "before", "gold"})
    return Sample(
        key=asked.key,
        arm=asked.arm,
        suite=asked.suite,
        item=item.id,
        turn=turn,
        prompt=prompt,
        reply=reply.text,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        metrics=metrics,
        **kept,
    )
