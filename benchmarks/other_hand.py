"""How the rules do on texts that another hand wrote and labelled: numbers, phrases, questions, refusals, words.

`python benchmarks/other_hand.py [--json] [--wrong]` reads tests/unit/checks/scripts/other_hand.jsonl. The rules were
mended by looking at the rows with odd numbers; those with even ones were held out until then. `--wrong` prints what is
wrong now. Rows that may be labelled either way, or are documented as not supported, are not counted.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tuning_room.checks import Exchange
from tuning_room.checks.refusals import declines
from tuning_room.checks.registry import rejected_by
from tuning_room.checks.wording import forbidden_phrases
from tuning_room.dataset.selection import Contamination
from tuning_room.dataset.words import dialogue_words
from tuning_room.records import Candidate, Item, Message

LABELLED = Path(__file__).parents[1] / "tests" / "unit" / "checks" / "scripts" / "other_hand.jsonl"
OVERLAP = 8  # words that a dialogue shares with a held-out item


class Share(NamedTuple):
    """How many rows of a kind are right, of how many."""

    right: int
    rows: int


def rows() -> list[dict[str, Any]]:
    """Return the labelled rows that count, with the phrases that are forbidden in them."""
    phrases, *found = map(json.loads, LABELLED.read_text(encoding="utf-8").strip("\n").split("\n"))
    return [row | phrases for row in found if not row.get("arguable")]


def _gives_gold(row: dict[str, Any]) -> bool:
    return bool(rejected_by({"states_no_gold": {}}, Exchange(row["reply"], row["said"], row["gold"]))[0])


def _asks(row: dict[str, Any]) -> bool:
    return not rejected_by({"asks_question": {"at_most": 1}}, Exchange(row["reply"], ""))[0]


def _is_same(row: dict[str, Any]) -> bool:
    one, other = (dialogue_words(_dialogue(row[name])) for name in ("one", "other"))
    return one == other


def _is_held_out(row: dict[str, Any]) -> bool:
    return bool(Contamination([Item(id="item", prompt=row["item"])], OVERLAP).hit(_dialogue(row["said"])))


def _dialogue(said: str) -> Candidate:
    messages = [Message(role="user", content=said), Message(role="assistant", content="Why?")]
    return Candidate(id="row", source="row", group="row", messages=messages)


RULES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "numbers": _gives_gold,
    "phrases": lambda row: bool(forbidden_phrases(Exchange(row["reply"], ""), phrases=row["phrases"])),
    "questions": _asks,
    "refusals": lambda row: declines(row["reply"], "How do I go about it?"),
    "duplicates": _is_same,
    "held_out": _is_held_out,
}


def is_right(row: dict[str, Any]) -> bool:
    """Say whether the rule agrees with a row's label."""
    return RULES[row["feature"]](row) is row["right"]


def by_feature() -> Iterator[tuple[str, Share]]:
    """Yield the share of rows that are right, by feature, half and label."""
    judged = [(row["feature"], row["line"] % 2, row["right"], is_right(row)) for row in rows()]
    for kind in dict.fromkeys((feature, odd, label) for feature, odd, label, _ in sorted(judged, key=str)):
        found = [right for *key, right in judged if tuple(key) == kind]
        feature, odd, label = kind
        yield f"{feature}, {'odd' if odd else 'even'}, {'yes' if label else 'no'}", Share(sum(found), len(found))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--wrong", action="store_true", help="print the rows that the rules get wrong")
    given = parser.parse_args()
    figures = dict(by_feature())
    if given.json:
        print(json.dumps({kind: share._asdict() for kind, share in figures.items()}, indent=1))
        return
    for kind, share in figures.items():
        print(f"{kind:25} right {share.right:3} of {share.rows:3}")
    for row in rows() if given.wrong else []:
        if not is_right(row):
            print(json.dumps({name: value for name, value in row.items() if name != "phrases"}, ensure_ascii=False))


if __name__ == "__main__":
    main()
