"""The replies of an evaluation on disk: no question is asked twice, whichever metrics are computed later."""

import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from tuning_room.engines import Reply
from tuning_room.files import value_digest
from tuning_room.records import Item, Record, parse_row, write_jsonl


class ChoiceLikelihood(NamedTuple):
    """A choice's log-likelihood in nats, and whether greedy decoding would have produced it."""

    total: float
    is_greedy: bool


class StoredAnswer(Record):
    """A model's answer to an item: a reply to each turn, or the likelihood of each choice."""

    key: str
    weights: str  # a digest of base and adapter, or a server's address and model
    item: str
    replies: list[Reply] = []
    likelihoods: list[ChoiceLikelihood] = []
    digest: str = ""  # of all the rest, so that an answer that was edited is asked again

    def sealed(self) -> "StoredAnswer":
        """Return the answer with its digest."""
        return self.model_copy(update={"digest": value_digest(self.model_dump(mode="json", exclude={"digest"}))})


def answer_key(asked_as: str, item: Item) -> str:
    """Return a digest of all that an answer depends on; `asked_as` covers model, system turn and decoding."""
    asked = item.model_dump(mode="json", include={"before", "prompt", "turns", "choices"})
    return value_digest([asked_as, asked])


class ReplyStore:
    """The answers by key; without a path they are kept in memory only.

    An answer that is not as it was written is left out, and so asked again.

    Raises DataError for a line that is not an answer; a last line that was cut off by a kill is dropped.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.known: dict[str, StoredAnswer] = {}
        self._out: IO[str] | None = None
        if not path or not path.exists():
            return
        whole = 0  # bytes
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.endswith(b"\n"):
                    whole += len(line)
                    answer = parse_row(line, StoredAnswer, where=f"{path}:{number}")
                    if answer == answer.sealed():
                        self.known[answer.key] = answer
        os.truncate(path, whole)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Keep the file open for a block that adds to it."""
        if self.path is None:
            yield
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as self._out:
            yield

    def add(self, answer: StoredAnswer) -> None:
        """Write an answer to disk at once, so that a kill loses none; an answer without a key is not kept."""
        if not answer.key:
            return
        answer = self.known[answer.key] = answer.sealed()
        if self._out and not self._out.closed:
            # As write_jsonl does, at once.
            self._out.write(json.dumps(answer.model_dump(mode="json"), ensure_ascii=False) + "\n")
            self._out.flush()

    def keep_only(self, weights: Collection[str]) -> None:
        """Forget the answers of other models, such as an adapter that has been trained again since."""
        self.known = {key: answer for key, answer in self.known.items() if answer.weights in weights}
        if self.path:
            write_jsonl(self.path, self.known.values())
