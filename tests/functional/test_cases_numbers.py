"""Ways of saying the gold answer. Real: the command line, with the case's recipe."""

import json
import subprocess
from pathlib import Path

import pytest
from bakery import COMMAND
from cases import case


@pytest.mark.case("gold-forms")
def test_every_way_of_giving_the_answer_is_rejected(tmp_path: Path) -> None:
    recipe, runs = case("gold-forms", tmp_path), tmp_path / "runs"
    for stage in ("convert", "generate", "dataset"):
        line = [*COMMAND, stage, str(recipe), "--runs", str(runs)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    kept = [json.loads(row)["id"] for file in runs.glob("*/dataset/train.jsonl") for row in file.open(encoding="utf-8")]
    # Nothing is left to train on, and the stage says so, and why.
    assert not kept
    assert done.returncode == 2
    assert "states_no_gold" in done.stderr
