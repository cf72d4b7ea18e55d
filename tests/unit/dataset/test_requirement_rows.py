"""Rows that name requirements: held to their checks, counted, warned about. Real: the selection and its files."""

from pathlib import Path

import pytest

from tuning_room import dataset
from tuning_room.checks import Exchange
from tuning_room.dataset.config import DatasetConfig
from tuning_room.dataset.selection import Coverage
from tuning_room.dataset.split import dialogue
from tuning_room.errors import RecipeError
from tuning_room.records import Candidate, Message
from tuning_room.workspace import Workspace

FILE = """
- {id: short, quote: Be short., checks: {length: {at_least: 1, at_most: 6}}, every_reply: true}
- {id: ask, quote: Ask., checks: {asks_question: {}}}
- {id: rare, quote: Say hello.}
- {id: unseen, quote: Sing.}
- {id: hours, quote: Open at 9., kind: knowledge}
- {id: kind, quote: Be kind., untested: no rule sees it}
"""


@pytest.fixture
def config(tmp_path: Path) -> DatasetConfig:
    (tmp_path / "requirements.yaml").write_text(FILE, encoding="utf-8")
    return DatasetConfig(
        recipe="r", short_prompt="s", requirements=tmp_path / "requirements.yaml", rows_per_requirement=3
    )


def candidate(*names: str) -> Candidate:
    turns = [Message(role="user", content="Hi"), Message(role="assistant", content="Hello?")]
    return Candidate(id="c", source="s", group="g", messages=turns, requirements=list(names))


def test_the_files_of_requirements_checks_are_inputs(config: DatasetConfig, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text("{}")
    held = "- {id: json, quote: Be kind., checks: {json_schema: {schema: schema.json}}}"
    (tmp_path / "requirements.yaml").write_text(held)
    assert tmp_path / "schema.json" in dataset.inputs(config, Workspace(tmp_path / "run"))


def test_a_row_is_held_to_what_it_names_and_to_every_reply(config: DatasetConfig) -> None:
    coverage = Coverage(config)
    assert coverage.broken(candidate("ask"), Exchange("And then?", "Hi")) == ("", "")
    reason, detail = coverage.broken(candidate("ask"), Exchange("No.", "Hi"))
    assert reason == "requirement:ask" and detail.startswith("asks_question: ")
    assert coverage.broken(candidate(), Exchange("No.", "Hi")) == ("", "")
    long = Exchange("This has far too many words to be short.", "Hi")
    assert coverage.broken(candidate(), long)[0] == "requirement:short"


def test_an_id_that_no_requirement_has_is_named(config: DatasetConfig) -> None:
    with pytest.raises(RecipeError, match="c: there is no requirement 'sing'; known: short, ask"):
        Coverage(config).broken(candidate("sing"), Exchange("x", "y"))
    with pytest.raises(RecipeError, match="name a file of requirements"):
        Coverage(config.model_copy(update={"requirements": None})).broken(candidate("ask"), Exchange("x", "y"))


def test_rows_are_counted_and_too_few_are_warned_about(config: DatasetConfig) -> None:
    coverage = Coverage(config)
    for names in (["ask"], ["ask", "rare"], ["ask"], []):
        coverage.count(candidate(*names))
    found = coverage.summary()
    assert found["requirements"] == {"short": 4, "ask": 3, "rare": 1, "unseen": 0, "kind": 0}
    assert found["warnings"] == ["no row teaches unseen", "fewer than 3 rows teach rare (1)"]


def test_a_check_that_does_not_exist_is_found_at_once(config: DatasetConfig, tmp_path: Path) -> None:
    (tmp_path / "requirements.yaml").write_text("- {id: a, quote: A., checks: {lenght: {}}}", encoding="utf-8")
    with pytest.raises(RecipeError, match="lenght"):
        Coverage(config)


def test_a_row_keeps_the_ids_of_its_candidate() -> None:
    assert dialogue(candidate("ask", "rare"), "s").requirements == ["ask", "rare"]
    assert "requirements" not in dialogue(candidate(), "s").model_dump_json()
