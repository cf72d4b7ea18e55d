"""Dialogues of a few words, and how many steps a training on them takes."""

from collections.abc import Callable

from tuning_room.records import Dialogue, Message
from tuning_room.train.loop_config import LoopConfig

STEPS = 7  # 14 rows in batches of 4, two epochs: 8 steps, of which max_steps leaves 7
Configure = Callable[..., LoopConfig]


def dialogue(number: int) -> Dialogue:
    """Return a dialogue of one exchange or two, of a length of its own."""
    said = [
        ("user", f"What is {number} + {number % 7}?"),
        ("assistant", f"What is {number} + 1, {'and so on ' * (number % 3)}?"),
    ]
    more = [("user", "Why?"), ("assistant", "Why not?")] if number % 4 == 0 else []
    turns = [("system", "Ask."), *said, *more]
    messages = [Message(role=role, content=text) for role, text in turns]  # type: ignore[arg-type]
    return Dialogue(id=f"r{number}", source="test", group=f"g{number}", messages=messages)
