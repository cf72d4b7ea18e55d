"""Personal data of several regions, in words, ids and labels. Real: the command line, with the cases' recipes."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from bakery import COMMAND
from cases import case

PHONES = {"pii-region-de": 6, "pii-region-fr": 6}
KEPT = {"pii-region-de": set[str](), "pii-region-fr": {"fr-math"}}


def built(recipe: Path, runs: Path) -> Path:
    for stage in ("convert", "generate", "dataset"):
        line = [*COMMAND, stage, str(recipe), "--runs", str(runs)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout + done.stderr
    return next(runs.glob("*/dataset"))


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    rows = map(json.loads, (folder / "train.jsonl").read_text(encoding="utf-8").splitlines())
    return {row["id"]: row for row in rows}


@pytest.mark.case("pii-region-de", "pii-region-fr")
@pytest.mark.parametrize("name", PHONES)
def test_phone_numbers_of_a_region_are_masked(name: str, tmp_path: Path) -> None:
    folder = built(case(name, tmp_path), tmp_path / "runs")
    asked = {row: said["messages"][1]["content"] for row, said in rows_of(folder).items()}
    assert json.loads((folder / "pii.json").read_text(encoding="utf-8"))["counts"]["phone"] == PHONES[name]
    assert sum("[phone]" in text for text in asked.values()) == PHONES[name]
    # Nothing else is left that has digits, but what is no personal data.
    assert {row for row, text in asked.items() if re.search(r"\d{2}", text)} == KEPT[name]


def test_what_else_people_give_away_is_masked(tmp_path: Path) -> None:
    rows = rows_of(built(case("pii-region-de", tmp_path), tmp_path / "runs"))
    said = {row: found["messages"][1]["content"] for row, found in rows.items()}
    assert said["de-mail"] == "Schreib an [email] oder an [email]"
    assert said["de-mail2"] == "Schreib an [email] wegen der Aufgabe"
    assert said["de-matr"] == "Meine Matrikelnummer ist [student id] an der Uni"
    assert said["de-iban"] == "Überweise auf [iban] das Geld"


@pytest.mark.case("pii-in-ids")
def test_nothing_that_the_dataset_writes_holds_what_was_masked(tmp_path: Path) -> None:
    folder = built(case("pii-in-ids", tmp_path), tmp_path / "runs")
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert len(written) > 5
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"example\.edu|555\W{0,3}2671|\w@\w", text), path
    rows = rows_of(folder)
    assert len(rows) == 2
    for row in rows.values():
        assert row["source"] == f"seeds:{row['group']}" or row["source"].startswith("seeds:[")
    assert {row["topic"] for row in rows.values()} == {"for [email]", ""}


def run_with(recipe: Path, **changes: object) -> "subprocess.CompletedProcess[str]":
    settings = yaml.safe_load((recipe / "recipe.yaml").read_text(encoding="utf-8"))
    settings["dataset"]["pii"] = changes.pop("pii")
    (recipe / "recipe.yaml").write_text(yaml.safe_dump(settings | changes), encoding="utf-8")
    line = [*COMMAND, "convert", str(recipe), "--runs", str(recipe / "runs")]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)


def test_what_is_not_known_of_a_region_or_language_is_said(tmp_path: Path) -> None:
    recipe = case("pii-region-de", tmp_path)
    done = run_with(recipe, language="sw", pii={"region": "KE"})
    assert done.returncode == 0
    assert "dataset.pii does not know the words for phone numbers in 'sw'" in done.stderr
    assert "no numbers of persons for the region 'KE'" in done.stderr
    assert "dataset.pii" not in run_with(recipe, language="de", pii={"region": "DE"}).stderr
    refused = run_with(recipe, pii={"region": "UK"})
    assert refused.returncode == 2 and "'GB' is" in refused.stderr and "Traceback" not in refused.stderr
