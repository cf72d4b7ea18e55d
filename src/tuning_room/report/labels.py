"""Readable words for names and numbers; a name that is not known here stands for itself."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tuning_room.report.evidence import ALL


class MetricLabel(NamedTuple):
    """A metric in words: as a heading, of a reply that has it, of one that has not, and what is wanted."""

    title: str
    yes: str
    no: str
    wanted: bool | None


METRIC_LABELS: Mapping[str, MetricLabel] = {
    "asks": MetricLabel("Asks a question", "asks", "does not ask", True),
    "tells": MetricLabel("States a result", "states a result", "states no result", False),
    "leaks": MetricLabel("Gives the gold answer", "gives the gold answer", "keeps the gold answer", False),
    "on_topic": MetricLabel("Takes up the message", "on topic", "off topic", True),
}

REASONS: Mapping[str, str] = {
    "error": "no usable reply",
    "held_out": "shares a problem with the evaluation",
    "duplicate": "the same as another, or nearly",
}

ARM_TITLES: Mapping[str, str] = {"baked_prompted": "baked + prompted"}
ARM_DESCRIPTIONS: Mapping[str, str] = {
    "base": "The base model without a system prompt, but for one that its chat template may bring along.",
    "prompted": "The base model under the full prompt: the way it is done without baking.",
    "baked": "The adapter under the short prompt: what would be shipped.",
    "baked_prompted": "The adapter under the full prompt: whether the two together do more than either.",
}


class GateParts(NamedTuple):
    """A gate's name taken apart; relation is one of 'at least', 'at most', 'not below', 'not above'.

    `family` is '' for all of the suite; `margin` is a share; `by` is 'bound' where the interval's end is held.
    """

    arm: str
    metric: str
    suite: str
    relation: str
    bound: str
    family: str = ""
    margin: float = 0.0
    by: str = "value"


_GATE = re.compile(
    r"(?P<arm>\S+) (?P<metric>\S+) \((?P<suite>[^,]+?)(?:, family (?P<family>.+))?\) "
    r"(?P<relation>at least|at most|not below|not above) (?P<bound>\S+)"
    r"(?: within (?P<points>\d+(?:\.\d+)?(?:e-\d+)?) points)?(?: by (?P<by>bound))?"
)


def parse_gate(gate: str) -> GateParts | None:
    """Return the parts of a gate's name as the evaluation writes it; None if it is not written that way."""
    found = _GATE.fullmatch(gate)
    if not found:
        return None
    arm, metric, suite, relation, bound = found.group("arm", "metric", "suite", "relation", "bound")
    margin = float(found["points"] or 0) / 100
    return GateParts(arm, metric, suite, relation, bound, found["family"] or "", margin, found["by"] or "value")


def directions(metrics: Iterable[str], gates: Iterable[str]) -> dict[str, bool | None]:
    """Return whether each metric is wanted (True), unwanted (False) or neither: as the gates say, else the label."""
    told = {parts.metric: parts.relation in ("at least", "not below") for gate in gates if (parts := parse_gate(gate))}
    return {name: told.get(name, metric_label(name).wanted) for name in metrics}


def metric_label(name: str) -> MetricLabel:
    """Return a metric's words."""
    plain = name.replace("_", " ")
    return METRIC_LABELS.get(name) or MetricLabel(plain.capitalize(), plain, f"not: {plain}", None)


def arm_title(name: str) -> str:
    """Return an arm's name for a reader."""
    return ARM_TITLES.get(name, name.replace("_", " "))


def suite_title(name: str) -> str:
    """Return a suite's name for a reader."""
    return "all items" if name == ALL else name.replace("_", " ")


def reason_title(name: str) -> str:
    """Return why a candidate was rejected; what is not known here is a check's name."""
    return REASONS.get(name, f"fails the check {name}")


def gate_title(gate: str) -> str:
    """Return a gate in words: of what it is a bound, and on which items."""
    parts = parse_gate(gate)
    if not parts:
        return gate
    family = f", family {parts.family}" if parts.family else ""
    margin = f", within {parts.margin * 100:g} points" if parts.margin else ""
    held = ", by its 95% interval" if parts.by == "bound" else ""
    what = f"{arm_title(parts.arm)}: {metric_label(parts.metric).title.lower()}, {suite_title(parts.suite)}"
    return f"{what}{family}{margin}{held}"


def percent(share: float) -> str:
    """Return a share as a percentage that never rounds to none or to all what is neither."""
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{share:.1%}"


def p_value(value: float) -> str:
    """Return a p-value to three decimals."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def number(value: float) -> str:
    """Return a number with separators, and one decimal if it has any."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def whole(value: float) -> str:
    """Return a number rounded to a whole one, with separators."""
    return f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Return seconds as a reader would say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"
