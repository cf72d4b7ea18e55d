"""Count the judgements in docs/evidence, by file, each with its share and its 95 % interval (Wilson).

Usage: python scripts/count_evidence.py [--json] [FILE ...]
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from tuning_room.evaluate.statistics import rate

FOLDER = Path(__file__).parents[1] / "docs" / "evidence"


def count(file: Path) -> dict[str, dict[str, float]]:
    """Return the judgements of a file: how many, out of how many, and the interval of their share."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    found = {}
    for name in sorted(Counter(row["judgement"] for row in rows)):
        share = rate([float(row["judgement"] == name) for row in rows])
        found[name] = {"count": share.count, "of": share.total, "low": share.low, "high": share.high}
    return found


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description="Count the judgements in docs/evidence.")
    parser.add_argument("files", nargs="*", type=Path, help="files to count; all of docs/evidence if left out")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    counted = {file.name: count(file) for file in arguments.files or sorted(FOLDER.glob("*.jsonl"))}
    if arguments.json:
        print(json.dumps(counted))
        return
    for name, judgements in counted.items():
        print(name)
        for judgement, found in judgements.items():
            interval = f"{found['low']:.0%} to {found['high']:.0%}"
            print(f"  {judgement}: {found['count']:.0f} of {found['of']:.0f} ({interval})")


if __name__ == "__main__":
    main()
