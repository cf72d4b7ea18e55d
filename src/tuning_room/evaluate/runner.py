"""Runs every arm on every suite, and only what has not been run before."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tuning_room.engines import Engine, Sampling
from tuning_room.engines.endpoint import EndpointEngine
from tuning_room.engines.local import LocalEngine
from tuning_room.errors import MissingInputError
from tuning_room.evaluate.arms import ADAPTER, BASE, ArmSetup, Identity, setup, sha256
from tuning_room.evaluate.config import BUILTIN, EvaluateConfig
from tuning_room.evaluate.economics import ALL_REPEATS, TOKENS, Way, measure
from tuning_room.evaluate.harness import EngineModel
from tuning_room.evaluate.metrics import Context
from tuning_room.evaluate.reply_log import ReplyLog
from tuning_room.evaluate.results import Measured, check_metrics
from tuning_room.evaluate.retention import TEXTS, check_applied, divergence, kept
from tuning_room.evaluate.samples import Asked, Sample, collect, sample_key, stored
from tuning_room.evaluate.suites import chosen, read_items, spread
from tuning_room.evaluate.tasks import write_tasks
from tuning_room.files import digest
from tuning_room.models import WEIGHTS, load_tokenizer, resolve
from tuning_room.progress import ProgressBar
from tuning_room.records import Item, Message, read_json
from tuning_room.rendering import render_text, system_tokens, with_system
from tuning_room.workspace import Workspace

Pair = tuple[ArmSetup, str]  # an arm on a suite
QUESTION = Message(role="user", content="?")


class Runner:
    """Holds what the arms share: the engine, the items and the decoding."""

    def __init__(self, config: EvaluateConfig, workspace: Workspace) -> None:
        check_metrics(config)
        if not (workspace.adapter / WEIGHTS).is_file():
            raise MissingInputError(f"{workspace.adapter}: no adapter", hint="run 'tuning-room train' first")
        self.config, self.workspace = config, workspace
        self.sampling = Sampling(max_tokens=config.max_tokens)
        self.model_folder = resolve(config.model)
        self.base_digest = digest(self.model_folder)
        self.adapter_digest = digest(workspace.adapter / WEIGHTS)
        self.items = chosen(config)
        self.sizes = {name: len(read_items(suite.items)) for name, suite in config.suites.items()}
        self.context = Context(config.full_prompt.read_text(encoding="utf-8").strip(), _inline(config.checks))
        self.arms = [setup(name, config) for name in config.arms]
        self._engine: LocalEngine | None = None

    def samples(self) -> list[Sample]:
        """Return the samples of all arms and suites, arm by arm; the arms of one engine are asked together."""
        tasks = self.workspace.evaluation / "tasks"
        metrics = {suite: self.config.measured(suite) for suite in self.items}
        write_tasks(tasks, self.items, metrics, self.config.max_tokens, self.context)
        found = {pair: stored(*self._place(*pair)) for pair in self._pairs()}
        self._knock({arm for (arm, _), samples in found.items() if arm.endpoint and not samples})
        log = ReplyLog(self.workspace.evaluation / "replies.jsonl")
        with ProgressBar("evaluate", self._total()) as bar:
            bar.advance(sum(map(len, found.values())))
            for arms in self._together():
                missing = [pair for pair, samples in found.items() if pair[0] in arms and not samples]
                found |= self._asked(missing, tasks, log, bar.advance)
        log.remove()
        return [sample for samples in found.values() for sample in samples]

    def _together(self) -> list[list[ArmSetup]]:
        """Return the arms by engine: all those in this process at once, each of those at a server."""
        here = [arm for arm in self.arms if not arm.endpoint]
        return [here, *([arm] for arm in self.arms if arm.endpoint)]

    def _asked(
        self, pairs: Sequence[Pair], tasks: Path, log: ReplyLog, on_reply: Callable[[], None]
    ) -> dict[Pair, list[Sample]]:
        """Return the samples of an engine's arms on suites."""
        if not pairs:
            return {}
        asked = {pair: self._question(*pair) for pair in pairs}
        places = {self._place(*pair)[0]: pair for pair in pairs}
        parts = {one.name: one.part for one in asked.values()}
        model = EngineModel(self._open(pairs[0][0]), "", self.sampling, on_reply, parts=parts, log=log)
        samples = collect({path: asked[pair] for path, pair in places.items()}, model, tasks, self.context)
        return {places[path]: rows for path, rows in samples.items()}

    def _question(self, arm: ArmSetup, suite: str) -> Asked:
        return Asked(
            key=self._key(arm, suite), arm=arm.name, suite=suite, model=arm.model, system=arm.system,
            metrics=self.config.measured(suite),
        )  # fmt: skip

    def also(self) -> Measured:
        """Return what else is measured of the arms in this process; what was measured before is read from disk."""
        return Measured(self._retention(), self._economics(), self._standard())

    def _standard(self) -> dict[str, Any]:
        config = self.config.standard
        names = {arm.name for arm in self.arms if not arm.endpoint}
        if not config:
            return {}
        from tuning_room.evaluate.standard import Side, run_standard

        sides = [Side("base", None, ""), Side("baked", self.workspace.adapter, self.config.short_prompt)]
        chosen = [side for side in sides if side.arm in names]
        own = digest(config.include) if config.include else ""
        arms = [side.arm for side in chosen]
        parts = [self.base_digest, self.adapter_digest, config.model_dump(mode="json"), own, arms]
        path = self.workspace.evaluation / "standard.json"
        with ProgressBar("standard tasks", None) as bar:
            found = kept(path, parts, lambda: run_standard(config, self.model_folder, chosen, bar.describe))
        if found["missing"]:
            path.unlink()  # what is not at hand today may be tomorrow
        return found

    def _retention(self) -> dict[str, dict[str, Any]]:
        if not self.config.neutral or not any(arm.has_adapter for arm in self.arms):
            return {}
        path = self.workspace.evaluation / "retention.json"
        parts = [self.base_digest, self.adapter_digest, digest(self.config.neutral), self.config.all_items]
        found = kept(path, parts, lambda: divergence(self.local(), self._neutral()))
        return {arm.name: found for arm in self.arms if arm.has_adapter}

    def _economics(self) -> dict[str, Any]:
        if not self.config.economics or not {"prompted", "baked"} <= {
            arm.name for arm in self.arms if not arm.endpoint
        }:
            return {}
        repeats = ALL_REPEATS if self.config.all_items else 1
        full, short = self.context.full_prompt, self.config.short_prompt

        def timer(way: Way) -> Any:
            from tuning_room.engines.timing import timed

            engine = self.local()
            return timed(engine, way.model, way.system, cached=way.cached, max_tokens=TOKENS, repeats=repeats)

        parts = [self.base_digest, self.adapter_digest, full, short, repeats]
        found = kept(self.workspace.evaluation / "timing.json", parts, lambda: measure(timer, full, short, repeats))
        return {**found, "training_seconds": self._training_seconds()}

    def _training_seconds(self) -> float:
        record = self.workspace.records().get("train")
        return record.seconds if record else 0.0

    def _neutral(self) -> list[str]:
        texts = read_items(self.config.neutral or BUILTIN)
        return [item.prompt for item in (texts if self.config.all_items else spread(texts, TEXTS, self.config.seed))]

    def identities(self, also: Measured) -> dict[str, Identity]:
        """Return what each arm was."""
        tokenizer = load_tokenizer(self.model_folder)
        found = {arm.name: self._identity(arm, tokenizer) for arm in self.arms}
        for arm, retention in also.retention.items():
            check_applied(retention["kl"], self.workspace.adapter)
            found[arm] = found[arm]._replace(adapter_moves=retention["kl"])
        return found

    def _identity(self, arm: ArmSetup, tokenizer: Any) -> Identity:
        if arm.endpoint:
            return Identity("", "", sha256(arm.system), 0, endpoint=f"{arm.endpoint.model} at {arm.endpoint.address}")
        rendered = render_text(tokenizer, with_system(arm.system, [QUESTION]), ask=True)
        adapter = self.adapter_digest if arm.has_adapter else ""
        tokens = system_tokens(tokenizer, arm.system)
        return Identity(self.base_digest, adapter, sha256(arm.system), tokens, sha256(rendered))

    def _knock(self, waiting: set[ArmSetup]) -> None:
        # A server that is gone, or does not know its model, is said before minutes are spent on the other arms.
        for arm in sorted(waiting, key=lambda arm: arm.name):
            self._open(arm).complete(arm.model, [[QUESTION]], Sampling(max_tokens=1))

    def _place(self, arm: ArmSetup, suite: str) -> tuple[Path, str]:
        """Return the file of an arm's samples on a suite, and the key under which they count."""
        return self.workspace.evaluation / "samples" / f"{arm.name}.{suite}.jsonl", self._key(arm, suite)

    def _key(self, arm: ArmSetup, suite: str) -> str:
        parts: dict[str, Any] = {
            "base": self.base_digest,
            "adapter": self.adapter_digest if arm.has_adapter else "",
            "system": arm.system,
            "endpoint": arm.endpoint.model_dump(include={"model", "address"}) if arm.endpoint else None,
            "items": _items_digest(self.items[suite]),
            "metrics": self.config.measured(suite),
            "context": self.context._asdict(),
        }
        return sample_key(parts, self.sampling)

    def _open(self, arm: ArmSetup) -> Engine:
        if arm.endpoint:
            server = arm.endpoint
            return EndpointEngine(
                server.address, server.model, key_variable=server.key_variable, concurrency=server.concurrency
            )
        return self.local()

    def local(self) -> LocalEngine:
        """Return the engine of the arms in this process; it is loaded when it is first needed."""
        if self._engine is None:
            adapters = {ADAPTER: self.workspace.adapter}
            self._engine = LocalEngine(
                self.model_folder, base=BASE, adapters=adapters, batch_size=self.config.batch_size
            )
        return self._engine

    def _pairs(self) -> list[Pair]:
        wanted = {name: suite.arms or self.config.arms for name, suite in self.config.suites.items()}
        return [(arm, suite) for arm in self.arms for suite in self.items if arm.name in wanted[suite]]

    def _total(self) -> int:
        return sum(1 + len(item.turns) for _, suite in self._pairs() for item in self.items[suite])


def _inline(checks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return checks with the content of the files that they name, so that the task files need nothing beside them."""
    return {
        name: {key: read_json(value) if isinstance(value, Path) else value for key, value in parameters.items()}
        for name, parameters in checks.items()
    }


def _items_digest(items: list[Item]) -> str:
    return hashlib.sha256(json.dumps([item.model_dump() for item in items], sort_keys=True).encode()).hexdigest()
