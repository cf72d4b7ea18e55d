"""What is not to change: the base model's own replies to neutral prompts, and what it predicted at each place."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tuning_room.engines.scoring import TopTokens
from tuning_room.errors import DataError
from tuning_room.records import Message
from tuning_room.rendering import Rendered, render_dialogue, with_system
from tuning_room.train.targets import Targets, check_aligned


class NeutralRows(NamedTuple):
    """Rows as the trained model sees them, and what the base model predicts at their learned places."""

    rendered: list[Rendered]
    tops: list[TopTokens]

    def chosen(self, step: int, count: int, seed: int) -> list[int]:
        """Return the rows of a step counted from 1: every row comes once before one comes again."""
        size = len(self.rendered)
        found: list[int] = []
        for place in range((step - 1) * count, step * count):
            order = list(range(size))
            random.Random(f"{seed}/neutral/{place // size}").shuffle(order)
            found.append(order[place % size])
        return found


def neutral_rows(path: Path, targets: Targets, under: str) -> NeutralRows:
    """Return the neutral rows of a file of prompts, one a line; `under` is the trained model's system turn, or ''."""
    prompts = read_prompts(path)
    asked = [[Message(role="user", content=prompt)] for prompt in prompts]
    # An empty reply has no place of its own.
    replies = [reply or "." for reply in targets.replies(prompts)]
    said = [[*turns, Message(role="assistant", content=text)] for turns, text in zip(asked, replies, strict=True)]
    plain = [render_dialogue(targets.tokenizer, turns) for turns in said]
    seen = [render_dialogue(targets.tokenizer, with_system(under, turns)) for turns in said] if under else plain
    for row, other in zip(seen, plain, strict=True):
        check_aligned(row, other)
    return NeutralRows(seen, targets.predicted("neutral", plain))


def read_prompts(path: Path) -> Sequence[str]:
    """Return a file's lines that say something; DataError if there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read as text: {error}", hint="name a UTF-8 text file in train.retention_prompts"
        ) from None
    if prompts := [line.strip() for line in lines if line.strip()]:
        return prompts
    raise DataError(f"{path}: no prompts", hint="write one neutral prompt a line")
