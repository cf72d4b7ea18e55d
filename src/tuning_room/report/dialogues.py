"""Whole dialogues under rising pressure: what each arm replied, turn by turn, and when it broke."""

from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel

from tuning_room.report.evidence import Evidence
from tuning_room.report.selection import SHIPPED, SIDE_BY_SIDE, ShownReply, reply
from tuning_room.results import Sample

NEVER = 10**6


class ShownTurn(BaseModel):
    """What the user says at a turn, and the arms' replies."""

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
    """The dialogues that are shown, those in which the baked arm breaks first in front, and how many there are."""

    total: int
    shown: list[ShownDialogue]


def dialogues(evidence: Evidence, limit: int) -> Dialogues:
    """Return the whole dialogues of every suite that has several turns."""
    found = [one for suite in _suites(evidence) for one in _of_suite(suite, evidence)]
    found.sort(key=lambda one: one.broke.get(SHIPPED) or NEVER)
    return Dialogues(total=len(found), shown=found[:limit])


def _suites(evidence: Evidence) -> list[str]:
    return list(dict.fromkeys(suite for suites in evidence.results.drift.values() for suite in suites))


def _of_suite(suite: str, evidence: Evidence) -> Iterable[ShownDialogue]:
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


def _dialogue(arms: Mapping[str, Sequence[Sample]]) -> ShownDialogue:
    first = next(iter(arms.values()))[0]
    return ShownDialogue(
        suite=first.suite,
        item=first.item,
        topic=first.topic,
        gold=first.gold,
        broke={arm: next((row.turn for row in rows if row.is_broken), None) for arm, rows in arms.items()},
        turns=[
            ShownTurn(turn=rows[0].turn, prompt=rows[0].prompt, replies=[reply(row) for row in rows])
            for rows in zip(*arms.values(), strict=True)
        ],
    )
