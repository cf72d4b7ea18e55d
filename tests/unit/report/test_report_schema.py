"""The form of report.json: what an older version carried, and the published JSON Schemas.

Real: the classes, the schemas that are published, jsonschema. Fabricated: the run that they are held against.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from tuning_room.records import read_jsonl
from tuning_room.report.content import Report
from tuning_room.results import Sample, read_results
from tuning_room.workspace import Workspace

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"
FORM: dict[str, Any] = Report.model_json_schema()
# The parts and fields of version 2, a part a line.
VERSION_2 = (Path(__file__).parent / "version_2.txt").read_text(encoding="utf-8").splitlines()
OLD = [(part, field) for line in VERSION_2 for part, fields in [line.split(": ")] for field in fields.split()]
# Where a part has another name now; docs/report.md has the same in words.
PARTS = {
    "Gate": "ShownGate", "Metric": "SuiteMetric", "Suite": "SuiteSection", "Family": "ShownFamily",
    "Reply": "ShownReply", "Turn": "Message", "Exchange": "ShownTurn", "Dialogue": "ShownDialogue",
    "Serving": "ServingTime", "Decision": "VerdictSection", "Score": "TaskScore", "Standard": "StandardScores",
}  # fmt: skip
FIELDS = {
    ("Gate", "metric"): "Gate.metric", ("Gate", "against"): "Gate.not_below", ("Gate", "by"): "Gate.by",
    ("Gate", "margin"): "Gate.margin", ("Metric", "wanted"): "SuiteMetric.higher_is_better",
    ("Comparison", "wanted"): "Comparison.higher_is_better", ("FamilyMap", "wanted"): "FamilyMap.higher_is_better",
    ("FailureGroup", "wanted"): "FailureGroup.higher_is_better", ("Turn", "text"): "Message.content",
    ("ArmIdentity", "arm"): "Lineage.arms",
}  # fmt: skip


@pytest.mark.parametrize(("part", "field"), OLD, ids=".".join)
def test_what_version_2_carried_is_carried_still(part: str, field: str) -> None:
    now, name = FIELDS.get((part, field), f"{PARTS.get(part, part)}.{field}").split(".")
    properties = FORM["properties"] if now == "Report" else FORM["$defs"][now]["properties"]
    assert name in properties


def test_there_is_something_to_compare() -> None:
    assert len(OLD) == 248 and FORM["properties"]["schema_version"]["default"] == 3


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize(("schema", "file"), [("results", "evaluation/results.json"), ("report", "report.json")])
def test_what_is_written_fits_the_published_schema(finished: Workspace, schema: str, file: str) -> None:
    value = json.loads((finished.root / file).read_text(encoding="utf-8"))
    published = validator(f"{schema}.schema.json")
    published.validate(value)
    for spoilt in ({**value, "schema_version": 2}, {**value, "verdict": "ship"}, {**value, "rates": {"baked": 1}}):
        with pytest.raises(ValidationError):
            published.validate(spoilt)


def test_results_and_samples_are_written_and_read_by_the_same_classes(finished: Workspace) -> None:
    results = read_results(finished.results)
    assert json.loads(finished.results.read_text(encoding="utf-8")) == results.model_dump(mode="json")
    for file in finished.samples.iterdir():
        lines = file.read_text(encoding="utf-8").splitlines()
        assert [json.loads(line) for line in lines] == [
            sample.model_dump(mode="json") for sample in read_jsonl(file, Sample)
        ]
