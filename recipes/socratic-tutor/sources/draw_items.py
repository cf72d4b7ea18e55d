"""Draw the held-out problems of evaluation/behaviour.jsonl from the texts in evaluation/kinds/.

Usage: python draw_items.py [--seed 20] [--each 3] [--out FILE]

The problems written by hand, whose ids begin with `problem`, stay as they are and come first. kinds/*.yaml hold one
entry a kind of problem: the parameters of each difficulty (`2..9` is a range), further values that are derived from
them, conditions, the answer as a SymPy expression, and sentences that ask for it. None of the sentences is one of
the training families', and the parameters are mostly outside of theirs. `check` is a second expression, over
nothing but the numbers of the problem. A draw is thrown away if the sentence holds its own answer. One seed gives the
same bytes everywhere.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tuning_room.checks.replies import leaks
from tuning_room.files import atomic_writer
from tuning_room.generate.expressions import evaluate, written

SOURCES = Path(__file__).resolve().parent
EVALUATION = SOURCES.parent / "evaluation"
BEHAVIOUR = EVALUATION / "behaviour.jsonl"
LEVELS = ("easy", "medium", "hard")
TRIES = 1000  # draws before an entry's conditions are held to be impossible

Entry = dict[str, Any]


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Draw the held-out problems.")
    parser.add_argument("--seed", type=int, default=20, help="another seed draws other problems")
    parser.add_argument("--each", type=int, default=3, help="problems of a kind and a difficulty, 5 at most")
    parser.add_argument("--out", type=Path, default=BEHAVIOUR, help="the file to write")
    arguments = parser.parse_args()
    by_hand = [line for line in BEHAVIOUR.read_text(encoding="utf-8").splitlines() if '"id": "problem-' in line]
    drawn = list(draw_all(arguments.seed, arguments.each))
    with atomic_writer(arguments.out) as out:
        out.writelines(f"{line}\n" for line in by_hand)
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in drawn)
    print(f"{len(by_hand)} problems by hand and {len(drawn)} drawn in {arguments.out}")
    return 0


def draw_all(seed: int, each: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of all kinds, in the order of the files, from easy to hard."""
    number = 0
    for file in sorted(EVALUATION.glob("kinds/*.yaml")):
        topic = file.stem.partition("-")[2].replace("-", " ")
        for entry in yaml.safe_load(file.read_text(encoding="utf-8")):
            # A generator of its own: a new kind does not change the problems of the others.
            rng = random.Random(f"{seed} {entry['type']}")
            for level, problem in draw_kind(entry, rng, each):
                number += 1
                kind = {"topic": topic, "type": entry["type"], "in_syllabus": True, "difficulty": level}
                yield {"id": f"drawn-{number:03}", **kind, **problem}


def draw_kind(entry: Entry, rng: random.Random, each: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the problems of a kind with their difficulty; no two have the same numbers or, at one difficulty, words."""
    seen: set[str] = set()
    for level in LEVELS:
        for template in rng.sample(entry["ask"], each):
            problem = draw(entry, level, template, rng, seen)
            seen.add(problem["check"])
            yield level, problem


def draw(entry: Entry, level: str, template: str, rng: random.Random, seen: set[str]) -> dict[str, str]:
    """Return one problem; SystemExit if no draw meets the entry's conditions."""
    for _ in range(TRIES):
        values = drawn_values(entry, level, rng)
        if not all(bool(evaluate(condition, values)) for condition in entry.get("require", [])):
            continue
        problem = filled(entry, template, values)
        if problem["check"] not in seen and leaks(f"Look at {problem['gold']}.", problem["gold"], problem["prompt"]):
            return problem
    sys.exit(f"{entry['type']}, {level}: no draw in {TRIES} meets 'require' and keeps its own answer")


def drawn_values(entry: Entry, level: str, rng: random.Random) -> dict[str, Any]:
    """Return a value for each parameter of a difficulty, and what is derived from them."""
    values: dict[str, Any] = {}
    for name, given in entry[level].items():
        drawn = rng.choice(choices(given))
        values[name] = drawn if isinstance(drawn, str) else evaluate(drawn, {})
    for name, expression in entry.get("derived", {}).items():
        values[name] = evaluate(expression, values)
    return {**values, "answer": evaluate(entry["answer"], values)}


def choices(given: Any) -> list[Any]:
    """Return the values of a parameter: those of a list, or of a range such as 2..9, the last one included."""
    if isinstance(given, list):
        return given
    first, _, last = given.partition("..")
    return list(range(int(first), int(last) + 1))


def filled(entry: Entry, template: str, values: dict[str, Any]) -> dict[str, str]:
    """Return the texts of a problem."""
    texts = {name: written(value) for name, value in values.items()}
    texts |= {name: f"{float(values[name]):g}" for name in entry.get("decimals", [])}
    gold = entry.get("gold", "{answer}").format(**texts)
    return {"prompt": template.format(**texts), "gold": gold, "check": entry["check"].format(**values)}


if __name__ == "__main__":
    sys.exit(main())
