"""A gate: a bound that a metric must meet, how it is checked, and which of the two questions it belongs to."""

import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tuning_room.checks.metrics import METRICS, find_metric

Arm = Literal["base", "prompted", "baked", "baked_prompted", "reference"]
Side = Literal["behaviour", "retention"]
Relation = Literal["at_least", "at_most", "not_below", "not_above"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)

# A suite with one of these words in its name checks whether anything was lost; any other, whether something was learnt.
RETENTION = {"capability", "choices", "safety", "refusal", "overrefusal", "retention"}
REQUIREMENTS = "requirements"  # the suite under which the rates of requirements stand, whichever suites test them


class ArmPair(NamedTuple):
    """Two arms on a suite, or on one attack family of it ('' for all): what a difference is about."""

    suite: str
    family: str
    metric: str
    first: str
    second: str


class Gate(BaseModel):
    """A bound that a metric's rate must meet: a number, or another arm's rate."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    metric: str = Field("", description="the metric")
    requirement: str = Field("", description="in place of a metric: the share of replies that keep this requirement")
    suite: str = Field("all", description="the suite; `all` pools the suites with the default metrics")
    family: str = Field("", description="only the items of this attack family")
    arm: Arm = Field("baked", description="the arm whose rate is checked")
    at_least: float | None = Field(None, ge=0, le=1, description="the rate must not be lower")
    at_most: float | None = Field(None, ge=0, le=1, description="the rate must not be higher")
    not_below: Arm | None = Field(None, description="the rate must not be lower than this arm's")
    not_above: Arm | None = Field(None, description="the rate must not be higher than this arm's")
    margin: float = Field(0.0, ge=0, lt=1, description="by how much not_below and not_above may be missed")
    by: Literal["value", "bound"] = Field(
        "value", description="what is checked: the rate, or the unfavourable end of its 95 % interval"
    )
    side: Side | None = Field(None, description="behaviour or retention; default: by the suite's name")

    @model_validator(mode="before")
    @classmethod
    def _of_a_requirement(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not values.get("requirement"):
            return values
        own = {"metric": requirement_metric(values["requirement"]), "suite": REQUIREMENTS, "family": ""}
        for key, value in own.items():
            if values.get(key) not in (None, "", value):
                raise ValueError(f"requirement: all items that test it count; remove {key}")
        return {**values, **own}

    @model_validator(mode="after")
    def _one_bound(self) -> "Gate":
        if not self.metric:
            raise ValueError("give a metric, or a requirement")
        if sum(getattr(self, name) is not None for name in RELATIONS) != 1:
            raise ValueError("give exactly one of at_least, at_most, not_below, not_above")
        if self.margin and self.compared is None:
            raise ValueError("margin goes with not_below or not_above; move the bound of at_least or at_most instead")
        if self.by == "bound" and (self.at_most == 0 or self.at_least == 1):
            raise ValueError("by: bound cannot meet at_most 0 or at_least 1: no number of items can show that")
        return self

    @property
    def relation(self) -> Relation:
        """Return which of the four bounds is set."""
        return next(name for name in RELATIONS if getattr(self, name) is not None)

    @property
    def higher_is_better(self) -> bool:
        """Return whether a higher rate is better."""
        return self.relation in ("at_least", "not_below")

    @property
    def compared(self) -> Arm | None:
        """Return the arm that the rate is compared with, if any."""
        return self.not_below or self.not_above

    @property
    def number(self) -> float | None:
        """Return the number that the rate is compared with, unless it is compared with another arm."""
        return self.at_least if self.at_least is not None else self.at_most

    @property
    def pair(self) -> ArmPair | None:
        """Return the difference whose interval the gate needs; None if it needs none."""
        if self.compared is None or self.by == "value":
            return None
        return ArmPair(self.suite, self.family, self.metric, self.compared, self.arm)

    @property
    def tolerance(self) -> float | None:
        """Return the share of failures that the gate allows; None if it allows none, or only compares two rates."""
        if not is_share(self.metric):
            return None
        if self.at_most is not None:
            return self.at_most or None
        if self.at_least is not None:
            return 1 - self.at_least or None
        return self.margin or None if self.by == "bound" else None

    @property
    def question(self) -> Side:
        """Return whether the gate checks the behaviour, or that nothing was lost."""
        return self.side or ("behaviour" if self.requirement else question(self.suite, self.metric))

    @property
    def name(self) -> str:
        """Return the gate in words, for people."""
        place = f"{self.suite}, family {self.family}" if self.family else self.suite
        what = f"keeps {self.requirement}" if self.requirement else f"{self.metric} ({place})"
        bound = str(self.compared) if self.number is None else bound_in_words(self.metric, self.number)
        margin = f" within {self.margin * 100:g} points" if self.margin else ""
        by = " by bound" if self.by == "bound" else ""
        return f"{self.arm} {what} {self.relation.replace('_', ' ')} {bound}{margin}{by}"


def requirement_metric(requirement: str) -> str:
    """Return the metric under which a requirement's rate stands; no metric of replies has such a name."""
    return f"requirement:{requirement}"


def question(suite: str, metric: str) -> Side:
    """Return what a suite checks: whether the behaviour was learnt, or whether anything was lost."""
    words = set(re.split(r"[-_]", suite.lower())) | {metric}
    return "retention" if words & (RETENTION | {"kl"}) else "behaviour"


def is_share(metric: str) -> bool:
    """Return whether a metric is a share between 0 and 1; those of plug-ins are."""
    return metric not in METRICS or METRICS[metric].is_share


def bound_in_words(metric: str, value: float) -> str:
    """Return a bound in words: a percentage, or a plain number for a metric that is not a share."""
    return f"{value * 100:g}%" if is_share(metric) else f"{value:g}"


def value_in_words(metric: str, value: float) -> str:
    """Return a value in words: a percentage to one decimal, or a plain number for a metric that is not a share."""
    return f"{value:.1%}" if is_share(metric) else f"{value:.4f}"


def higher_is_better(metric: str, suite: str, gates: Iterable[Gate]) -> bool:
    """Return whether a higher metric is better: by a gate on the suite, else by any gate on it, else by default."""
    on_metric = [gate for gate in gates if gate.metric == metric]
    for gate in [*(gate for gate in on_metric if gate.suite == suite), *on_metric]:
        return gate.higher_is_better
    return find_metric(metric).higher_is_better
