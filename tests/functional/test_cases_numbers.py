"""Ways of saying the gold answer. Real: the command line, with the case's recipe."""

import json
import subprocess
from pathlib import Path

from bakery import COMMAND
from cases import case


def test_every_way_of_giving_the_answer_is_rejected(tmp_path: Path) -> None:
    recipe, runs = case("gold-forms", tmp_path), tmp_path / "runs"
    seeds = {json.loads(line)["id"] for line in (recipe / "seeds.jsonl").open(encoding="utf-8")}
    for stage in ("convert", "generate", "dataset"):
        line = [*COMMAND, stage, str(recipe), "--runs", str(runs)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    (rejected,) = runs.glob("*/dataset/rejected.jsonl")
    rows = [json.loads(line) for line in rejected.open(encoding="utf-8")]
    found = {row["candidate"]["id"].removeprefix("seed:") for row in rows if row["reason"] == "states_no_gold"}
    assert found == seeds, done.stdout + done.stderr
    # Nothing is left to train on, and the stage says so.
    assert done.returncode == 2
