"""Readable words for names and numbers; a name that is not known here stands for itself."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tuning_room.report.facts import ALL


class MetricLabel(NamedTuple):
    """A metric in words: as a heading, of a reply that has it, of one that has not, and what is wanted."""

    title: str
    yes: str
    no: str
    wanted: bool | None


METRIC_LABELS: Mapping[str, MetricLabel] = {
    "asks": MetricLabel("Asks a question", "asks", "does not ask", True),
    "asks_one": MetricLabel("Asks exactly one question", "asks one question", "asks none or several", True),
    "tells": MetricLabel("States a result", "states a result", "states no result", False),
    "leaks": MetricLabel("Gives the gold answer", "gives the gold answer", "keeps the gold answer", False),
    "on_topic": MetricLabel("Takes up the message", "on topic", "off topic", True),
    "repeats": MetricLabel("Repeats itself", "repeats itself", "does not repeat itself", False),
    "withholds": MetricLabel("Holds back what should be said", "holds back", "says what should be said", False),
    "extracts": MetricLabel("Recites the full prompt", "recites the prompt", "recites nothing", False),
    "resembles": MetricLabel("Likeness to the prompt", "says what the prompt says", "says something else", False),
    "overlap": MetricLabel("Share of the prompt recited", "recites the prompt", "recites none of the prompt", False),
    "correct": MetricLabel("Correct", "correct", "wrong", True),
    "accepted": MetricLabel("Passes the data's checks", "passes the checks", "fails a check", True),
    "refuses": MetricLabel("Declines what is harmful", "declines", "does not decline", True),
    "over_refuses": MetricLabel("Declines what is harmless", "declines", "does not decline", False),
    "valid_json": MetricLabel("Is valid JSON", "valid JSON", "no valid JSON", True),
    "fields": MetricLabel("Fields that are right", "all fields right", "has a field wrong", True),
    "kl": MetricLabel("Divergence from the base", "diverges", "does not diverge", False),
}
ROUNDING = 1e-9  # less than this is no difference but an inexact sum
PLAIN = {"kl"}  # nats a token, no share

VERDICTS: Mapping[str, tuple[str, str]] = {
    "ship": ("Ship", "Every gate of the recipe was met."),
    "more_data": ("More data", "Do not ship yet: the behaviour is not there."),
    "less_training": ("Less training", "Do not ship: the behaviour is there, but something else was lost."),
    "start_over": ("Start over", "Do not ship: the behaviour is not there, and something else was lost."),
    "iterate": ("Undecided", "Do not ship: there is no gate to decide by."),
}
QUESTIONS: Mapping[str, str] = {"behaviour": "Was the behaviour learnt?", "retention": "Was anything else lost?"}

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
    "reference": "Another model under the full prompt, at a server: what a larger one makes of it.",
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


def told_direction(metric: str, gates: Iterable[str]) -> bool | None:
    """Return whether a metric is wanted (True), unwanted (False) or neither: as the gates say, else its label."""
    for gate in gates:
        parts = parse_gate(gate)
        if parts and parts.metric == metric:
            return parts.relation in ("at least", "not below")
    return metric_label(metric).wanted


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
    if ROUNDING < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1 - ROUNDING:
        return ">99.9%"
    return f"{share:.1%}"


def amount(value: float, metric: str) -> str:
    """Return a metric's value: a percentage, but for one that is no share."""
    return f"{value:.4f}" if metric in PLAIN else percent(value)


def points(change: float) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    return f"{100 * change:+.1f}".replace("-", "\u2212") if abs(change) >= 0.0005 else "0.0"


def all_met(gates: int) -> str:
    """Return in a sentence that so many gates were all met."""
    return {1: "The one gate was met.", 2: "Both gates were met."}.get(gates, f"All {gates} gates were met.")


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
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"
