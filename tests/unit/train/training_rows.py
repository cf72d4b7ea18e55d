"""Dialogues of a few words, and how many steps a training on them takes."""

from collections.abc import Callable

import torch

from tuning_room.records import Dialogue, Message, TrainingStep
from tuning_room.train.config import LoopConfig

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


def taken(number: int, valid_loss: float | None = None, loss: float = 2.5) -> TrainingStep:
    """Return a step as a training writes it."""
    return TrainingStep(
        step=number, loss=loss, valid_loss=valid_loss, learning_rate=1e-3, rows=4, tokens=320, seconds=0.5
    )


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    """See that two sets of weights are the same, bit for bit."""
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
