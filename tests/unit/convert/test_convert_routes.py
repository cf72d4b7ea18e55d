"""Which way each file takes. The documents are real and nothing is converted; Docling's models are not run here."""

import json
from pathlib import Path

import convert_samples as samples
import pytest
from click.testing import CliRunner
from test_convert_scans import write_scan

from tuning_room.convert import ConvertConfig, installed, run
from tuning_room.convert.routes import Route, explain
from tuning_room.workspace import Workspace


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    samples.write_handbook(folder / "handbook.pdf", chapters=1)
    write_scan(folder / "scan.pdf", pages=2)
    write_scan(folder / "mixed.pdf", pages=1, with_text=True)
    samples.write_word(folder / "syllabus.docx")
    samples.write_word(folder / "wrong.pdf")
    (folder / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "song.mp3").write_bytes(b"ID3")
    return folder


def routes(documents: Path, workspace: Workspace, **knobs: object) -> dict[str, Route]:
    found = explain(ConvertConfig.model_validate({"documents": documents, **knobs}), workspace)
    return {route.name: route for route in found}


def test_each_file_has_its_way_and_a_reason(documents: Path, tmp_path: Path) -> None:
    found = routes(documents, Workspace(tmp_path / "run"))
    assert {name: route.route for name, route in found.items()} == {
        "handbook.pdf": "rules",
        "mixed.pdf": "rules",
        "photo.png": "ocr",
        "scan.pdf": "ocr",
        "song.mp3": "skipped",
        "syllabus.docx": "docling",
        "wrong.pdf": "refused",
    }
    assert found["handbook.pdf"].reason == "Docling's layout models are not installed; all pages have text"
    assert "a scan" in found["scan.pdf"].reason
    assert (found["scan.pdf"].pages, found["scan.pdf"].recognised) == (2, [1, 2])
    assert found["mixed.pdf"].recognised == [2]
    assert "1 of 2 pages have no text" in found["mixed.pdf"].reason
    assert "the content is docx, not pdf" in found["wrong.pdf"].reason
    assert not (tmp_path / "run").exists()


def test_without_recognition(documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert routes(documents, Workspace(tmp_path), ocr=False)["photo.png"].route == "skipped"
    monkeypatch.setattr(installed, "OCR_PACKAGES", ("no_such_package",))
    scan = routes(documents, Workspace(tmp_path))["scan.pdf"]
    assert (scan.route, scan.recognised) == ("rules", [])
    assert "off or not installed" in scan.reason


def test_the_recipe_s_own_word_is_a_reason(documents: Path, tmp_path: Path) -> None:
    assert routes(documents, Workspace(tmp_path), layout="rules")["handbook.pdf"].reason.startswith(
        "the recipe says 'layout: rules'"
    )


def test_what_is_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "a.md").write_text("Text.\n")
    workspace = Workspace(tmp_path / "run")
    assert not routes(tmp_path / "documents", workspace)["a.md"].converted
    run(ConvertConfig(documents=tmp_path / "documents"), workspace)
    assert routes(tmp_path / "documents", workspace)["a.md"].converted


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuning_room.cli import cli

    monkeypatch.chdir(tmp_path)
    recipe = str(Path(__file__).parents[3] / "recipes" / "socratic-tutor")
    table = CliRunner().invoke(cli, ["convert", recipe, "--explain"], standalone_mode=False)
    assert table.exception is None
    assert "handbook.pdf" in table.output and "all pages have text" in table.output
    told = CliRunner().invoke(cli, ["convert", recipe, "--explain", "--json"], standalone_mode=False)
    ways = {route["name"]: route["route"] for route in json.loads(told.output)["documents"]}
    assert ways["handbook.pdf"] == "rules"
    assert not (tmp_path / "runs").exists()
