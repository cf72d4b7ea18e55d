"""What the full prompt asks, requirement by requirement: whether it was learnt, and the replies that do not keep it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel

from tuning_room.records import Message
from tuning_room.report.labels import learnt_of
from tuning_room.report.selection import SHIPPED, spaced
from tuning_room.results import LearntCounts, RequirementResult, RequirementState, Sample

if TYPE_CHECKING:
    from tuning_room.report.evidence import Evidence

# What needs a reader's attention comes first, what was not tested last.
ORDER: tuple[RequirementState, ...] = ("failed", "not_shown", "learnt", "untested", "outside")


class FailingReply(BaseModel):
    """A baked reply that does not keep a requirement, what was said before it, and why; '' if that is not recorded.

    `cut` is true if it reached the token limit.
    """

    suite: str
    item: str
    turn: int
    before: list[Message]
    prompt: str
    reply: str
    cut: bool
    reason: str


class ShownRequirement(RequirementResult):
    """A requirement with the baked replies that do not keep it: how many there are, and some of them.

    `tested` is the number of baked replies that could keep it.
    """

    tested: int
    found: int
    shown: list[FailingReply]


class RequirementsSection(BaseModel):
    """How many requirements are in each state, and all of them by state, each state in the recipe's order."""

    counts: LearntCounts
    summary: str
    requirements: list[ShownRequirement]


def requirements(evidence: "Evidence", limit: int) -> RequirementsSection | None:
    """Return what was found of each requirement, with up to `limit` failing replies; None if the recipe names none."""
    results = evidence.results
    if results.requirements is None or results.verdict.learnt is None:
        return None
    replies = [reply for rows in evidence.samples.get(SHIPPED, {}).values() for reply in _in_context(rows)]
    found = sorted(results.requirements, key=lambda one: ORDER.index(one.state))
    return RequirementsSection(
        counts=results.verdict.learnt,
        summary=learnt_of(results.verdict.learnt),
        requirements=[_shown(one, replies, limit) for one in found],
    )


def _in_context(rows: Sequence[Sample]) -> Iterator[Sample]:
    """Yield a suite's samples, those of a later turn with the dialogue so far before them."""
    said: list[Message] = []
    for row in rows:
        said = list(row.before) if row.turn == 1 else said
        yield row.model_copy(update={"before": list(said)})
        said.append(Message(role="user", content=row.prompt))
        if row.reply:
            said.append(Message(role="assistant", content=row.reply))


def _shown(one: RequirementResult, replies: Sequence[Sample], limit: int) -> ShownRequirement:
    tested = [reply for reply in replies if one.id in reply.kept]
    failing = [reply for reply in tested if reply.kept[one.id] < 1]
    places = spaced(len(failing), min(limit, len(failing))) if failing else []
    return ShownRequirement(
        **dict(one),
        tested=len(tested),
        found=len(failing),
        shown=[_failing(failing[place], one.id) for place in places],
    )


def _failing(sample: Sample, requirement: str) -> FailingReply:
    return FailingReply(
        suite=sample.suite,
        item=sample.item,
        turn=sample.turn,
        before=sample.before,
        prompt=sample.prompt,
        reply=sample.reply,
        cut=sample.finish_reason == "length",
        reason=sample.reasons.get(requirement, ""),
    )
