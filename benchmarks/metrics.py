"""How often the metrics agree with a reader: precision and recall on labelled replies.

`python benchmarks/metrics.py [--json]` reads tests/unit/checks/labelled, where each reply was read and labelled by
itself. `--mathdial FILE` adds the teachers' turns of MathDial (Macina et al. 2023; data/test.jsonl of
github.com/eth-nlped/mathdial), whose moves their authors labelled: `tells` against the label "telling", and how many
turns confirm a wrong result; `--sample N` prints N of these to be read, and N labelled "telling" that are missed.
"""

import argparse
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tuning_room.checks import METRICS, Case

LABELLED = Path(__file__).parents[1] / "tests" / "unit" / "checks" / "labelled"
# The labels say "confirms" where the metric says that a confirmation is held back.
OPPOSITE = {"confirms": "withholds"}
WANTED = {"confirms": "confirm", "refuses": "refuse"}


class Agreement(NamedTuple):
    """How a metric agrees with a reader on replies, of which the reader says of `positive` that they have it."""

    replies: int
    positive: int
    precision: float
    recall: float


def case_of(row: dict[str, Any]) -> Case:
    """Return what a metric sees of a labelled row besides the reply."""
    said = [turn["content"] for turn in row["turns"] if turn["role"] == "user"]
    return Case(
        said="\n".join(said),
        gold=row["gold"],
        expects=row["expects"],
        wanted=WANTED.get(row["metric"], ""),
        claim=row["claim"],
        latest=said[-1],
        previous=[turn["content"] for turn in row["turns"] if turn["role"] == "assistant"],
    )


def found(row: dict[str, Any]) -> bool:
    """Return what the rule says of a labelled row."""
    name = row["metric"]
    score = METRICS[OPPOSITE.get(name, name)].score
    value = bool(score and score(row["reply"], case_of(row)))
    return value != (name in OPPOSITE)


def agreement(pairs: list[tuple[bool, bool]]) -> Agreement:
    """Return the agreement of pairs of what a rule and a reader say."""
    both = sum(rule and reader for rule, reader in pairs)
    says, positive = sum(rule for rule, _ in pairs), sum(reader for _, reader in pairs)
    return Agreement(len(pairs), positive, both / says if says else 1.0, both / positive if positive else 1.0)


def rows_of(name: str) -> list[dict[str, Any]]:
    """Return the labelled rows of a metric."""
    return [json.loads(line) for line in (LABELLED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def on_labels() -> dict[str, Agreement]:
    """Return the agreement of each metric with its labels."""
    names = sorted(path.stem for path in LABELLED.glob("*.jsonl"))
    return {name: agreement([(found(row), row["label"]) for row in rows_of(name)]) for name in names}


def teacher_turns(file: Path) -> Iterator[tuple[str, str, Case]]:
    """Yield MathDial's teachers' turns: the move as labelled, the words, and what a metric sees besides."""
    for line in file.read_text(encoding="utf-8").splitlines():
        talk = json.loads(line)
        gold = re.sub(r"[$,]", "", talk["ground_truth"].split("\n")[-1]).strip()
        said, previous = [talk["question"]], [""]
        for turn in talk["conversation"].split("|EOM|"):
            speaker, _, words = turn.partition(": ")
            if speaker.strip() != "Teacher":
                said.append(" ".join(words.split()))
                continue
            move, _, text = words.strip().removeprefix("(").partition(")")
            yield move, text.strip(), Case("\n".join(said), gold, latest=said[-1], previous=previous[-1:])
            previous.append(text)


def on_mathdial(file: Path, sample: int) -> dict[str, Any]:
    """Return how `tells` agrees with the moves of MathDial, and how often its turns confirm a wrong result."""
    turns = list(teacher_turns(file))
    tells, endorses = METRICS["tells"].score, METRICS["endorses"].score
    assert tells and endorses
    said = [(bool(tells(text, case)), move == "telling") for move, text, case in turns]
    confirmed = [(text, case) for _, text, case in turns if endorses(text, case)]
    shown: dict[str, list[str]] = defaultdict(list)
    draw = random.Random(7)
    for text, case in draw.sample(confirmed, min(sample, len(confirmed))):
        shown["endorses"].append(f"{case.gold} | {case.latest} | {text}")
    missed = [turn for turn, (rule, label) in zip(turns, said, strict=True) if label and not rule]
    shown["telling, not seen"] = [
        f"{c.gold} | {c.latest} | {t}" for _, t, c in draw.sample(missed, min(sample, len(missed)))
    ]
    judged = sum(endorses(text, case) is not None for _, text, case in turns)
    return {
        "turns": len(turns),
        "tells": agreement(said)._asdict(),
        "wrong_results": judged,
        "endorses": len(confirmed),
        "samples": shown,
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--mathdial", type=Path, metavar="FILE", help="MathDial's data/test.jsonl or train.jsonl")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="turns of MathDial to print")
    given = parser.parse_args()
    figures: dict[str, Any] = {name: one._asdict() for name, one in on_labels().items()}
    if given.mathdial:
        figures["mathdial"] = on_mathdial(given.mathdial, given.sample)
    if given.json:
        print(json.dumps(figures, indent=1))
        return
    for name, one in on_labels().items():
        print(f"{name:15} {one.replies:4} replies {one.positive:4} yes  P {one.precision:.2f}  R {one.recall:.2f}")
    for key, value in figures.get("mathdial", {}).items():
        print(key, json.dumps(value, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
