"""The replies of an arm on a suite, kept on disk so that a stopped evaluation goes on where it was."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuning_room.engines import Reply, Sampling
from tuning_room.errors import DataError
from tuning_room.evaluate.harness import EngineModel, Part, run_tasks
from tuning_room.evaluate.metrics import Context, measured
from tuning_room.evaluate.tasks import item_of
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
    model: str
    system: str
    metrics: list[str]

    @property
    def name(self) -> str:
        """Return the name of its task in a run of several arms."""
        return f"{self.arm}.{self.suite}"

    @property
    def part(self) -> Part:
        """Return how the engine is asked."""
        return Part(self.model, self.system, self.key)


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


def collect(asked: Mapping[Path, Asked], model: EngineModel, tasks: Path, context: Context) -> dict[Path, list[Sample]]:
    """Have the harness run suites on their arms, all at once, and write the samples of each to its file."""
    rows = run_tasks(model, tasks, {one.name: one.suite for one in asked.values()})
    found = {}
    for path, one in asked.items():
        found[path] = [sample for row in rows[one.name] for sample in _samples(row, one, model, context)]
        write_jsonl(path, found[path])
    return found


def _samples(row: dict[str, Any], asked: Asked, model: EngineModel, context: Context) -> list[Sample]:
    item = item_of(row["doc"])
    replies = model.replies.get((asked.name, item.id))
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
