"""Dialogues from a file, hand-written or from elsewhere, which become candidates as they are."""

import json
from collections import Counter
from pathlib import Path

from pydantic import Field, model_validator

from tuning_room.errors import DataError
from tuning_room.formats import FileRow, read_dialogue, read_rows
from tuning_room.records import Candidate, Message, Record, parse_row

LABELS = ("id", "topic", "situation", "gold")
OF_ROWS = ("source", "group", "traits")  # what rows of training data have besides: a seed is its own source


class Seed(Record):
    """A hand-written dialogue without a system turn."""

    id: str
    situation: str = ""
    topic: str = ""
    gold: str | None = None
    messages: list[Message] = Field(min_length=2)

    @model_validator(mode="after")
    def _takes_turns(self) -> "Seed":
        roles = [message.role for message in self.messages]
        if roles != ["user", "assistant"] * (len(roles) // 2):
            raise ValueError("user and assistant must take turns; the user begins, and there is no system turn")
        return self


def seed_candidates(path: Path | None) -> list[Candidate]:
    """Return a file's dialogues as candidates, in any of the formats; DataError names line and field."""
    seeds = [_seed(row) for row in read_rows(path)] if path else []
    name, count = Counter(seed.id for seed in seeds).most_common(1)[0] if seeds else ("", 1)
    if count > 1:
        raise DataError(f"{path}: {count} dialogues have the id '{name}'", hint="give each an id of its own")
    return [
        Candidate(
            id=seed.id,
            source=f"seeds:{seed.id}",
            group=seed.id,
            topic=seed.topic,
            situation=seed.situation,
            gold=seed.gold,
            messages=seed.messages,
        )
        for seed in seeds
    ]


def _seed(row: FileRow) -> Seed:
    messages = [message.as_dict() for message in read_dialogue(row)]
    # The rows get the recipe's own short prompt.
    said = messages[1:] if messages[0]["role"] == "system" else messages
    # In our own format a misspelt field is an error; files from elsewhere have fields of their own.
    kept = set(row.values) - {*OF_ROWS} if "messages" in row.values else {*LABELS} & set(row.values)
    values = {name: row.values[name] for name in row.values if name in kept}
    name = values.get("id")
    values |= {"id": f"line-{row.line}" if name is None else str(name), "messages": said}
    return parse_row(json.dumps(values), Seed, where=row.where)
