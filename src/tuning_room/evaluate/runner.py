"""Runs every arm on every suite, and only what has not been run before."""

from collections import Counter
from pathlib import Path
from typing import Any

from tuning_room.engines import Sampling
from tuning_room.engines.local import LocalEngine
from tuning_room.errors import DataError, MissingInputError
from tuning_room.evaluate.arms import ADAPTER, BASE, ArmSetup, Identity, identity, setup
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.evaluate.harness import EngineModel, write_tasks
from tuning_room.evaluate.results import check_metrics
from tuning_room.evaluate.samples import Sample, collect, sample_key, stored
from tuning_room.files import digest
from tuning_room.models import load_tokenizer, resolve
from tuning_room.progress import ProgressBar
from tuning_room.records import Item, read_jsonl
from tuning_room.rendering import system_tokens
from tuning_room.workspace import Workspace

WEIGHTS = "adapter_model.safetensors"


class Runner:
    """Holds what the arms share: the engine, the items and the decoding."""

    def __init__(self, config: EvaluateConfig, workspace: Workspace) -> None:
        check_metrics(config.metrics)
        if not (workspace.adapter / WEIGHTS).is_file():
            raise MissingInputError(f"{workspace.adapter}: no adapter", hint="run 'tuning-room train' first")
        self.config, self.workspace = config, workspace
        self.sampling = Sampling(max_tokens=config.max_tokens)
        self.model_folder = resolve(config.model)
        self.base_digest = digest(self.model_folder)
        self.adapter_digest = digest(workspace.adapter / WEIGHTS)
        self.items = {suite: _items(path) for suite, path in config.suites.items()}
        self._engine: LocalEngine | None = None

    def samples(self) -> list[Sample]:
        """Return the samples of all arms and suites, arm by arm."""
        tasks = self.workspace.evaluation / "tasks"
        write_tasks(tasks, self.config.suites, self.config.metrics, self.config.max_tokens)
        samples: list[Sample] = []
        with ProgressBar("evaluate", self._total()) as bar:
            for arm in (setup(name, self.config) for name in self.config.arms):
                for suite in self.items:
                    bar.describe(f"{arm.name}, {suite}")
                    samples += self._of(arm, suite, tasks, bar)
        return samples

    def identities(self) -> dict[str, Identity]:
        """Return what each arm was."""
        tokenizer = load_tokenizer(self.model_folder)
        found = {}
        for arm in (setup(name, self.config) for name in self.config.arms):
            tokens = system_tokens(tokenizer, arm.system)
            found[arm.name] = identity(arm, self.base_digest, self.adapter_digest, tokens)
        return found

    def _of(self, arm: ArmSetup, suite: str, tasks: Path, bar: ProgressBar) -> list[Sample]:
        path = self.workspace.evaluation / "samples" / f"{arm.name}.{suite}.jsonl"
        key = self._key(arm, suite)
        if done := stored(path, key):
            bar.advance(len(done))
            return done
        model = EngineModel(self._open(), arm.model, self.sampling, bar.advance)
        return collect(path, key, arm, suite, model, tasks, self.config.limit)

    def _key(self, arm: ArmSetup, suite: str) -> str:
        parts: dict[str, Any] = {
            "base": self.base_digest,
            "adapter": self.adapter_digest if arm.model == ADAPTER else "",
            "system": arm.system,
            "items": digest(self.config.suites[suite]),
            "metrics": self.config.metrics,
            "limit": self.config.limit,
        }
        return sample_key(parts, self.sampling)

    def _open(self) -> LocalEngine:
        if self._engine is None:
            engine = LocalEngine(
                self.model_folder, base=BASE, adapter=self.workspace.adapter, adapter_name=ADAPTER,
                batch_size=self.config.batch_size,
            )  # fmt: skip
            self._engine = engine
        return self._engine

    def _total(self) -> int:
        sizes = [len(items[: self.config.limit]) for items in self.items.values()]
        return sum(sizes) * len(self.config.arms)


def _items(path: Path) -> list[Item]:
    items = list(read_jsonl(path, Item))
    if not items:
        raise DataError(f"{path}: no items", hint="write at least one")
    name, count = Counter(item.id for item in items).most_common(1)[0]
    if count > 1:
        raise DataError(f"{path}: {count} items have the id '{name}'", hint="give each an id of its own")
    return items
