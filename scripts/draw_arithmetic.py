"""Draw the arithmetic of the built-in suite `capability`: python scripts/draw_arithmetic.py [--seed 7]

The other rows of the suite, written by hand, stay as they are; the drawn ones come first. Most are so easy that a
small base model is right now and then: a suite at the floor could not show that something was lost.
"""

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tuning_room.files import atomic_writer

CAPABILITY = Path(__file__).parents[1] / "src" / "tuning_room" / "evaluate" / "suites" / "capability.jsonl"


class Kind(NamedTuple):
    """A kind of exercise: what is asked, its check, from which numbers, and how many are drawn."""

    name: str
    difficulty: str
    ask: str
    check: str
    first: range
    second: range
    count: int


KINDS = (
    Kind("sum", "easy", "What is {a} + {b}?", "{a} + {b}", range(2, 10), range(2, 10), 10),
    Kind("difference", "easy", "What is {a} - {b}?", "{a} - {b}", range(7, 19), range(2, 7), 8),
    Kind("product", "easy", "What is {a} times {b}?", "{a}*{b}", range(2, 10), range(2, 10), 8),
    Kind("sum", "medium", "Add {a} and {b}.", "{a} + {b}", range(21, 80), range(11, 20), 8),
    Kind("difference", "medium", "Take {b} away from {a}.", "{a} - {b}", range(41, 99), range(11, 40), 6),
    Kind("share", "medium", "{total} nuts are shared by {b} children. How many does each get?",
         "Rational({total}, {b})", range(3, 13), range(3, 9), 4),
    Kind("story", "easy", "Kim has {a} pens and buys {b} more. How many pens does Kim have now?", "{a} + {b}",
         range(11, 20), range(3, 9), 4),
    Kind("product", "hard", "Multiply {a} by {b}.", "{a}*{b}", range(12, 40), range(3, 9), 4),
)  # fmt: skip

SOLVE: dict[str, Callable[[int, int], int]] = {
    "sum": lambda a, b: a + b,
    "story": lambda a, b: a + b,
    "difference": lambda a, b: a - b,
    "product": lambda a, b: a * b,
    "share": lambda a, b: a,
}


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Draw the arithmetic of the suite `capability`.")
    parser.add_argument("--seed", type=int, default=7, help="another seed draws other numbers")
    parser.add_argument("--out", type=Path, default=CAPABILITY, help="the file to write")
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in CAPABILITY.read_text(encoding="utf-8").splitlines()]
    rows = [*drawn(random.Random(arguments.seed)), *(row for row in rows if row["topic"] != "arithmetic")]
    with atomic_writer(arguments.out) as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    print(f"{len(rows)} rows in {arguments.out}")
    return 0


def drawn(rng: random.Random) -> Iterator[dict[str, str]]:
    """Yield the exercises of all kinds; none has its result among its numbers."""
    number = 0
    for kind in KINDS:
        results = ((a, b, SOLVE[kind.name](a, b)) for a in kind.first for b in kind.second)
        possible = [(a, b, gold) for a, b, gold in results if gold != b and (kind.name == "share" or gold != a)]
        for a, b, gold in rng.sample(possible, kind.count):
            number += 1
            numbers = {"a": a, "b": b, "total": a * b}
            yield {
                "id": f"arithmetic-{number:03}",
                "topic": "arithmetic",
                "type": kind.name,
                "difficulty": kind.difficulty,
                "prompt": kind.ask.format(**numbers),
                "gold": str(gold),
                "check": kind.check.format(**numbers),
            }


if __name__ == "__main__":
    sys.exit(main())
