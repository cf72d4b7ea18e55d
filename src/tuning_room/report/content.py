"""The report as plain values: what `report.json` holds and the page shows, so that the two cannot differ."""

from pydantic import BaseModel

from tuning_room.report.config import ReportConfig
from tuning_room.report.economics import Economics, economics
from tuning_room.report.evidence import ALL, Difference, Evidence, GateResult, Rate
from tuning_room.report.funnel import Funnel, funnel
from tuning_room.report.labels import arm_title, directions, gate_title, parse_gate, percent
from tuning_room.report.lineage import Lineage, lineage
from tuning_room.report.selection import Example, Failures, examples, failures
from tuning_room.report.training import Training, training

SCHEMA_VERSION = 1
SIGNIFICANT = 0.05


class Gate(BaseModel):
    """A gate with its outcome; `relation` is '' and `rate` None if its name is not in the known form."""

    gate: str
    relation: str
    against: str
    value: float
    bound: float
    passed: bool
    rate: Rate | None


class Decision(BaseModel):
    """The verdict, why, and the gates behind it."""

    verdict: str
    reason: str
    gates: list[Gate]


class Metric(BaseModel):
    """A metric by name; `wanted` is None if neither a gate nor its label says which way is good."""

    name: str
    wanted: bool | None


class Comparison(BaseModel):
    """Two arms on the same items; `reading` is what the numbers allow to say."""

    suite: str
    metric: str
    first: str
    second: str
    first_rate: float
    second_rate: float
    only_first: int
    only_second: int
    total: int
    p_value: float
    reading: str


class Prompts(BaseModel):
    """The system turn as it was and as it remains."""

    short: str
    full: str


class Report(BaseModel):
    """Everything that the page shows; rates by arm, suite and metric."""

    schema_version: int = SCHEMA_VERSION
    recipe: str
    description: str
    date: str
    verdict: Decision
    arms: list[str]
    suites: list[str]
    metrics: list[Metric]
    rates: dict[str, dict[str, dict[str, Rate]]]
    differences: list[Comparison]
    tokens: dict[str, dict[str, float]]
    economics: Economics
    training: Training
    data: Funnel
    examples: list[Example]
    failures: Failures
    lineage: Lineage
    prompts: Prompts


def build(config: ReportConfig, evidence: Evidence) -> Report:
    """Return the report of a run."""
    results = evidence.results
    arms = list(results.rates)
    first = results.rates[arms[0]] if arms else {}
    suites = [ALL, *(name for name in first if name != ALL)]
    wanted = directions(first.get(ALL, {}), [gate.gate for gate in results.verdict.gates])
    gated = {parts.metric for gate in results.verdict.gates if (parts := parse_gate(gate.gate))}
    return Report(
        recipe=config.recipe,
        description=config.description,
        date=evidence.stages["evaluate"].started[:10] if "evaluate" in evidence.stages else "",
        verdict=_decision(evidence),
        arms=arms,
        suites=suites,
        metrics=[Metric(name=name, wanted=want) for name, want in wanted.items()],
        rates=results.rates,
        differences=[_comparison(row, evidence, wanted) for row in results.differences],
        tokens={arm: tokens.model_dump() for arm, tokens in results.tokens.items()},
        economics=economics(results, config.messages_per_day),
        training=training(evidence),
        data=funnel(evidence.stages),
        examples=examples(evidence, config.examples),
        failures=failures(evidence, wanted, gated, config.worst),
        lineage=lineage(config, evidence),
        prompts=Prompts(short=config.short_prompt, full=evidence.full_prompt),
    )


def _decision(evidence: Evidence) -> Decision:
    verdict = evidence.results.verdict
    return Decision(
        verdict=verdict.verdict,
        reason=_reason(verdict.gates),
        gates=[_gate(gate, evidence) for gate in verdict.gates],
    )


def _reason(gates: list[GateResult]) -> str:
    """Return why the verdict is what it is, in a sentence."""
    failed = [gate for gate in gates if not gate.passed]
    if not gates:
        return "No gate was set, and what has no gate to meet is not shipped."
    if not failed:
        return {1: "The one gate was met.", 2: "Both gates were met."}.get(
            len(gates), f"All {len(gates)} gates were met."
        )
    missed = "; ".join(f"{gate_title(gate.gate)}: {percent(gate.value)}, {_bound(gate)}" for gate in failed)
    verb = "was" if len(failed) == 1 else "were"
    return f"{len(failed)} of {len(gates)} gates {verb} not met. {missed[0].upper()}{missed[1:]}."


def _bound(gate: GateResult) -> str:
    parts = parse_gate(gate.gate)
    return f"{parts.relation} {percent(gate.bound)} is asked for" if parts else f"the bound is {percent(gate.bound)}"


def _gate(gate: GateResult, evidence: Evidence) -> Gate:
    parts = parse_gate(gate.gate)
    rates = evidence.results.rates
    return Gate(
        **gate.model_dump(),
        relation=parts.relation if parts else "",
        against=parts.bound if parts and parts.bound in rates else "",
        rate=rates.get(parts.arm, {}).get(parts.suite, {}).get(parts.metric) if parts else None,
    )


def _comparison(row: Difference, evidence: Evidence, wanted: dict[str, bool | None]) -> Comparison:
    rates = evidence.results.rates
    first, second = (rates[arm][row.suite][row.metric] for arm in (row.first, row.second))
    return Comparison(
        **row.model_dump(),
        first_rate=first.rate,
        second_rate=second.rate,
        total=first.total,
        reading=_reading(row, wanted.get(row.metric)),
    )


def _reading(row: Difference, wanted: bool | None) -> str:
    """Return in plain words what the discordant pairs and their p-value allow to say."""
    if row.only_first == row.only_second == 0:
        return "The two agree on every item."
    if row.p_value >= SIGNIFICANT:
        return "No difference shown."
    more = row.only_second > row.only_first
    second, often = arm_title(row.second).capitalize(), f"has it {'more' if more else 'less'} often"
    if wanted is None:
        return f"{second} {often}."
    return f"{second} is {'better' if more == wanted else 'worse'}: {often}."
