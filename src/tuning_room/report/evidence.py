"""What a report is made from, read from the run folder as plain data."""

import hashlib
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from tuning_room.errors import DataError, MissingInputError
from tuning_room.records import Record, read_json, read_jsonl
from tuning_room.report.config import ReportConfig
from tuning_room.workspace import StageRecord, Workspace

ALL = "all"  # the suite that holds every item
LATER = {"report", "deploy"}  # what they did is no part of what a report is about


class Fact(Record):
    """A row or value that another stage wrote; a field that it has gained since is no error."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Rate(Fact):
    """A share with its 95 % Wilson interval and the counts behind it."""

    rate: float
    low: float
    high: float
    count: int
    total: int


class Difference(Fact):
    """On how many items only one of two arms has a property, and McNemar's exact p-value."""

    suite: str
    metric: str
    first: str
    second: str
    only_first: int
    only_second: int
    p_value: float


class GateResult(Fact):
    """A gate in the evaluation's words, what was measured, and whether the bound was met."""

    gate: str
    value: float
    bound: float
    passed: bool


class Verdict(Fact):
    """What the evaluation decided."""

    verdict: str
    gates: list[GateResult]


class Identity(Fact):
    """What an arm was: sha256 digests, and the system turn's length in tokens."""

    base_model: str
    adapter: str
    system_prompt: str
    system_tokens: int


class Tokens(Fact):
    """Mean tokens of a request, as the model counts them."""

    prompt: float
    completion: float


class Results(Fact):
    """`evaluation/results.json`."""

    schema_version: Literal[1]
    identities: dict[str, Identity]
    rates: dict[str, dict[str, dict[str, Rate]]]
    differences: list[Difference]
    tokens: dict[str, Tokens]
    verdict: Verdict


class Sample(Fact):
    """A reply with its metrics."""

    arm: str
    suite: str
    item: str
    topic: str = ""
    family: str = ""
    type: str = ""
    prompt: str
    gold: str
    reply: str
    finish_reason: str
    metrics: dict[str, bool]


class Step(Fact):
    """One optimizer step: losses in nats a token."""

    step: int
    loss: FiniteFloat
    valid_loss: FiniteFloat | None = None


class AdapterFacts(Fact):
    """`adapter/tuning_room.json`."""

    base_model: str
    adapter_digest: str
    template_digest: str = ""
    train_digest: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)


class Evidence(NamedTuple):
    """All that a report is made from; samples by arm and suite, in the items' order."""

    results: Results
    samples: dict[str, dict[str, list[Sample]]]
    steps: list[Step]
    adapter: AdapterFacts
    stages: dict[str, StageRecord]
    full_prompt: str


def read_evidence(config: ReportConfig, workspace: Workspace) -> Evidence:
    """Read it all; MissingInputError, DataError, and what `check_agreement` raises."""
    from tuning_room.report.agreement import check_agreement

    results = _parse(workspace.results, Results)
    evidence = Evidence(
        results=results,
        samples=_samples(results, workspace.evaluation / "samples"),
        steps=list(read_jsonl(workspace.metrics, Step)),
        adapter=_parse(workspace.adapter / "tuning_room.json", AdapterFacts),
        stages={name: record for name, record in workspace.records().items() if name not in LATER},
        full_prompt=_prompt(config.full_prompt),
    )
    check_agreement(evidence, config)
    return evidence


def text_digest(text: str) -> str:
    """Return the sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _samples(results: Results, folder: Path) -> dict[str, dict[str, list[Sample]]]:
    return {
        arm: {suite: _suite_samples(folder / f"{arm}.{suite}.jsonl") for suite in suites if suite != ALL}
        for arm, suites in results.rates.items()
    }


def _suite_samples(path: Path) -> list[Sample]:
    return sorted(read_jsonl(path, Sample), key=lambda sample: sample.item)


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
