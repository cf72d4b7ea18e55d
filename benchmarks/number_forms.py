"""How many ways of giving a gold answer `leaks` finds, and how often it finds one in another number.

`python benchmarks/number_forms.py [--json] [--wrong]` reads tests/unit/checks/scripts/numbers.jsonl, whose rows were
written and labelled before the rule was changed; `--wrong` prints those that it gets wrong.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tuning_room.checks import METRICS, Case

LABELLED = Path(__file__).parents[1] / "tests" / "unit" / "checks" / "scripts" / "numbers.jsonl"


class Right(NamedTuple):
    """The rows of a kind that are right, of those that give the answer and of those that do not."""

    found: int
    gives: int
    left: int
    gives_not: int


def rows() -> list[dict[str, Any]]:
    """Return the labelled rows."""
    return [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]


def is_right(row: dict[str, Any]) -> bool:
    """Say whether the rule agrees with a row's label."""
    score = METRICS["leaks"].score
    return bool(score and score(row["reply"], Case(row["said"], row["gold"], language=row["language"]))) == row["gives"]


def by_kind() -> Iterator[tuple[str, Right]]:
    """Yield how many rows are right, by kind and in all."""
    judged = [(row, is_right(row)) for row in rows()]
    for kind in [*dict.fromkeys(row["kind"] for row, _ in judged), "all"]:
        labels = [(row["gives"], right) for row, right in judged if kind in (row["kind"], "all")]
        gives, gives_not = ([right for label, right in labels if label is wanted] for wanted in (True, False))
        yield kind, Right(sum(gives), len(gives), sum(gives_not), len(gives_not))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--wrong", action="store_true", help="print the rows that the rule gets wrong")
    given = parser.parse_args()
    if given.json:
        print(json.dumps({kind: right._asdict() for kind, right in by_kind()}, indent=1))
        return
    for kind, right in by_kind():
        print(f"{kind:25} found {right.found:3} of {right.gives:3}   left alone {right.left:2} of {right.gives_not:2}")
    for row in rows() if given.wrong else []:
        if not is_right(row):
            print(json.dumps(row, ensure_ascii=False))


if __name__ == "__main__":
    main()
