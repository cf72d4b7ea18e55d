"""Situations: how a user brings up a problem, and how the reply responds."""

import random
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tuning_room.generate.families import Problem, ProblemFamily
from tuning_room.generate.rule_files import filled, read_checked
from tuning_room.records import Message


class Situation(BaseModel):
    """Templates around {user}, {problem}, {answer}, {wrong} and {assistant}.

    The weight is the situation's share of the rows; `plain_share` is the share of its rows in which the reply is
    {assistant} alone: a small model that is always taught a preamble learns the rest less well.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    weight: float = Field(1, gt=0)
    plain_share: float = Field(0, ge=0, le=1)
    user: list[str] = Field(min_length=1)
    assistant: list[str] = Field(min_length=1)


SITUATIONS = TypeAdapter(Annotated[list[Situation], Field(min_length=1)])


def load_situations(file: Path) -> list[Situation]:
    """Return the situations of a YAML file; RecipeError names file and field."""
    return read_checked(file, SITUATIONS, "see docs/recipes.md")


def fitting(situation: Situation, problem: Problem | ProblemFamily) -> bool:
    """Tell whether a problem, or a family's problems, have what a situation's templates name."""
    texts = "".join(situation.user + situation.assistant)
    return all(f"{{{name}}}" not in texts or getattr(problem, name) not in ("", []) for name in ("wrong", "answer"))


def dialogue(situation: Situation, problem: Problem, rng: random.Random, *, follow_up: bool) -> list[Message]:
    """Return a problem brought up in a situation, as messages; `follow_up` adds a second exchange if it has one."""
    texts = {**problem.model_dump(exclude={"turns"}), "user": _closed(problem.user)}
    owner = f"situation '{situation.name}'"
    asked = rng.choice(situation.user)
    # On its own, the problem stays as it was written, without a full stop added.
    opening = problem.user if asked == "{user}" else filled(asked, texts, owner)
    template = "{assistant}" if rng.random() < situation.plain_share else rng.choice(situation.assistant)
    messages = [
        Message(role="user", content=opening),
        Message(role="assistant", content=filled(template, texts, owner)),
    ]
    leads_on = any("{assistant}" in template for template in situation.assistant)
    if follow_up and leads_on and problem.turns:
        turn = rng.choice(problem.turns)
        messages.append(Message(role="user", content=turn.user))
        messages.append(Message(role="assistant", content=turn.assistant))
    return messages


def _closed(sentence: str) -> str:
    return sentence if sentence.rstrip()[-1:] in ".?!" else f"{sentence.rstrip()}."
