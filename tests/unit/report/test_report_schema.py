"""docs/report.md against the form of report.json.

Real: the form as pydantic describes it, and the document. Fabricated: nothing.
"""

from pathlib import Path
from typing import Any

import pytest

from tuning_room.report.content import SCHEMA_VERSION, Report

DOC = (Path(__file__).parents[3] / "docs" / "report.md").read_text(encoding="utf-8")
SCHEMA: dict[str, Any] = Report.model_json_schema()
NESTED = [(name, field) for name, part in SCHEMA["$defs"].items() for field in part.get("properties", {})]
# What the manifest's own words are: the train stage's result.
ELSEWHERE = {"TrainFacts"}


@pytest.mark.parametrize("field", SCHEMA["properties"])
def test_document_has_a_line_for_every_top_level_field(field: str) -> None:
    assert f"| `{field}` | {SCHEMA['properties'][field]['description']} |" in DOC


def test_document_names_every_field_of_the_parts() -> None:
    missing = [f"{part}.{field}" for part, field in NESTED if part not in ELSEWHERE and f"`{field}`" not in DOC]
    assert missing == []


def test_document_states_the_version() -> None:
    assert f"Schema version {SCHEMA_VERSION}." in DOC
