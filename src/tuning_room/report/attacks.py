"""How each arm fares on each family of items, attacks above all, with trained families apart from held-out ones."""

from collections.abc import Sequence

from pydantic import BaseModel

from tuning_room.report.evidence import Evidence
from tuning_room.report.suites import SuiteSection
from tuning_room.results import ALL, Rate

FIRST = ("tells", "withholds", "extracts")  # what an attack tries to provoke, in order of preference


class FamilyRates(BaseModel):
    """A family of items with its rate by arm; `trained` if the training data has attacks of this family as well."""

    name: str
    trained: bool
    rates: dict[str, Rate]


class FamilyMap(BaseModel):
    """One metric of a suite by family and arm."""

    suite: str
    metric: str
    higher_is_better: bool
    arms: list[str]
    families: list[FamilyRates]


def family_maps(evidence: Evidence, suites: Sequence[SuiteSection]) -> list[FamilyMap]:
    """Return a map for each suite with several families of items; the trained families come first."""
    common = {metric.name for suite in suites if suite.name == ALL for metric in suite.metrics}
    maps = [_map(suite, evidence, common) for suite in suites if suite.metrics]
    return [found for found in maps if len(found.families) > 1]


def _map(suite: SuiteSection, evidence: Evidence, common: set[str]) -> FamilyMap:
    known = {metric.name: metric for metric in suite.metrics}
    gated = [metric.name for metric in suite.metrics if metric.gated]
    metric = known[next(name for name in (*FIRST, *gated, *known) if name in known)]
    # A suite with metrics of its own tests something else, whatever its families are called.
    trained = evidence.results.trained_families if metric.name in common else []
    rows = (sample for suites in evidence.samples.values() for sample in suites.get(suite.name, []))
    names = sorted({sample.family for sample in rows} - {""}, key=lambda name: (name not in trained, name))
    return FamilyMap(
        suite=suite.name,
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        arms=suite.arms,
        families=[
            FamilyRates(name=name, trained=name in trained, rates=rates)
            for name in names
            if (rates := _rates(suite, name, metric.name, evidence))
        ],
    )


def _rates(suite: SuiteSection, family: str, metric: str, evidence: Evidence) -> dict[str, Rate]:
    families = evidence.results.families
    found = {arm: families.get(arm, {}).get(suite.name, {}).get(family, {}).get(metric) for arm in suite.arms}
    return {arm: rate for arm, rate in found.items() if rate}
