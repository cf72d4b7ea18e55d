"""The teacher: an engine behind a journal, so that no answer is paid for twice."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tuning_room.engines import Reply, Sampling
from tuning_room.engines.endpoint import EndpointEngine
from tuning_room.errors import EngineError
from tuning_room.files import atomic_writer
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
        errors: dict[str, str] = {}
        with ProgressBar("teacher", len(missing)) as bar:
            for seed in sorted({seeds[i] for i in missing}):
                chosen = [i for i in missing if seeds[i] == seed]
                errors |= self._ask([keys[i] for i in chosen], [dialogues[i] for i in chosen], seed, bar)
        return [Answer(self.known.get(key, ""), errors.get(key, "")) for key in keys]

    def _ask(self, keys: list[str], dialogues: list[Sequence[Message]], seed: int, bar: ProgressBar) -> dict[str, str]:
        sampling = Sampling(self.config.max_tokens, self.config.temperature, seed)
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        with self.journal.open("a", encoding="utf-8") as journal:

            def note(index: int, reply: Reply) -> None:
                bar.advance()
                # An empty reply is an error of this run; the next run asks again.
                if reply.text:
                    self.known[keys[index]] = reply.text
                    journal.write(json.dumps({"key": keys[index], "text": reply.text}) + "\n")
                    journal.flush()

            replies = self.engine.try_complete(self.config.model, dialogues, sampling, note)
        return {key: error for key, reply in zip(keys, replies, strict=True) if (error := _error(reply))}

    def _read(self) -> dict[str, str]:
        if not self.journal.exists():
            return {}
        # A kill may have cut off the last line: only whole lines count.
        *lines, rest = self.journal.read_text(encoding="utf-8").split("\n")
        if rest:
            with atomic_writer(self.journal) as out:
                out.writelines(f"{line}\n" for line in lines)
        return {entry["key"]: entry["text"] for entry in map(json.loads, lines)}

    def _key(self, dialogue: Sequence[Message], seed: int) -> str:
        # Everything that the answer depends on; the key's variable and the concurrency do not change it.
        settings = self.config.model_dump(exclude={"key_variable", "concurrency"})
        parts = [settings, [message.as_dict() for message in dialogue], seed]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _error(reply: Reply | EngineError) -> str:
    if isinstance(reply, EngineError):
        return str(reply)
    return "" if reply.text else "the teacher's reply is empty"
