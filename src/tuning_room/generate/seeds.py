"""Hand-written dialogues, which become candidates as they are."""

from pathlib import Path

from pydantic import Field

from tuning_room.records import Candidate, Message, Record, read_jsonl


class Seed(Record):
    """A hand-written dialogue without a system turn."""

    id: str
    situation: str = ""
    topic: str = ""
    gold: str | None = None
    messages: list[Message] = Field(min_length=2)


def seed_candidates(path: Path | None) -> list[Candidate]:
    """Return a file's dialogues as candidates; DataError names the line that is not one."""
    seeds = read_jsonl(path, Seed) if path else iter(())
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
