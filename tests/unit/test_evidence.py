"""The readings by eye that are kept in docs/evidence, and the script that counts them. Real: both."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "docs" / "evidence").glob("*.jsonl"))
FIELDS = {"date", "reader", "recipe", "adapter", "item", "before", "prompt", "reply", "judgement", "reason"}


def test_every_reading_has_its_reply_and_its_judgement() -> None:
    assert FILES
    for file in FILES:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        assert all(row.keys() - {"turn"} == FIELDS for row in rows)
        assert all(row["reply"] and row["judgement"] for row in rows)
        assert len({(row["item"], row.get("turn", 1)) for row in rows}) == len(rows)
        assert file.name in (ROOT / "docs" / "evidence" / "README.md").read_text(encoding="utf-8")


def test_the_script_counts_them(tmp_path: Path) -> None:
    given = tmp_path / "four.jsonl"
    given.write_text("".join(json.dumps({"judgement": name}) + "\n" for name in ("on", "off", "on", "on")))
    script = [sys.executable, str(ROOT / "scripts" / "count_evidence.py")]
    shown = subprocess.run([*script, str(given)], capture_output=True, text=True, check=True).stdout
    assert "off: 1 of 4" in shown and "on: 3 of 4 (30% to 95%)" in shown
    counted = json.loads(subprocess.run([*script, "--json"], capture_output=True, text=True, check=True).stdout)
    assert counted["2026-11-27-run-6.jsonl"]["to_the_point"]["of"] == 50
