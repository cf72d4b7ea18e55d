"""The run folder: where each stage reads and writes, and what is already done."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tuning_room.errors import DataError, MissingInputError, OccupiedError, StageError, WorkspaceBusyError
from tuning_room.files import digest, remove_leftovers
from tuning_room.prerequisites import explained, require
from tuning_room.records import LINEAGE, Candidate, Chunk, Record, read_json, read_jsonl, write_json

PACKAGES = ("tuning-room", "torch", "transformers", "peft", "docling-slim", "sdg-hub", "training-hub", "lm-eval")
MARK = b"A run folder of Tuning Room: its stages replace what stands under their names.\n"  # what its lock holds


class StageConfig(BaseModel):
    """The configuration of a stage; unknown keys are refused, and paths are not part of its digest."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def digest(self) -> str:
        """Return the sha256 of every value except paths, whose contents are inputs of their own."""
        values = {k: _placeless(v) for k, v in self.model_dump().items() if not isinstance(v, Path)}
        return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def _placeless(value: Any) -> Any:
    # Which file belongs to which key is configuration; the folder that the files are in is not.
    if isinstance(value, dict):
        # Keys of several kinds cannot be sorted, and JSON has texts alone.
        return {str(key): _placeless(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_placeless(inner) for inner in value]
    return value.name if isinstance(value, Path) else value


class StageResult(BaseModel):
    """What a stage reports about its work; kept in the manifest."""

    model_config = ConfigDict(extra="ignore", frozen=True)


C = TypeVar("C", bound=StageConfig)
R = TypeVar("R", bound=StageResult)


@dataclass(frozen=True)
class Stage(Generic[C, R]):
    """A stage as the runner sees it: what it reads, what it writes, and how to run it.

    `kept` lists the files from which an interrupted run resumes; a forced run deletes them first.
    """

    name: str
    result: type[R]
    inputs: Callable[[C, "Workspace"], list[Path]]
    outputs: Callable[["Workspace"], list[Path]]
    run: Callable[[C, "Workspace"], R]
    kept: Callable[["Workspace"], list[Path]] = lambda _: []


class StageRecord(BaseModel):
    """A stage's entry in the manifest; digests are sha256, seconds are wall time."""

    state: str
    config: str
    inputs: dict[str, str]
    outputs: dict[str, str] = {}
    started: str
    seconds: float = 0.0
    versions: dict[str, str] = {}
    error: str = ""
    result: dict[str, Any] = {}


class Workspace:
    """A run folder; every path in it is named here and nowhere else."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest = root / "manifest.json"
        self.lock = root / ".lock"
        self.documents = root / "documents"
        self.chunks = root / "chunks.jsonl"
        self.conversions = root / "conversions"
        self.candidates = root / "candidates.jsonl"
        self.generation = root / "generation"
        self.losers = root / "generation" / "losers.jsonl"
        self.train_rows = root / "dataset" / "train.jsonl"
        self.valid_rows = root / "dataset" / "valid.jsonl"
        self.rejected_rows = root / "dataset" / "rejected.jsonl"
        self.pii_report = root / "dataset" / "pii.json"
        self.dataset_card = root / "dataset" / "README.md"
        self.dataset_statistics = root / "dataset" / "statistics.json"
        self.dataset_funnel = root / "dataset" / "funnel.svg"
        self.dataset_description = (self.dataset_card, self.dataset_statistics, self.dataset_funnel)
        self.training = root / "training"
        self.metrics = root / "training" / "metrics.jsonl"
        self.adapter = root / "adapter"
        self.evaluation = root / "evaluation"
        self.results = root / "evaluation" / "results.json"
        self.samples = root / "evaluation" / "samples"
        self.replies = root / "evaluation" / "answers.jsonl"
        self.divergence = root / "evaluation" / "retention.json"
        self.timing = root / "evaluation" / "timing.json"
        self.standard = root / "evaluation" / "standard.json"
        self.judge = root / "evaluation" / "judge"
        self.sweep = root / "training" / "sweep.json"
        self.trainings = root / "evaluation" / "seeds.json"
        self.report_html = root / "report.html"
        self.report_json = root / "report.json"
        self.model_card = root / "model_card.md"
        self.deploy = root / "deploy"
        self._held: os.stat_result | None = None

    def records(self) -> dict[str, StageRecord]:
        """Return the manifest's entries by stage, none if nothing has run yet; DataError for an invalid manifest."""
        if not self.manifest.exists():
            return {}
        try:
            return TypeAdapter(dict[str, StageRecord]).validate_python(read_json(self.manifest))
        except ValidationError as error:
            place = ".".join(str(part) for part in error.errors()[0]["loc"])
            reason = f"{place}: {error.errors()[0]['msg']}".removeprefix(": ")
            raise DataError(f"{self.manifest}: {reason}", hint="delete the file to run every stage again") from None

    def record(self, stage: str) -> StageRecord:
        """Return a finished stage's entry; MissingInputError if it has not finished."""
        entry = self._finished(stage)
        if entry is None:
            raise MissingInputError(
                f"{self.root}: the stage '{stage}' has not finished", hint=f"run 'tuning-room {stage}' first"
            )
        return entry

    def _finished(self, stage: str) -> StageRecord | None:
        entry = self.records().get(stage)
        return entry if entry and entry.state == "done" else None

    def state(self, stage: Stage[C, R], config: C) -> str:
        """Return `done`, `changed` (it would be run again), `failed: <why>` or `not run`."""
        entry = self.records().get(stage.name)
        if entry is None:
            return "not run"
        if entry.state == "failed":
            return f"failed: {entry.error}"
        return "done" if self._is_current(entry, self._new_record(stage, config), stage) else "changed"

    def perform(self, stage: Stage[C, R], config: C, *, force: bool = False) -> tuple[R, bool]:
        """Run a stage unless nothing that it depends on has changed.

        Returns its result and whether it was run. A stage that fails for the first time is recorded as failed; an
        earlier result is left alone. Raises WorkspaceBusyError, MissingInputError, StageError for an input that is not
        as the stage that made it left it, and the stage's own errors.
        """
        with self.locked():
            done = self.records().get(stage.name)
            if done is None or done.state != "done":
                require([stage.name])  # before any complaint about inputs that other stages have yet to produce
            fresh = self._new_record(stage, config)
            if done and not force and self._is_current(done, fresh, stage):
                return stage.result.model_validate(done.result), False
            remove_leftovers(self.root)
            self.hold(*stage.inputs(config, self))
            if force:
                self._forget(stage, done)
            return self._run(stage, config, fresh), True

    def hold(self, *paths: Path) -> None:
        """Raise StageError for something in the run folder that is not as the stage that made it left it.

        What no stage has recorded is taken as it is: a run may begin with rows or an adapter from elsewhere.
        """
        found = self._digests([path for path in paths if path.is_relative_to(self.root)])
        made = {name: record.outputs for name, record in self.records().items() if record.state == "done"}
        for maker, outputs in made.items():
            for label in found.keys() & outputs.keys():
                if found[label] != outputs[label]:
                    what = "has been changed" if found[label] else "is gone"
                    raise StageError(
                        f"{self.root / label}: {what} since 'tuning-room {maker}' wrote it",
                        hint=f"run 'tuning-room {maker}' to make it again",
                    )

    def _forget(self, stage: Stage[C, R], done: StageRecord | None) -> None:
        """Delete what a run would resume from; until one has finished, the earlier result counts as out of date."""
        if done and done.state == "done":
            self._save(stage.name, done.model_copy(update={"config": "to be run again"}))
        for path in stage.kept(self):
            path.unlink(missing_ok=True)

    def _run(self, stage: Stage[C, R], config: C, record: StageRecord) -> R:
        started = time.monotonic()
        try:
            with explained(stage.name):
                result = stage.run(config, self)
        except BaseException as error:
            self._check_there()
            # An earlier result is still on disk, so its entry stays.
            if self._finished(stage.name) is None:
                failed = {"state": "failed", "error": str(error) or repr(error)}
                self._save(stage.name, record.model_copy(update=failed))
            raise
        done: dict[str, Any] = {
            "state": "done",
            "seconds": round(time.monotonic() - started, 2),
            "outputs": self._digests(stage.outputs(self)),
            "result": result.model_dump(mode="json"),
        }
        self._save(stage.name, record.model_copy(update=done))
        return result

    def _new_record(self, stage: Stage[C, R], config: C) -> StageRecord:
        return StageRecord(
            state="running",
            config=config.digest(),
            inputs=self._digests(stage.inputs(config, self)),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=installed_versions(),
        )

    def _is_current(self, done: StageRecord, fresh: StageRecord, stage: Stage[C, R]) -> bool:
        same = (done.state, done.config, done.inputs) == ("done", fresh.config, fresh.inputs)
        return same and done.outputs == self._digests(stage.outputs(self))

    def _digests(self, paths: list[Path]) -> dict[str, str]:
        found: dict[str, str] = {}
        for path in paths:
            label = path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.name
            # Two files of the same name in different folders are two inputs.
            found[f"{label} ({len(found)})" if label in found else label] = digest(path)
        return found

    def _check_there(self) -> None:
        """Raise StageError if somebody has removed the run folder: what is written now would be a part of none."""
        if self._held and not (self.lock.exists() and os.path.samestat(self._held, self.lock.stat())):
            raise StageError(f"{self.root}: the run folder was removed under this stage", hint="run the command again")

    def _save(self, name: str, record: StageRecord) -> None:
        self._check_there()
        entries = {**self.records(), name: record}
        write_json(self.manifest, {key: entry.model_dump(mode="json") for key, entry in entries.items()})

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the run folder; WorkspaceBusyError if one is using it.

        Raises OccupiedError for a folder that is not a run folder, since stages replace files of the same name.
        """
        if not self._is_marked():
            self._refuse_foreign()
        self.root.mkdir(parents=True, exist_ok=True)
        with self.lock.open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise WorkspaceBusyError(
                    f"{self.root}: another process is using this run folder", hint="wait for it, or stop it"
                ) from None
            if not lock.tell():
                lock.write(MARK)
                lock.flush()
            os.utime(lock.fileno())  # its time shows when a stage last began
            self._held = os.fstat(lock.fileno())
            try:
                yield
            finally:
                self._held = None

    def _is_marked(self) -> bool:
        """Return whether the lock or the manifest says that this is a run folder; others use these names too."""
        if self.lock.is_file() and self.lock.read_bytes() == MARK:
            return True
        try:
            return bool(self.records())
        except DataError:
            return False

    def _refuse_foreign(self) -> None:
        for path in sorted(self.root.glob("*")):
            is_empty_lock = path == self.lock and path.is_file() and not path.stat().st_size
            if is_empty_lock or (path.name.startswith(".") and path != self.lock) or self._is_of_a_run(path):
                continue
            raise OccupiedError(
                f"{self.root}: not a run folder, it holds '{path.name}', which no stage has made",
                hint="name another folder for the runs (--runs), or another recipe",
            )

    def _is_of_a_run(self, path: Path) -> bool:
        """Return whether a run made what stands here, by its content: a run may begin with what another one made."""
        if path in (self.train_rows.parent, self.adapter) and path.is_symlink():
            return True  # the link alone would be replaced
        rows: dict[Path, type[Record]] = {self.chunks: Chunk, self.candidates: Candidate}
        if path in rows:
            return _begins_with(path, rows[path])
        lineage = self.adapter / LINEAGE
        signs: dict[Path, list[tuple[Path, ...]]] = {
            self.manifest: [()],  # a spoilt one is named when it is read
            self.generation: [(self.generation / "answers.jsonl",), (self.losers,)],
            self.train_rows.parent: [(self.train_rows, self.dataset_statistics)],
            self.training: [(self.metrics,), (self.sweep,), (self.training / "trainjob.yaml",)],
            self.adapter: [(lineage,)],
            self.evaluation: [(self.results,), (self.replies,)],
            self.model_card: [(lineage,)],
        }
        return any(all(file.is_file() for file in files) for files in signs.get(path, []))


def _begins_with(path: Path, kind: type[Record]) -> bool:
    try:
        return next(iter(read_jsonl(path, kind)), None) is not None
    except (DataError, MissingInputError):
        return False


def installed_versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of those packages that are installed; by default, of all that a result depends on."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
