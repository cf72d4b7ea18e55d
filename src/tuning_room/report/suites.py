"""The suites of a run: their metrics, the arms that were asked, and whether higher is better."""

from pydantic import BaseModel

from tuning_room.report.evidence import Evidence
from tuning_room.results import ALL, Results


class SuiteMetric(BaseModel):
    """A metric by name: whether higher is better, and whether a gate checks it on this suite."""

    name: str
    higher_is_better: bool
    gated: bool = False


class SuiteSection(BaseModel):
    """Held-out items: `items` of them were used, out of `of`; `dialogues` if they have several turns each.

    `kept` marks a suite that checks whether anything was lost; the first suite, `all`, pools others.
    """

    name: str
    items: int
    of: int
    metrics: list[SuiteMetric]
    arms: list[str]
    dialogues: bool = False
    kept: bool = False


def suites(evidence: Evidence) -> list[SuiteSection]:
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
    )


def _is_kept(suite: str, arms: list[str], results: Results) -> bool:
    """Return whether a suite checks what may be lost: by its gates, else by leaving out the prompted arm."""
    asked = {held.question for held in results.verdict.gates if held.gate.suite == suite}
    if asked:
        return "retention" in asked
    return "prompted" not in arms and {"base", "baked"} <= set(arms) and "prompted" in results.rates
