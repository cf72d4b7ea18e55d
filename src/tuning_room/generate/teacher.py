"""The teacher: an engine behind a journal, so that no answer is paid for twice."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tuning_room.engines import Reply, Sampling
from tuning_room.engines.endpoint import EndpointEngine
from tuning_room.errors import EngineError
from tuning_room.generate.config import TeacherConfig
from tuning_room.progress import ProgressBar
from tuning_room.records import Message


class Answer(NamedTuple):
    """A teacher's reply, or the error that came instead."""

    text: str
    error: str


class Teacher:
    """Answers dialogues and writes each answer down as soon as it is there."""

    def __init__(self, config: TeacherConfig, journal: Path) -> None:
        self.config = config
        self.journal = journal
        self.engine = EndpointEngine(
            config.address, config.model, key_variable=config.key_variable, concurrency=config.concurrency
        )
        self.known = self._read()

    def answers(self, dialogues: Sequence[Sequence[Message]], seeds: Sequence[int]) -> list[Answer]:
        """Return an answer a dialogue, in order; those in the journal are not asked for again."""
        keys = [self._key(dialogue, seed) for dialogue, seed in zip(dialogues, seeds, strict=True)]
        missing = [i for i, key in enumerate(keys) if key not in self.known]
        errors = self._ask([keys[i] for i in missing], [dialogues[i] for i in missing])
        return [Answer(self.known.get(key, ""), errors.get(key, "")) for key in keys]

    def _ask(self, keys: list[str], dialogues: list[Sequence[Message]]) -> dict[str, str]:
        sampling = Sampling(self.config.max_tokens, self.config.temperature)
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        with self.journal.open("a", encoding="utf-8") as journal, ProgressBar("teacher", len(keys)) as bar:

            def note(index: int, reply: Reply) -> None:
                self.known[keys[index]] = reply.text
                journal.write(json.dumps({"key": keys[index], "text": reply.text}) + "\n")
                journal.flush()
                bar.advance()

            replies = self.engine.try_complete(self.config.model, dialogues, sampling, note)
        return {key: str(reply) for key, reply in zip(keys, replies, strict=True) if isinstance(reply, EngineError)}

    def _read(self) -> dict[str, str]:
        if not self.journal.exists():
            return {}
        # A kill may have cut off the last line: only whole lines count.
        lines = self.journal.read_text(encoding="utf-8").split("\n")[:-1]
        return {entry["key"]: entry["text"] for entry in map(json.loads, lines)}

    def _key(self, dialogue: Sequence[Message], seed: int) -> str:
        # Everything that the answer depends on; the key's variable and the concurrency do not change it.
        settings = self.config.model_dump(exclude={"key_variable", "concurrency"})
        parts = [settings, [message.as_dict() for message in dialogue], seed]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
