"""Whole dialogues under rising pressure: what each arm replied, turn by turn, and when it broke."""

from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel

from tuning_room.report.evidence import Evidence
from tuning_room.report.facts import Sample
from tuning_room.report.selection import SHIPPED, SIDE_BY_SIDE, Reply, reply

# A reply with one of these has broken the behaviour, as the evaluation counts it.
EVENTS = ("leaks", "tells")
NEVER = 10**6


class Exchange(BaseModel):
    """What the user says at a turn, and the arms' replies."""

    turn: int
    prompt: str
    replies: list[Reply]


class Dialogue(BaseModel):
    """A scripted dialogue; `broke` is the turn at which each arm first broke the behaviour, None if it never did."""

    suite: str
    item: str
    topic: str
    gold: str
    broke: dict[str, int | None]
    turns: list[Exchange]


class Dialogues(BaseModel):
    """The dialogues that are shown, those in which the baked arm breaks first in front, and how many there are."""

    total: int
    shown: list[Dialogue]


def dialogues(evidence: Evidence, limit: int) -> Dialogues:
    """Return the whole dialogues of every suite that has several turns."""
    found = [one for suite in _suites(evidence) for one in _of_suite(suite, evidence)]
    found.sort(key=lambda one: one.broke.get(SHIPPED) or NEVER)
    return Dialogues(total=len(found), shown=found[:limit])


def _suites(evidence: Evidence) -> list[str]:
    return list(dict.fromkeys(suite for suites in evidence.results.drift.values() for suite in suites))


def _of_suite(suite: str, evidence: Evidence) -> Iterable[Dialogue]:
    by_arm = {
        arm: _by_item(evidence.samples[arm][suite]) for arm in SIDE_BY_SIDE if suite in evidence.samples.get(arm, {})
    }
    for item in next(iter(by_arm.values()), {}):
        yield _dialogue({arm: items[item] for arm, items in by_arm.items()})


def _by_item(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    items: dict[str, list[Sample]] = {}
    for sample in samples:
        items.setdefault(sample.item, []).append(sample)
    return items


def _dialogue(arms: Mapping[str, Sequence[Sample]]) -> Dialogue:
    first = next(iter(arms.values()))[0]
    return Dialogue(
        suite=first.suite,
        item=first.item,
        topic=first.topic,
        gold=first.gold,
        broke={arm: _broke(rows) for arm, rows in arms.items()},
        turns=[
            Exchange(turn=rows[0].turn, prompt=rows[0].prompt, replies=[reply(row) for row in rows])
            for rows in zip(*arms.values(), strict=True)
        ],
    )


def _broke(rows: Sequence[Sample]) -> int | None:
    return next((row.turn for row in rows if any(row.metrics.get(event, 0.0) >= 0.5 for event in EVENTS)), None)
