"""What a report is made from, read from the run folder as plain data."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from tuning_room.errors import DataError, MissingInputError
from tuning_room.files import digest
from tuning_room.models import LINEAGE
from tuning_room.records import Tried, read_json, read_jsonl
from tuning_room.report.config import ReportConfig
from tuning_room.report.facts import ALL, AdapterFacts, Results, Sample, Step, Sweep, Trainings
from tuning_room.workspace import StageRecord, Workspace

LATER = {"report", "deploy"}  # what they did is no part of what a report is about


class Evidence(NamedTuple):
    """All that a report is made from; samples by arm and suite, in the items' order, turn by turn."""

    results: Results
    samples: dict[str, dict[str, list[Sample]]]
    steps: list[Step]
    adapter: AdapterFacts
    stages: dict[str, StageRecord]
    full_prompt: str
    trainings: Trainings | None = None
    sweep: Sequence[Tried] = ()


def read_evidence(config: ReportConfig, workspace: Workspace) -> Evidence:
    """Read it all; MissingInputError, DataError, and what `check_agreement` raises."""
    from tuning_room.report.agreement import check_agreement

    results = _parse(workspace.results, Results)
    evidence = Evidence(
        results=results,
        samples=_samples(results, workspace.evaluation / "samples"),
        steps=list(read_jsonl(workspace.metrics, Step)),
        adapter=_parse(workspace.adapter / LINEAGE, AdapterFacts),
        stages={name: record for name, record in workspace.records().items() if name not in LATER},
        full_prompt=_prompt(config.full_prompt),
        trainings=_trainings(workspace),
        sweep=_sweep(workspace),
    )
    check_agreement(evidence, config)
    return evidence


def _trainings(workspace: Workspace) -> Trainings | None:
    """Return what other seeds came to, unless the first one has been evaluated anew since."""
    found = _parse(workspace.seeds, Trainings) if workspace.seeds.is_file() else None
    return found if found and found.results == digest(workspace.results) else None


def _sweep(workspace: Workspace) -> list[Tried]:
    """Return what a sweep over these rows tried, best first; nothing where there was none."""
    found = _parse(workspace.sweep, Sweep) if workspace.sweep.is_file() else None
    return found.tried if found and found.rows == digest(workspace.train_rows) else []


def text_digest(text: str) -> str:
    """Return the sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _samples(results: Results, folder: Path) -> dict[str, dict[str, list[Sample]]]:
    return {
        arm: {suite: _suite_samples(folder / f"{arm}.{suite}.jsonl") for suite in suites if suite != ALL}
        for arm, suites in results.rates.items()
    }


def _suite_samples(path: Path) -> list[Sample]:
    return sorted(read_jsonl(path, Sample), key=lambda sample: (sample.item, sample.turn))


def _prompt(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise MissingInputError(f"{path}: no such file", hint="mend full_prompt in the recipe") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason})", hint="save the prompt as UTF-8") from None


F = TypeVar("F", bound=BaseModel)


def _parse(path: Path, kind: type[F]) -> F:
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {field}: {first['msg']}", hint="run the stage that writes it again") from None
