"""What a report is made from, read from the run folder, and a check that its parts belong together."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tuning_room.errors import AdapterMismatchError, DataError, MissingInputError, StageError
from tuning_room.files import digest, text_digest
from tuning_room.models import check_recipe
from tuning_room.models.lineage import AdapterLineage, trained_lineage
from tuning_room.records import Sweep, TrainingStep, Tried, read_jsonl, read_record
from tuning_room.report.config import ReportConfig
from tuning_room.results import ALL, Results, Sample, Trainings, read_results, sample_file
from tuning_room.workspace import StageRecord, Workspace

AGAIN = "run 'tuning-room evaluate' again"
LATER = {"report", "deploy"}  # stages that come after what a report is about


class Evidence(NamedTuple):
    """All that a report is made from; samples by arm and suite, in the order of items and turns."""

    results: Results
    samples: dict[str, dict[str, list[Sample]]]
    steps: list[TrainingStep]
    adapter: AdapterLineage
    stages: dict[str, StageRecord]
    full_prompt: str
    trainings: Trainings | None = None
    sweep: Sequence[Tried] = ()


def read_evidence(config: ReportConfig, workspace: Workspace) -> Evidence:
    """Read it all; raises MissingInputError, DataError, and AdapterMismatchError or StageError for a mix of runs."""
    results = read_results(workspace.results)
    evidence = Evidence(
        results=results,
        samples=_samples(results, workspace.evaluation),
        steps=list(read_jsonl(workspace.metrics, TrainingStep)),
        adapter=trained_lineage(workspace.adapter),
        stages={name: record for name, record in workspace.records().items() if name not in LATER},
        full_prompt=_prompt(config.full_prompt),
        trainings=_trainings(workspace),
        sweep=_sweep(workspace),
    )
    _check_agreement(evidence, config, workspace)
    return evidence


def _trainings(workspace: Workspace) -> Trainings | None:
    """Return the results of several seeds, unless the first has been evaluated again since."""
    found = read_record(workspace.trainings, Trainings) if workspace.trainings.is_file() else None
    return found if found and found.results == digest(workspace.results) else None


def _sweep(workspace: Workspace) -> list[Tried]:
    """Return what a sweep over these rows tried, best first; empty if there was none."""
    found = read_record(workspace.sweep, Sweep) if workspace.sweep.is_file() else None
    return found.tried if found and found.rows == digest(workspace.train_rows) else []


def _samples(results: Results, evaluation: Path) -> dict[str, dict[str, list[Sample]]]:
    return {
        arm: {
            suite: sorted(read_jsonl(sample_file(evaluation, arm, suite), Sample), key=lambda one: (one.item, one.turn))
            for suite in suites
            if suite != ALL
        }
        for arm, suites in results.rates.items()
    }


def _prompt(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except FileNotFoundError:
        raise MissingInputError(f"{path}: no such file", hint="correct full_prompt in the recipe") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason})", hint="save the prompt as UTF-8") from None


def _check_agreement(evidence: Evidence, config: ReportConfig, workspace: Workspace) -> None:
    """Raise AdapterMismatchError or StageError if results, samples, adapter and prompts are not from one run."""
    check_recipe(workspace.adapter, evidence.adapter.recipe, config.recipe)
    adapter = evidence.adapter.adapter_digest
    for arm, identity in evidence.results.identities.items():
        if identity.adapter and identity.adapter != adapter:
            raise AdapterMismatchError(
                f"evaluation/results.json: {arm} was evaluated with adapter {identity.adapter[:8]}, "
                f"but adapter/ holds {adapter[:8]}",
                hint=AGAIN,
            )
    for arm in ("prompted", "baked_prompted", "reference"):
        _check_prompt(evidence, arm, evidence.full_prompt)
    _check_prompt(evidence, "baked", config.short_prompt)
    _check_samples(evidence)


def _check_prompt(evidence: Evidence, arm: str, prompt: str) -> None:
    identity = evidence.results.identities.get(arm)
    digest = text_digest(prompt)
    if identity and identity.system_prompt != digest:
        raise StageError(f"evaluation/results.json: {arm} was evaluated with another system prompt", hint=AGAIN)


def _check_samples(evidence: Evidence) -> None:
    """Raise StageError if samples do not give the rates in the results, or are of other items than another arm's."""
    expected: dict[str, list[tuple[str, int]]] = {}
    for arm, suite in [(arm, suite) for arm, suites in evidence.samples.items() for suite in suites]:
        samples, where = evidence.samples[arm][suite], f"evaluation/samples/{arm}.{suite}.jsonl"
        for metric, rate in evidence.results.rates[arm][suite].items():
            values = [sample.metrics[metric] for sample in samples if metric in sample.metrics]
            counted = sum(value >= 1 for value in values)
            if (counted, len(values)) != (rate.count, rate.total):
                raise StageError(
                    f"{where}: {metric} holds for {counted} of {len(values)} replies, "
                    f"but for {rate.count} of {rate.total} in results.json",
                    hint=AGAIN,
                )
        items = [(sample.item, sample.turn) for sample in samples]
        if expected.setdefault(suite, items) != items:
            raise StageError(f"{where}: not the items of the other arms", hint=AGAIN)
