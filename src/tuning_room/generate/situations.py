"""Situations: how a user brings up a problem, and how the reply responds."""

import random
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from tuning_room.generate.families import Problem, ProblemFamily
from tuning_room.generate.rule_files import LookUp, filled, read_checked
from tuning_room.records import Message, Role


class FurtherExchange(BaseModel):
    """What the user may say next in a situation, and the reply; {another} is another reply to the same problem."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    user: Annotated[list[str], Field(min_length=1)]
    assistant: str


class Situation(BaseModel):
    """Templates around {user}, {problem}, {answer}, {wrong} and {assistant}.

    The weight is the situation's share of the rows; `plain_share` is the share of its rows in which the reply is
    {assistant} alone: a small model that is always taught a preamble learns the rest less well. `named` keeps it for
    families that name it. From `turns` the dialogue goes on, with a number of different ones between the bounds of
    `further`: in any order, or, if `in_order`, round the list from a random start, so that one reply tells which is
    next, or, if `from_first`, from its first on. `follow_up_share` is the share of its dialogues with the family's
    second exchange, None for the recipe's. `requirements` are the ids of what it teaches, `follow_up_requirements` of
    what a second exchange adds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    weight: float = Field(1, gt=0)
    plain_share: float = Field(0, ge=0, le=1)
    named: bool = False
    user: list[str] = Field(min_length=1)
    assistant: list[str] = Field(min_length=1)
    turns: list[FurtherExchange] = []
    in_order: bool = False
    from_first: bool = False
    further: tuple[int, int] = (1, 1)
    follow_up_share: float | None = Field(None, ge=0, le=1)
    requirements: list[str] = []
    follow_up_requirements: list[str] = []

    @model_validator(mode="after")
    def _further_can_be_drawn(self) -> "Situation":
        fewest, most = self.further
        if not 0 <= fewest <= most or (self.turns and most > len(self.turns)):
            raise ValueError("further: [fewest, most] must be in order, and no more than there are turns")
        if self.in_order and self.from_first:
            raise ValueError("give one of in_order and from_first")
        return self

    @property
    def leads_on(self) -> bool:
        """Return whether its replies lead on to the family's own."""
        return any("{assistant}" in template for template in self.assistant)


class Opened(NamedTuple):
    """A problem brought up in a situation: the messages, and the ids of the requirements that the row teaches."""

    messages: list[Message]
    requirements: list[str]


SITUATIONS = TypeAdapter(Annotated[list[Situation], Field(min_length=1)])


def load_situations(file: Path, look_up: LookUp | None = None) -> list[Situation]:
    """Return the situations of a YAML file; RecipeError names file and field.

    `look_up` is called with the ids of requirements that each one names.
    """
    situations = read_checked(file, SITUATIONS, "see docs/recipes.md")
    if look_up:
        for one in situations:
            look_up(one.requirements, f"{file}: situation '{one.name}': requirements")
            look_up(one.follow_up_requirements, f"{file}: situation '{one.name}': follow_up_requirements")
    return situations


def fitting(situation: Situation, problem: Problem | ProblemFamily) -> bool:
    """Tell whether a problem, or a family's problems, may be brought up so, and have what the templates name."""
    if (situation.named or problem.situations) and situation.name not in problem.situations:
        return False
    turns = [text for turn in situation.turns for text in (*turn.user, turn.assistant)]
    texts = "".join([*situation.user, *situation.assistant, *turns])
    return all(
        f"{{{name}}}" not in texts or getattr(problem, name) not in (None, "", []) for name in ("wrong", "answer")
    )


def dialogue(
    situation: Situation, problem: Problem, rng: random.Random, *, follow_up: bool, step_reply: str = ""
) -> Opened:
    """Return a problem brought up in a situation; `follow_up` adds the family's second exchange if it has one.

    With `step_reply`, a template around {step}, that is the reply to every step, and questions get no second exchange.
    """
    texts = {**problem.model_dump(include={"problem", "answer", "wrong", "assistant"}), "user": _closed(problem.user)}
    owner = f"situation '{situation.name}'"
    asked = rng.choice(situation.user)
    # On its own, the problem stays as it was written, without a full stop added.
    opening = problem.user if asked == "{user}" else filled(asked, texts, owner)
    template = "{assistant}" if rng.random() < situation.plain_share else rng.choice(situation.assistant)
    said = [opening, filled(template, texts, owner)]
    requirements = [*situation.requirements, *(problem.requirements if situation.leads_on else [])]
    steps = [turn for turn in problem.turns if not (step_reply and "?" in turn.user)]
    if follow_up and situation.leads_on and steps:
        step = rng.choice(steps)
        reply = filled(step_reply, {"step": step.user.strip(" .")}, "generate.step_reply") if step_reply else ""
        said += [step.user, reply or step.assistant]
        requirements += situation.follow_up_requirements
    if situation.turns:
        said += _further(situation, problem, texts, rng)
    roles: tuple[Role, Role] = ("user", "assistant")
    messages = [Message(role=roles[place % 2], content=text) for place, text in enumerate(said)]
    return Opened(messages, list(dict.fromkeys(requirements)))


def _further(situation: Situation, problem: Problem, texts: dict[str, str], rng: random.Random) -> list[str]:
    """Return further exchanges, no two alike; one that needs another reply is left out once there is none left."""
    said: list[str] = []
    others = rng.sample(problem.others, len(problem.others))
    for turn in _drawn_turns(situation, rng):
        another = "{another}" in turn.assistant
        if another and not others:
            continue
        known = {**texts, "another": others.pop()} if another else texts
        texts_of_turn = (rng.choice(turn.user), turn.assistant)
        said += [filled(text, known, f"situation '{situation.name}'") for text in texts_of_turn]
    return said


def _drawn_turns(situation: Situation, rng: random.Random) -> list[FurtherExchange]:
    count = rng.randint(*situation.further)
    if not (situation.in_order or situation.from_first):
        return rng.sample(situation.turns, count)
    start = 0 if situation.from_first else rng.randrange(len(situation.turns))
    return [situation.turns[(start + place) % len(situation.turns)] for place in range(count)]


def _closed(sentence: str) -> str:
    return sentence if sentence.rstrip()[-1:] in ".?!" else f"{sentence.rstrip()}."
