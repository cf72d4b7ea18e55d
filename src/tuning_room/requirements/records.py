"""What a requirement is: an id, the prompt's own words, and how a reply is found to keep it."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tuning_room.paths import Checks

Kind = Literal["behaviour", "style", "knowledge", "context"]
STAYS: dict[Kind, str] = {"knowledge": "belongs in retrieval", "context": "must stay in the prompt"}


class RequirementGate(BaseModel):
    """The bound that decides whether a requirement was learnt, in place of the default one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_least: float = Field(0.8, gt=0, lt=1, description="share of the baked replies that must keep it")
    by: Literal["value", "bound"] = Field("bound", description="the rate, or the lower end of its 95 % interval")


class Requirement(BaseModel):
    """One thing that the full prompt asks.

    A reply keeps it if it has every metric of `has`, none of `has_not`, and passes `checks`, to which the rows that
    teach it are held as well; with `judge`, a judge answers that question about the reply. `every_reply` says that each
    row teaches it and each item of a suite on the behaviour tests it; otherwise rows and items name it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60, description="its name in rows, items and gates")
    quote: str = Field(min_length=1, description="the words of the full prompt it stands for; they stand there once")
    kind: Kind = Field("behaviour", description="behaviour, style, knowledge (for retrieval) or context (stays)")
    has: list[str] = Field(
        [], description="metrics that a reply must have; `check:<name>` is one of the recipe's checks"
    )
    has_not: list[str] = Field([], description="metrics that a reply must not have")
    checks: Checks = Field({}, description="checks, with parameters, that a reply must pass")
    judge: str = Field("", description="a question about the reply that a judge answers with yes or no")
    every_reply: bool = Field(False, description="taught by every row, and tested by every item of a behaviour's suite")
    gate: RequirementGate | None = Field(None, description="a bound of its own")
    untested: str = Field("", description="why it is not tested")

    @model_validator(mode="after")
    def _tested_or_not(self) -> "Requirement":
        if self.untested and (self.has or self.has_not or self.checks or self.judge or self.gate):
            raise ValueError("untested: remove has, has_not, checks, judge and gate, or the reason")
        if twice := sorted(set(self.has) & set(self.has_not)):
            raise ValueError(f"has and has_not both name '{twice[0]}'")
        return self

    @property
    def is_baked(self) -> bool:
        """Return whether training should teach it; knowledge and context stay outside the weights."""
        return self.kind not in STAYS

    @property
    def metrics(self) -> list[str]:
        """Return the metrics that decide, each once."""
        return list(dict.fromkeys([*self.has, *self.has_not]))


def held_to(names: Collection[str], known: Sequence[Requirement]) -> list[Requirement]:
    """Return the requirements whose checks a row must pass: those that it names, then those of every reply."""
    named = {one.id: one for one in known if one.id in names}
    others = (one for one in known if one.every_reply and one.id not in names)
    return [*(named[name] for name in dict.fromkeys(names) if name in named), *others]


class RowsTaught:
    """How many rows teach each requirement: those that name it, or all of them where it is of every reply."""

    def __init__(self, rows: Iterable[Iterable[str]] = ()) -> None:
        self._named: Counter[str] = Counter()
        self._total = 0
        for names in rows:
            self.add(names)

    def add(self, names: Iterable[str]) -> None:
        """Count a row by the ids that it names."""
        self._total += 1
        self._named.update(set(names))

    def of(self, one: Requirement) -> int:
        """Return how many rows teach a requirement."""
        return self._total if one.every_reply else self._named[one.id]
