"""Which replies are shown: an unpicked selection over the suites, and every failure of the baked arm."""

from collections.abc import Mapping

from pydantic import BaseModel

from tuning_room.report.evidence import Evidence, Sample

SIDE_BY_SIDE = ("base", "prompted", "baked")
SHIPPED = "baked"


class Reply(BaseModel):
    """What an arm replied, and what was measured of it; `cut` is true if it reached the token limit."""

    arm: str
    text: str
    cut: bool
    metrics: dict[str, bool]


class Example(BaseModel):
    """An item with the replies to it."""

    suite: str
    item: str
    tags: list[str]
    prompt: str
    gold: str
    replies: list[Reply]


class Failures(BaseModel):
    """The failing replies of the baked arm: how many of all, for what, and the worst of them."""

    total: int
    found: int
    by_metric: dict[str, int]
    shown: list[Example]


def examples(evidence: Evidence, count: int) -> list[Example]:
    """Return `count` items, or all if there are fewer, evenly spaced over each suite in the items' order."""
    arms = [arm for arm in SIDE_BY_SIDE if arm in evidence.samples]
    suites = evidence.samples[arms[-1]] if arms else {}
    return [
        _example([evidence.samples[arm][suite][index] for arm in arms])
        for suite, share in shares({name: len(rows) for name, rows in suites.items()}, count).items()
        for index in spaced(len(suites[suite]), share)
    ]


def shares(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Deal `count` places to the suites in turn, none more than it has items."""
    dealt = dict.fromkeys(sizes, 0)
    for _ in range(min(count, sum(sizes.values()))):
        dealt[min((name for name in sizes if dealt[name] < sizes[name]), key=lambda name: dealt[name])] += 1
    return dealt


def spaced(size: int, count: int) -> list[int]:
    """Return `count` positions of `size`, each in the middle of its equal part; `count` is at most `size`."""
    return [(2 * place + 1) * size // (2 * count) for place in range(count)]


def failures(evidence: Evidence, wanted: Mapping[str, bool | None], gated: set[str], limit: int) -> Failures:
    """Return the baked replies that break a wanted property, those that break most gated ones first."""
    samples = [sample for rows in evidence.samples.get(SHIPPED, {}).values() for sample in rows]
    broken = {id(sample): _broken(sample, wanted) for sample in samples}
    failing = [sample for sample in samples if broken[id(sample)]]
    failing.sort(key=lambda sample: _rank(broken[id(sample)], gated))
    counts = {name: sum(name in names for names in broken.values()) for name in wanted}
    return Failures(
        total=len(samples),
        found=len(failing),
        by_metric={name: count for name, count in counts.items() if count},
        shown=[_example([sample]) for sample in failing[:limit]],
    )


def _broken(sample: Sample, wanted: Mapping[str, bool | None]) -> list[str]:
    return [name for name, want in wanted.items() if want is not None and sample.metrics.get(name, want) != want]


def _rank(broken: list[str], gated: set[str]) -> tuple[int, int]:
    return -len(gated.intersection(broken)), -len(broken)


def _example(samples: list[Sample]) -> Example:
    first = samples[0]
    return Example(
        suite=first.suite,
        item=first.item,
        tags=[tag for tag in (first.family, first.topic, first.type) if tag],
        prompt=first.prompt,
        gold=first.gold,
        replies=[Reply(arm=s.arm, text=s.reply, cut=s.finish_reason == "length", metrics=s.metrics) for s in samples],
    )
