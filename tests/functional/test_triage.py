"""The recipe that is not about teaching goes the same way, from documents to a dataset, on the real command line.

Real: the commands, Docling, SDG Hub, the rules teacher. Nothing is trained here, so it says nothing of a model.
"""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from bakery import ROOT, run

RECIPE = ROOT / "recipes" / "helpdesk-triage"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What the dataset stage says, and the run folder."""
    folder = tmp_path_factory.mktemp("triage")
    for stage in ("convert", "generate", "dataset"):
        done = run(stage, str(RECIPE), "--json", cwd=folder)
        assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder / "runs" / "helpdesk-triage"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_it_gives_enough_dialogues_from_seeds_families_and_documents(finished: tuple[dict[str, Any], Path]) -> None:
    said, folder = finished
    assert said["accepted"] >= 400
    assert "held_out" not in said["rejected"]
    taken = {row["source"].split(":")[0] for row in rows(folder / "dataset" / "train.jsonl")}
    assert taken == {"seeds", "family", "document"}


def test_every_reply_that_is_trained_on_is_json_of_the_fixed_form(finished: tuple[dict[str, Any], Path]) -> None:
    validator = jsonschema.Draft202012Validator(json.loads((RECIPE / "schema.json").read_text(encoding="utf-8")))
    for name in ("train", "valid"):
        for row in rows(finished[1] / "dataset" / f"{name}.jsonl"):
            turns = [turn["content"] for turn in row["messages"] if turn["role"] == "assistant"]
            assert turns
            for text in turns:
                validator.validate(json.loads(text))


def test_the_worked_examples_of_the_documents_are_among_the_candidates(
    finished: tuple[dict[str, Any], Path],
) -> None:
    candidates = rows(finished[1] / "candidates.jsonl")
    from_documents = [row for row in candidates if row["source"].startswith("document:sorting-examples.md")]
    examples = (RECIPE / "documents" / "sorting-examples.md").read_text(encoding="utf-8")
    assert len(from_documents) == examples.count("### Example ")
