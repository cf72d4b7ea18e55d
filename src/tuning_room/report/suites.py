"""The suites of a run: what each measures, which arms were asked, and which way is good."""

from pydantic import BaseModel

from tuning_room.report.evidence import Evidence
from tuning_room.report.facts import ALL, Results
from tuning_room.report.labels import parse_gate, told_direction


class Metric(BaseModel):
    """A metric by name; `wanted` says whether more is better, None if nothing says so; `gated` if a gate holds it."""

    name: str
    wanted: bool | None
    gated: bool = False


class Suite(BaseModel):
    """Held-out items: `items` were taken `of` so many; `dialogues` have several turns each.

    `kept` marks a suite that asks whether something was lost; the first suite, `all`, pools others.
    """

    name: str
    items: int
    of: int
    metrics: list[Metric]
    arms: list[str]
    dialogues: bool = False
    kept: bool = False


def suites(evidence: Evidence) -> list[Suite]:
    """Return the suites in the recipe's order, `all` first."""
    results = evidence.results
    measured = {suite for arm in results.rates.values() for suite in arm}
    return [_suite(name, evidence) for name in (ALL, *results.suites) if name in measured]


def _suite(name: str, evidence: Evidence) -> Suite:
    results = evidence.results
    arms = [arm for arm, found in results.rates.items() if name in found]
    metrics = dict.fromkeys(metric for arm in arms for metric in results.rates[arm][name])
    facts = results.suites.get(name)
    total = max((rate.total for arm in arms for rate in results.rates[arm][name].values()), default=0)
    gates = [parts for gate in results.verdict.gates if (parts := parse_gate(gate.gate))]
    return Suite(
        name=name,
        items=facts.items if facts else total,
        of=facts.of if facts else total,
        metrics=[
            Metric(
                name=metric,
                wanted=_wanted(name, metric, results),
                gated=any((gate.metric, gate.suite) == (metric, name) for gate in gates),
            )
            for metric in metrics
        ],
        arms=arms,
        dialogues=any(name in found for found in results.drift.values()),
        kept=name != ALL and _is_kept(name, arms, results),
    )


def _wanted(suite: str, metric: str, results: Results) -> bool | None:
    """Return which way is good as the evaluation says of this suite, else as any gate does, else the label."""
    for row in results.differences:
        if (row.suite, row.metric) == (suite, metric):
            return row.wanted
    gates = [gate.gate for gate in results.verdict.gates]
    here = [gate for gate in gates if (parts := parse_gate(gate)) and parts.suite == suite]
    return told_direction(metric, [*here, *gates])


def _is_kept(suite: str, arms: list[str], results: Results) -> bool:
    """Return whether a suite asks for what may be lost: a gate says so, or the full prompt was not put to it."""
    asked = {gate.question for gate in results.verdict.gates if (p := parse_gate(gate.gate)) and p.suite == suite}
    if asked:
        return "retention" in asked
    return "prompted" not in arms and {"base", "baked"} <= set(arms) and "prompted" in results.rates
