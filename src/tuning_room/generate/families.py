"""Problem families: templates with parameters, and the gold answer as a SymPy expression."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from tuning_room.bounded import bounded
from tuning_room.errors import LimitError, RecipeError
from tuning_room.generate.expressions import evaluate, written
from tuning_room.generate.rule_files import LookUp, filled
from tuning_room.yaml_files import read_yaml

TRIES = 400  # draws before a family's conditions count as impossible to meet


class FollowUp(BaseModel):
    """What the user says next, and the reply."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    user: str
    assistant: str


class NumberRange(BaseModel):
    """The numbers from `from` to `to` in steps."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    start: int = Field(alias="from")
    to: int
    step: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _some(self) -> "NumberRange":
        if self.to < self.start:
            raise ValueError("'to' is below 'from'")
        return self

    def values(self) -> range:
        """Return the numbers, the last one included."""
        return range(self.start, self.to + 1, self.step)


class ProblemFamily(BaseModel):
    """Problems of one kind; every text is a template over parameters and derived values.

    `cases` are values that belong together, such as a word and its meaning; the rows of the family take them in turn.
    `situations` are the only ones in which its problems are brought up, all that fit if empty. `weight` is the family's
    share of the rows, `requirements` are the ids of what its replies teach.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    topic: str
    parameters: dict[str, NumberRange | Annotated[list[int | FiniteFloat | str], Field(min_length=1)]] = {}
    cases: list[dict[str, str]] = []
    derived: dict[str, str | int] = {}
    require: list[str] = []
    answer: str | int | None = None
    answer_text: str | None = None
    wrong: list[str | int] = []
    problem: str
    user: list[str] = Field(min_length=1)
    assistant: list[str] = Field(min_length=1)
    turns: list[FollowUp] = []
    situations: list[str] = []
    weight: int = Field(1, ge=1)
    requirements: list[str] = []

    @model_validator(mode="after")
    def _cases_alike(self) -> "ProblemFamily":
        if any(case.keys() != self.cases[0].keys() for case in self.cases):
            raise ValueError("cases: each must have the same names")
        return self

    @property
    def gold(self) -> str:
        """Return the gold answer's template: '{answer}' if nothing else is written, '' where there is no answer."""
        return self.answer_text if self.answer_text is not None else "" if self.answer is None else "{answer}"


class Problem(BaseModel):
    """One problem with all its texts filled in; `others` are its family's other replies."""

    family: str
    topic: str
    problem: str
    answer: str
    wrong: str
    user: str
    assistant: str
    others: list[str] = []
    turns: list[FollowUp] = []
    situations: list[str] = []
    requirements: list[str] = []


def load_families(folder: Path, look_up: LookUp | None = None) -> list[ProblemFamily]:
    """Return the families of a folder's YAML files; RecipeError names file, family and field.

    `look_up` is called with the ids of requirements that each one names.
    """
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise RecipeError(f"{folder}: no families", hint="put YAML files with problem families there")
    families = [family for file in files for family in _read(file, look_up)]
    name, count = Counter(family.name for family in families).most_common(1)[0] if families else ("", 0)
    if count != 1:
        problem = f"{count} families are named '{name}'" if families else "no families"
        raise RecipeError(f"{folder}: {problem}", hint="give every family a name of its own")
    return families


def _read(file: Path, look_up: LookUp | None) -> Iterator[ProblemFamily]:
    entries = read_yaml(file) or []
    if not isinstance(entries, list):
        raise RecipeError(f"{file}: must be a list of families", hint="see docs/recipes.md")
    for number, entry in enumerate(entries, start=1):
        try:
            family = ProblemFamily.model_validate(entry)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            place = f"{file}: family {number}: {field}"
            raise RecipeError(f"{place}: {first['msg']}", hint="see docs/recipes.md") from None
        if look_up:
            look_up(family.requirements, f"{file}: family {number} ('{family.name}'): requirements")
        yield family


def draw(family: ProblemFamily, rng: random.Random, first_reply_share: float = 0.0, number: int = 0) -> Problem:
    """Return a problem of a family; the same state of `rng` and `number` give the same problem.

    `number` is the row's place among the family's, by which it takes its case. `first_reply_share` is how often the
    family's first reply is taken; the others share the rest. Raises RecipeError if no draw meets the family's
    conditions, or a template names an unknown value.
    """
    case = family.cases[number % len(family.cases)] if family.cases else {}
    for _ in range(TRIES):
        values = {**_values(family, rng), **case}
        if all(_holds(condition, values) for condition in family.require):
            return _filled(family, values, rng, first_reply_share)
    raise RecipeError(f"family '{family.name}': no draw in {TRIES} meets 'require'", hint="loosen it")


def drawn_apart(family: ProblemFamily, seed: str, first_reply_share: float, number: int) -> Problem:
    """Return a problem of a family, drawn in another process: its expressions may have no end.

    Raises what draw does, and LimitError.
    """
    given = family.model_dump(mode="json", by_alias=True)
    try:
        return Problem.model_validate(bounded(_drawn, given, seed, first_reply_share, number))
    except LimitError as error:
        raise LimitError(f"family '{family.name}': {error.args[0]}", hint=error.hint) from None


def _drawn(family: dict[str, Any], seed: str, first_reply_share: float, number: int) -> dict[str, Any]:
    problem = draw(ProblemFamily.model_validate(family), random.Random(seed), first_reply_share, number)
    return problem.model_dump(mode="json")


def _holds(condition: str, values: dict[str, Any]) -> bool:
    try:
        return bool(evaluate(condition, values))
    except TypeError:
        raise RecipeError(
            f"condition '{condition}': neither true nor false", hint="compare the family's parameters"
        ) from None


def _values(family: ProblemFamily, rng: random.Random) -> dict[str, Any]:
    import sympy

    values: dict[str, Any] = {}
    for name, choices in family.parameters.items():
        drawn = rng.choice(choices.values() if isinstance(choices, NumberRange) else choices)
        values[name] = drawn if isinstance(drawn, str) else sympy.Rational(str(drawn))
    for name, expression in family.derived.items():
        values[name] = evaluate(expression, values)
    return values


def _filled(family: ProblemFamily, values: dict[str, Any], rng: random.Random, first_reply_share: float) -> Problem:
    texts = {name: written(value) for name, value in values.items()}
    if family.answer is not None:
        texts["answer"] = written(evaluate(family.answer, values))
    wrong = [written(evaluate(expression, values)) for expression in family.wrong]

    reply = family.assistant[0] if rng.random() < first_reply_share else rng.choice(family.assistant)
    others = [other for other in family.assistant if other != reply]

    def fill(template: str) -> str:
        return filled(template, texts, f"family '{family.name}'")

    return Problem(
        family=family.name,
        topic=family.topic,
        problem=fill(family.problem),
        answer=fill(family.gold),
        wrong=fill(family.gold.replace("{answer}", rng.choice(wrong))) if wrong else "",
        user=fill(rng.choice(family.user)),
        assistant=fill(reply),
        others=[fill(other) for other in others],
        situations=family.situations,
        requirements=family.requirements,
        turns=[FollowUp(user=fill(turn.user), assistant=fill(turn.assistant)) for turn in family.turns],
    )
