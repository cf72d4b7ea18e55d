"""Text that was lost or dirtied in the conversion of sheets. Real: the command line, and the case's own files."""

import json
from pathlib import Path

import pytest
from bakery import run
from cases import case


@pytest.mark.case("xlsx-formats")
def test_a_sheet_is_converted_as_its_reader_sees_it(tmp_path: Path) -> None:
    folder = case("xlsx-formats", tmp_path)
    done = run("convert", ".", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    (file,) = json.loads(done.stdout)["files"]
    assert (file["left_out"], file["missing"]) == (["1 hidden row", "1 hidden column"], [])
    (page,) = (folder / "runs").rglob("rates.xlsx.md")
    text = page.read_text()
    assert "| Lamp | 47.5% | 2026-03-01 | 19.90 EUR |\n| Chair | 10.0% | 2026-05-04 | 1,234,567.50 EUR |" in text
    assert "TOTALS" in text
    for hidden in ("HIDDENROW", "SECRETCOL", "00:00:00", "0.475"):
        assert hidden not in text
