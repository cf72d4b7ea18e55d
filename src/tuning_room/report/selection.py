"""Which replies are shown: a sample spaced over the suites, the baked arm's failures, and whole dialogues."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel

from tuning_room.records import Message
from tuning_room.results import ALL, Sample, misses

if TYPE_CHECKING:
    from tuning_room.report.evidence import Evidence
    from tuning_room.report.suites import SuiteSection

SIDE_BY_SIDE = ("base", "prompted", "baked", "reference")
SHIPPED = "baked"

Directions = Mapping[str, Mapping[str, bool]]  # suite -> metric


class ShownReply(BaseModel):
    """An arm's reply with its metrics, the requirements that it keeps, and what it failed by the name of either.

    `cut` is true if it reached the token limit, `weighed` if choices were weighed and there is no reply.
    """

    arm: str
    text: str
    cut: bool
    weighed: bool
    metrics: dict[str, float]
    kept: dict[str, float] = {}
    reasons: dict[str, str] = {}


class Example(BaseModel):
    """An item with the replies to it."""

    suite: str
    item: str
    tags: list[str]
    before: list[Message]
    prompt: str
    gold: str
    replies: list[ShownReply]


class FailureGroup(BaseModel):
    """The baked replies that fail one metric where a gate checks it, worst first; `reasons` counts those on record."""

    metric: str
    higher_is_better: bool
    suites: list[str]
    total: int
    found: int
    reasons: dict[str, int] = {}
    shown: list[Example]


class Failures(BaseModel):
    """The failing replies of the baked arm: how many in all, by metric, and the worst of them by gated metric."""

    total: int
    found: int
    by_metric: dict[str, int]
    gated: bool
    groups: list[FailureGroup]


def examples(evidence: "Evidence", suites: Sequence["SuiteSection"], count: int) -> list[Example]:
    """Return `count` items, or all if there are fewer, evenly spaced over each suite in the items' order."""
    single = {suite.name: len(_rows(evidence, suite.name)) for suite in suites if not suite.dialogues}
    sizes = {name: size for name, size in single.items() if size}
    return [
        _of_item(evidence, _rows(evidence, suite)[place])
        for suite, share in shares(sizes, count).items()
        for place in spaced(sizes[suite], share)
    ]


