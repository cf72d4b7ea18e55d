"""The suites of a run: their metrics, the arms that were asked, and how each arm fares on each family of items."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel

from tuning_room.results import ALL, Rate, Results

if TYPE_CHECKING:
    from tuning_room.report.evidence import Evidence


class SuiteMetric(BaseModel):
    """A metric by name: whether higher is better, and whether a gate checks it on this suite."""

    name: str
    higher_is_better: bool
    gated: bool = False


class SuiteSection(BaseModel):
    """Held-out items: `items` of them were used, out of `of`; `dialogues` if they have several turns each.

    `kept` marks a suite that checks whether anything was lost; the first suite, `all`, pools others. `system` is `none`
    if the arms were asked without their system turn.
    """

    name: str
    items: int
    of: int
    metrics: list[SuiteMetric]
    arms: list[str]
    dialogues: bool = False
    kept: bool = False
    system: Literal["arm", "none"] = "arm"


def suites(evidence: "Evidence") -> list[SuiteSection]:
    """Return the suites in the recipe's order, `all` first."""
    results = evidence.results
    rated = {suite for arm in results.rates.values() for suite in arm}
    return [_suite(name, results) for name in results.suites if name in rated]


def _suite(name: str, results: Results) -> SuiteSection:
    arms = [arm for arm, found in results.rates.items() if name in found]
    metrics = dict.fromkeys(metric for arm in arms for metric in results.rates[arm][name])
    known = results.suites[name]
    gated = {(held.gate.metric, held.gate.suite) for held in results.verdict.gates}
    return SuiteSection(
        name=name,
        items=known.items,
        of=known.of,
        metrics=[
            SuiteMetric(name=metric, higher_is_better=known.metrics[metric], gated=(metric, name) in gated)
            for metric in metrics
        ],
        arms=arms,
        dialogues=any(name in found for found in results.drift.values()),
        kept=name != ALL and _is_kept(name, arms, results),
        system=known.system,
    )


def _is_kept(suite: str, arms: list[str], results: Results) -> bool:
    """Return whether a suite checks what may be lost: by its gates, else by leaving out the prompted arm."""
    asked = {held.question for held in results.verdict.gates if held.gate.suite == suite}
    if asked:
        return "retention" in asked
    return "prompted" not in arms and {"base", "baked"} <= set(arms) and "prompted" in results.rates


FIRST = ("tells", "withholds", "extracts")  # what an attack tries to provoke, in order of preference


class ShownFamily(BaseModel):
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
    families: list[ShownFamily]


def family_maps(evidence: "Evidence", suites: Sequence[SuiteSection]) -> list[FamilyMap]:
    """Return a map for each suite with several families of items; the trained families come first."""
    common = {metric.name for suite in suites if suite.name == ALL for metric in suite.metrics}
    maps = [_map(suite, evidence, common) for suite in suites if suite.metrics]
    return [found for found in maps if len(found.families) > 1]


def _map(suite: SuiteSection, evidence: "Evidence", common: set[str]) -> FamilyMap:
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
            ShownFamily(name=name, trained=name in trained, rates=rates)
            for name in names
            if (rates := _rates(suite, name, metric.name, evidence))
        ],
    )


def _rates(suite: SuiteSection, family: str, metric: str, evidence: "Evidence") -> dict[str, Rate]:
    families = evidence.results.families
    found = {arm: families.get(arm, {}).get(suite.name, {}).get(family, {}).get(metric) for arm in suite.arms}
    return {arm: rate for arm, rate in found.items() if rate}
