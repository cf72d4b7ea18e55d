"""People's decisions about rows: kept apart from the data, by content, and applied whenever it is built.

The decisions are kept in the recipe's folder and not in the run's: a new run must not lose that work.
"""

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from tuning_room.errors import MissingInputError, RecipeError
from tuning_room.records import Candidate, Dialogue, Message, Record, parse_row, read_jsonl, write_jsonl

Verb = Literal["keep", "drop", "edit"]


class RowDecision(Record):
    """What was decided about a dialogue; `messages` is what an edit made of it, `id` and `why` are for people."""

    key: str
    decision: Verb
    id: str = ""
    why: str = ""
    messages: list[Message] = []

    @model_validator(mode="after")
    def _edits_into_something(self) -> "RowDecision":
        if (self.decision == "edit") != bool(self.messages):
            raise ValueError("messages: an edit needs them, and nothing else has them")
        return self


def content_key(messages: Sequence[Message]) -> str:
    """Return the sha256 of a dialogue without its system turn: ids change from run to run, words do not."""
    turns = [[message.role, message.content] for message in messages if message.role != "system"]
    return hashlib.sha256(json.dumps(turns).encode()).hexdigest()


class Review:
    """The decisions in a file, by content; DataError names a line that is not one."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        there = path is not None and path.is_file()
        self.decisions = {found.key: found for found in read_jsonl(path, RowDecision)} if there and path else {}

    def decide(self, decision: RowDecision) -> None:
        """Write a decision at once, so that a kill loses none; the last one about a dialogue counts."""
        if self.path is None:
            raise RecipeError(
                "review: no file is named for the decisions", hint="add 'review: review.jsonl' to the recipe"
            )
        decided = {**self.decisions, decision.key: decision}
        write_jsonl(self.path, decided.values())
        self.decisions = decided

    def edited(self, candidate: Candidate) -> Candidate:
        """Return a candidate with the replies that people wrote, edits of edits included."""
        messages, seen = candidate.messages, set[str]()
        key = content_key(messages) if self.decisions else ""
        while key not in seen and (found := self.decisions.get(key)) and found.decision == "edit":
            seen.add(key)
            messages, key = found.messages, content_key(found.messages)
        # A judge's scores were of other words.
        return candidate.model_copy(update={"messages": messages, "scores": {}}) if seen else candidate

    def dropped(self, candidate: Candidate) -> str:
        """Return why people dropped a candidate; '' if they did not."""
        found = self.decisions.get(content_key(candidate.messages)) if self.decisions else None
        return (found.why or "dropped by hand") if found and found.decision == "drop" else ""

    def settled(self) -> set[str]:
        """Return the keys of dialogues that need no decision: those decided, and the results of edits."""
        made = {content_key(found.messages) for found in self.decisions.values() if found.messages}
        return made | set(self.decisions)


class DatasetRows:
    """The rows of a dataset by number, read from disk when needed."""

    def __init__(self, files: Sequence[Path], without: set[str]) -> None:
        self._files = files
        self._places = array("Q")
        self._owners = array("B")
        for owner, path in enumerate(files):
            for place, row in _placed(path):
                if content_key(row.messages) not in without:
                    self._places.append(place)
                    self._owners.append(owner)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> Dialogue:
        path = self._files[self._owners[number]]
        with path.open("rb") as lines:
            lines.seek(self._places[number])
            return parse_row(lines.readline(), Dialogue, where=str(path))


def _placed(path: Path) -> Iterator[tuple[int, Dialogue]]:
    """Yield the rows of a file with the byte at which each begins."""
    place = 0
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            yield place, parse_row(line, Dialogue, where=f"{path}:{number}")
        place += len(line)


def _lines(path: Path) -> Iterator[bytes]:
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file", hint="run 'tuning-room dataset' first")
    with path.open("rb") as lines:
        yield from lines
