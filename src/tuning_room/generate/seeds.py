"""Hand-written dialogues, which become candidates as they are."""

from collections import Counter
from pathlib import Path

from pydantic import Field, model_validator

from tuning_room.errors import DataError
from tuning_room.records import Candidate, Message, Record, read_jsonl


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
    """Return a file's dialogues as candidates; DataError names the line that is not one."""
    seeds = list(read_jsonl(path, Seed)) if path else []
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
