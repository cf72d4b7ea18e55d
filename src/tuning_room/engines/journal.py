"""The journal of a teacher's or a judge's answers: what is in it is never asked, or paid for, again."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tuning_room.engines.limits import Usage
from tuning_room.errors import DataError
from tuning_room.files import naming, value_digest

COUNTS = ("prompt_tokens", "completion_tokens")


class Journal:
    """A JSONL file to which each answer is added as soon as it arrives.

    `known` holds the texts by key, without those that were edited since they arrived; `spent` the usage of all of them,
    empty replies included; a failure counts as a request. `unexplained` holds the tokens of the texts whose entry does
    not say why they ended. DataError for a line that is not an answer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, str] = {}
        self.unexplained: dict[str, int] = {}
        self.spent = Usage()
        self._whole, self._cut = 0, False
        if path.exists():
            self._read()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Keep the file open for a block that adds to it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._cut:
            os.truncate(self.path, self._whole)
            self._cut = False
        with self.path.open("a", encoding="utf-8") as self._out:
            yield

    def add_text(self, key: str, text: str, usage: Usage, finish_reason: str = "") -> None:
        """Record a reply and why it ended; an empty one has been paid for, but will be asked for again."""
        tokens = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
        self._add({"key": key, "text": text, **tokens, **({"finish_reason": finish_reason} if finish_reason else {})})

    def add_error(self, key: str, error: str) -> None:
        """Record why there is no reply."""
        self._add({"key": key, "error": error})

    def _add(self, entry: dict[str, Any]) -> None:
        self._take(entry)
        entry = {**entry, "digest": value_digest(entry)}
        out: IO[str] = self._out
        # Flushed before the next answer is processed: a kill then loses nothing that was paid for.
        with naming(self.path):
            out.write(json.dumps(entry, ensure_ascii=False) + "\n")
            out.flush()

    def _take(self, entry: dict[str, Any]) -> None:
        self.spent += Usage(1, int(entry.get("prompt_tokens", 0)), int(entry.get("completion_tokens", 0)))
        if entry.get("text") and _is_as_written(entry):
            key = str(entry["key"])
            self.known[key] = str(entry["text"])
            self.unexplained[key] = 0 if entry.get("finish_reason") else int(entry.get("completion_tokens", 0))

    def _read(self) -> None:
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                # A kill may have cut the last line short: only whole lines count.
                self._cut = not line.endswith(b"\n")
                if not self._cut:
                    self._whole += len(line)
                    self._take(self._entry(line, number))

    def _entry(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            entry = json.loads(line)
            if isinstance(entry, dict) and "key" in entry and all(type(entry.get(n, 0)) is int for n in COUNTS):
                return entry
        except (ValueError, RecursionError):
            pass
        raise DataError(
            f"{self.path}:{number}: not an answer of this journal",
            hint="delete this line; only its question is asked again",
        )


def _is_as_written(entry: dict[str, Any]) -> bool:
    """Return whether an answer has its digest; what was paid for before answers had one is not asked again."""
    stated = entry.get("digest")
    return stated is None or stated == value_digest({name: value for name, value in entry.items() if name != "digest"})
