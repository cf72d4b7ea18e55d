"""The replies of an evaluation under way, so that one that was killed goes on where it was."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tuning_room.engines import Reply
from tuning_room.engines.journal import Journal
from tuning_room.engines.limits import Usage


class ReplyLog:
    """A dialogue's replies by a key that says all that they depend on; without a path nothing is remembered."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._journal = Journal(path) if path else None

    @contextmanager
    def open(self) -> Iterator[None]:
        """Keep the file open for a block that adds to it."""
        if self._journal is None:
            yield
            return
        with self._journal.open():
            yield

    def known(self, key: str, count: int) -> list[Reply]:
        """Return the replies under a key if they are so many, else none."""
        text = self._journal.known.get(key, "") if self._journal and key else ""
        replies = [Reply(*entry) for entry in json.loads(text)] if text else []
        return replies if len(replies) == count else []

    def add(self, key: str, replies: Sequence[Reply]) -> None:
        """Write down all replies of a dialogue."""
        if self._journal and key:
            usage = Usage(0, sum(r.prompt_tokens for r in replies), sum(r.completion_tokens for r in replies))
            self._journal.add_text(key, json.dumps(replies), usage)

    def remove(self) -> None:
        """Delete the file: what it held has found its place."""
        if self.path:
            self.path.unlink(missing_ok=True)
