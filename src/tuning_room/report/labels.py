"""Readable words for names and numbers; an unknown name is shown as it is."""

from collections.abc import Mapping
from typing import NamedTuple

from tuning_room.gates import Gate
from tuning_room.results import ALL, LearntCounts, MetricWords, RequirementState

ROUNDING = 1e-9  # smaller differences come from inexact sums

VERDICTS: Mapping[str, tuple[str, str]] = {
    "ship": ("Ship", "Every gate of the recipe was met."),
    "more_items": (
        "Iterate: too few items",
        "Do not ship yet: nothing failed, but the items are too few to show it all.",
    ),
    "more_data": ("More data", "Do not ship yet: the behaviour was not learnt."),
    "less_training": ("Less training", "Do not ship: the behaviour was learnt, but something else was lost."),
    "start_over": ("Start over", "Do not ship: the behaviour was not learnt, and something else was lost."),
    "iterate": ("Undecided", "Do not ship: there is no gate to decide by, nor a requirement that was tested."),
}
QUESTIONS: Mapping[str, str] = {
    "requirements": "Was all of it learnt?",
    "behaviour": "Did the behaviour meet its gates?",
    "retention": "Was anything else lost?",
}
UNKNOWN = (
    "How much of the full prompt was learnt is unknown: the recipe names no requirements. "
    "'tuning-room requirements RECIPE' drafts them from the prompt."
)


class StateWords(NamedTuple):
    """A requirement's state for a reader: its name, a mark, a class for its colour, and a heading that explains it."""

    name: str
    mark: str
    style: str
    heading: str


STATES: Mapping[RequirementState, StateWords] = {
    "failed": StateWords("failed", "✗", "fail", "Failed: too few of the baked replies keep it"),
    "not_shown": StateWords("not shown", "?", "unasked", "Not shown: too few items, or none, to claim it"),
    "learnt": StateWords("learnt", "✓", "pass", "Learnt"),
    "untested": StateWords("untested", "…", "plain", "Untested, so not claimed"),
    "outside": StateWords("outside", "○", "plain", "Outside the weights: not for training"),
}

REASONS: Mapping[str, str] = {
    "error": "no usable reply",
    "held_out": "shares a problem with the evaluation",
    "duplicate": "the same as another, or nearly so",
}

ARM_TITLES: Mapping[str, str] = {"baked_prompted": "baked + prompted"}
ARM_DESCRIPTIONS: Mapping[str, str] = {
    "base": "The base model without a system prompt, except for one that its chat template may add.",
    "prompted": "The base model under the full prompt: how it is done without baking.",
    "baked": "The adapter under the short prompt: what would be shipped.",
    "baked_prompted": "The adapter under the full prompt: do the two together achieve more than either?",
    "reference": "Another model under the full prompt, on a server: what a larger model makes of it.",
}


class MetricNames:
    """The wording of a run's metrics, for gates and values."""

    def __init__(self, metrics: Mapping[str, MetricWords]) -> None:
        self.metrics = metrics

    def words(self, metric: str) -> MetricWords:
        """Return a metric's wording."""
        return self.metrics[metric]

    def amount(self, value: float, metric: str) -> str:
        """Return a metric's value: a percentage, or a plain number for one that is not a share."""
        return percent(value) if self.metrics[metric].is_share else f"{value:.4f}"

    def gate(self, gate: Gate) -> str:
        """Return a gate in words: what it bounds, and on which items."""
        family = f", family {gate.family}" if gate.family else ""
        margin = f", within {gate.margin * 100:g} points" if gate.margin else ""
        held = ", by its 95% interval" if gate.by == "bound" else ""
        if gate.requirement:
            return f"{arm_title(gate.arm)}: keeps {gate.requirement}{margin}{held}"
        what = f"{arm_title(gate.arm)}: {self.metrics[gate.metric].title.lower()}, {suite_title(gate.suite)}"
        return f"{what}{family}{margin}{held}"


def arm_title(name: str) -> str:
    """Return an arm's name for a reader."""
    return ARM_TITLES.get(name, name.replace("_", " "))


def suite_title(name: str) -> str:
    """Return a suite's name for a reader."""
    return "all items" if name == ALL else name.replace("_", " ")


def reason_title(name: str) -> str:
    """Return why a candidate was rejected; an unknown name is that of a check."""
    return REASONS.get(name, f"fails the check {name}")


def percent(share: float) -> str:
    """Return a share as a percentage, never rounded to 0 or 100 % unless it is."""
    if ROUNDING < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1 - ROUNDING:
        return ">99.9%"
    return f"{share:.1%}"


def points(change: float) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    return f"{100 * change:+.1f}".replace("-", "\u2212") if abs(change) >= 0.0005 else "0.0"


def all_met(gates: int) -> str:
    """Return a sentence saying that all of a number of gates were met."""
    return {1: "The one gate was met.", 2: "Both gates were met."}.get(gates, f"All {gates} gates were met.")


def learnt_of(learnt: LearntCounts) -> str:
    """Return how many requirements are in each state, in a sentence."""
    parts = {"failed": learnt.failed, "not shown": learnt.not_shown, "untested": learnt.untested}
    rest = "".join(f", {count} {state}" for state, count in parts.items() if count)
    outside = f"; {learnt.outside} outside the weights" if learnt.outside else ""
    return f"{learnt.learnt} of {learnt.of} learnt{rest}{outside}."


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


def signed_duration(seconds: float) -> str:
    """Return seconds as a reader would say them, with a minus sign where they are lost."""
    return f"\u2212{duration(-seconds)}" if seconds < 0 else duration(seconds)