def shares(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Deal `count` places to the suites in turn, to none more than it has items."""
    dealt = dict.fromkeys(sizes, 0)
    for _ in range(min(count, sum(sizes.values()))):
        dealt[min((name for name in sizes if dealt[name] < sizes[name]), key=lambda name: dealt[name])] += 1
    return dealt


def spaced(size: int, count: int) -> list[int]:
    """Return `count` of `size` positions, each in the middle of an equal part; `count` is at most `size`."""
    return [(2 * place + 1) * size // (2 * count) for place in range(count)]


def failures(evidence: "Evidence", suites: Sequence["SuiteSection"], limit: int) -> Failures:
    """Return the baked replies that fail a gated metric; without gates any metric counts.

    Dialogues are shown whole elsewhere and are left out here.
    """
    directions = {suite.name: {metric.name: metric.higher_is_better for metric in suite.metrics} for suite in suites}
    single = [suite.name for suite in suites if not suite.dialogues and SHIPPED in suite.arms and suite.name != ALL]
    samples = [sample for suite in single for sample in evidence.samples.get(SHIPPED, {}).get(suite, [])]
    gated = _gated(suites, single)
    broken = {_place(sample): _broken(sample, directions, gated) for sample in samples}
    return Failures(
        total=len(samples),
        found=sum(map(bool, broken.values())),
        by_metric=dict(Counter(name for names in broken.values() for name in names)),
        gated=any(metric.gated for suite in suites for metric in suite.metrics),
        groups=_groups(evidence, samples, broken, gated, directions, limit),
    )


def _groups(
    evidence: "Evidence",
    samples: Sequence[Sample],
    broken: Mapping[tuple[str, str], list[str]],
    gated: Mapping[str, list[str]],
    directions: Directions,
    limit: int,
) -> list[FailureGroup]:
    """Return a group for each gated metric with a failing reply; no item is shown twice."""
    found = {
        metric: [s for s in samples if s.suite in places and metric in broken[_place(s)]]
        for metric, places in gated.items()
    }
    places_left = shares({metric: len(rows) for metric, rows in found.items()}, limit)
    shown: set[tuple[str, str]] = set()
    groups = []
    for metric, rows in found.items():
        rows.sort(key=lambda sample: (-len(broken[_place(sample)]), -_fault(sample, metric, directions)))
        new = [sample for sample in rows if _place(sample) not in shown][: places_left[metric]]
        shown.update(_place(sample) for sample in new)
        if rows:
            groups.append(
                FailureGroup(
                    metric=metric,
                    higher_is_better=directions[rows[0].suite][metric],
                    suites=gated[metric],
                    total=sum(s.suite in gated[metric] and metric in s.metrics for s in samples),
                    found=len(rows),
                    reasons=dict(Counter(s.reasons[metric] for s in rows if metric in s.reasons).most_common()),
                    shown=[_of_item(evidence, sample) for sample in new],
                )
            )
    return groups


def _gated(suites: Sequence["SuiteSection"], single: Sequence[str]) -> dict[str, list[str]]:
    """Return the single-turn suites in which each metric is gated; a gate on all items counts for each of them."""
    held = {(suite.name, metric.name) for suite in suites for metric in suite.metrics if metric.gated}
    places: dict[str, list[str]] = {}
    for suite in suites:
        for metric in suite.metrics if suite.name in single else ():
            holds = {(suite.name, metric.name), (ALL, metric.name)} & held
            if holds or not held:
                places.setdefault(metric.name, []).append(suite.name)
    return places


def _broken(sample: Sample, directions: Directions, gated: Mapping[str, Sequence[str]]) -> list[str]:
    higher = directions[sample.suite]
    return [
        name
        for name, value in sample.metrics.items()
        if sample.suite in gated.get(name, ()) and misses(value, higher_is_better=higher[name])
    ]


def _fault(sample: Sample, metric: str, directions: Directions) -> float:
    """Return how far a reply is from the desired value, 0 to 1."""
    value = sample.metrics[metric]
    return 1 - value if directions[sample.suite][metric] else value


def _rows(evidence: "Evidence", suite: str) -> list[Sample]:
    arms = [arm for arm in SIDE_BY_SIDE if suite in evidence.samples.get(arm, {})]
    return evidence.samples[arms[0]][suite] if arms else []


def _of_item(evidence: "Evidence", item: Sample) -> Example:
    rows = [
        sample
        for arm in SIDE_BY_SIDE
        for sample in evidence.samples.get(arm, {}).get(item.suite, [])
        if sample.item == item.item
    ]
    return Example(
        suite=item.suite,
        item=item.item,
        tags=[tag for tag in (item.family, item.topic, item.type, item.wanted) if tag],
        before=item.before,
        prompt=item.prompt,
        gold=item.gold,
        replies=[reply(sample) for sample in rows],
    )


def reply(sample: Sample) -> ShownReply:
    """Return a sample's reply as it is shown."""
    return ShownReply(
        arm=sample.arm,
        text=sample.reply,
        cut=sample.finish_reason == "length",
        weighed=sample.is_weighed,
        metrics=sample.metrics,
        kept=sample.kept,
        reasons=sample.reasons,
    )


def _place(sample: Sample) -> tuple[str, str]:
    return sample.suite, sample.item


class ShownTurn(BaseModel):
    """What the user writes at a turn, and the arms' replies."""

    turn: int
    prompt: str
    replies: list[ShownReply]


class ShownDialogue(BaseModel):
    """A scripted dialogue; `broke` is the turn at which each arm first broke the behaviour, None if it never did."""

    suite: str
    item: str
    topic: str
    gold: str
    broke: dict[str, int | None]
    turns: list[ShownTurn]


class Dialogues(BaseModel):
    """The dialogues shown, those in which the baked arm breaks earliest first, and how many there are in all."""

    total: int
    shown: list[ShownDialogue]


def dialogues(evidence: "Evidence", limit: int) -> Dialogues:
    """Return the whole dialogues of every suite with several turns."""
    rows: dict[tuple[str, str], dict[str, list[Sample]]] = {}  # suite and item -> arm
    for suite in dict.fromkeys(suite for suites in evidence.results.drift.values() for suite in suites):
        for arm in SIDE_BY_SIDE:
            for sample in evidence.samples.get(arm, {}).get(suite, []):
                rows.setdefault((suite, sample.item), {}).setdefault(arm, []).append(sample)
    breaks = evidence.results.breaks
    found = [_dialogue(arms, breaks(suite)) for (suite, _), arms in rows.items()]
    found.sort(key=lambda one: one.broke.get(SHIPPED) or 10**6)
    return Dialogues(total=len(found), shown=found[:limit])


def _dialogue(arms: Mapping[str, Sequence[Sample]], breaks: Mapping[str, bool]) -> ShownDialogue:
    first = next(iter(arms.values()))[0]
    return ShownDialogue(
        suite=first.suite,
        item=first.item,
        topic=first.topic,
        gold=first.gold,
        broke={arm: next((row.turn for row in rows if row.is_broken(breaks)), None) for arm, rows in arms.items()},
        turns=[
            ShownTurn(turn=rows[0].turn, prompt=rows[0].prompt, replies=[reply(row) for row in rows])
            for rows in zip(*arms.values(), strict=True)
        ],
    )
