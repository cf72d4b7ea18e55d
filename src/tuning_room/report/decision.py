"""The verdict as a reader needs it: what to do, which of the two questions failed, and the gates behind it."""

from collections.abc import Sequence

from pydantic import BaseModel

from tuning_room.report.evidence import Evidence
from tuning_room.report.facts import ALL, GateResult, Rate, Results
from tuning_room.report.labels import QUESTIONS, VERDICTS, GateParts, all_met, parse_gate


class Gate(BaseModel):
    """A gate with its outcome; `relation` is '' and `rate` None if its name is not in the known form.

    `against` is the arm whose rate is the bound, '' for a number; `by` is 'bound' where `held` is an interval's end.
    """

    gate: str
    metric: str
    question: str
    relation: str
    against: str
    by: str
    margin: float
    value: float
    bound: float
    held: float
    limit: float
    passed: bool
    rate: Rate | None


class Question(BaseModel):
    """One of the two questions, and how many of the gates that ask it were met."""

    question: str
    met: int
    gates: int


class Tile(BaseModel):
    """A number beside the verdict: a gated rate of the baked arm, and the prompted arm's or else the base's."""

    suite: str
    metric: str
    baked: Rate
    other: str
    other_rate: Rate | None


class Decision(BaseModel):
    """The verdict by name and in words, what to change, the items behind missed gates, and all gates."""

    verdict: str
    title: str
    meaning: str
    reason: str
    advice: list[str]
    warnings: list[str]
    questions: list[Question]
    tiles: list[Tile]
    gates: list[Gate]
    failing: list[str]


MOST_TILES = 4
UNKNOWN = "Do not ship: this verdict is not known here."


def decision(evidence: Evidence) -> Decision:
    """Return the verdict of a run."""
    verdict = evidence.results.verdict
    title, meaning = VERDICTS.get(verdict.verdict, (verdict.verdict.replace("_", " ").capitalize(), UNKNOWN))
    return Decision(
        verdict=verdict.verdict,
        title=title,
        meaning=meaning,
        reason=_reason(verdict.gates),
        advice=verdict.advice,
        warnings=evidence.results.warnings,
        questions=[_question(name, verdict.gates) for name in QUESTIONS],
        tiles=_tiles(evidence.results),
        gates=[_gate(gate, evidence.results) for gate in verdict.gates],
        failing=verdict.failing,
    )


def _reason(gates: Sequence[GateResult]) -> str:
    """Return how many gates were met, in a sentence."""
    failed = sum(not gate.passed for gate in gates)
    if not gates:
        return "No gate was set, and what has no gate to meet is not shipped."
    if failed:
        return f"{failed} of {len(gates)} gates {'was' if failed == 1 else 'were'} not met."
    return all_met(len(gates))


def _question(name: str, gates: Sequence[GateResult]) -> Question:
    asked = [gate for gate in gates if gate.question == name]
    return Question(question=name, met=sum(gate.passed for gate in asked), gates=len(asked))


def _gate(gate: GateResult, results: Results) -> Gate:
    parts = parse_gate(gate.gate)
    return Gate(
        **gate.model_dump(exclude={"measured"}),
        metric=parts.metric if parts else "",
        relation=parts.relation if parts else "",
        against=parts.bound if parts and parts.bound in results.rates else "",
        by=parts.by if parts else "value",
        margin=parts.margin if parts else 0.0,
        rate=_rate(parts, results) if parts else None,
    )


def _rate(parts: GateParts, results: Results) -> Rate | None:
    if parts.metric == "kl" and (found := results.retention.get(parts.arm)):
        return Rate(rate=found.kl, low=found.low, high=found.high, count=0, total=found.texts)
    if parts.family:
        families = results.families.get(parts.arm, {}).get(parts.suite, {})
        return families.get(parts.family, {}).get(parts.metric)
    return results.rates.get(parts.arm, {}).get(parts.suite, {}).get(parts.metric)


def _tiles(results: Results) -> list[Tile]:
    """Return the baked arm's rates that gates hold, else those over all items; no place twice."""
    rates = results.rates.get("baked", {})
    gates = [parts for gate in results.verdict.gates if (parts := parse_gate(gate.gate)) and not parts.family]
    places = [(gate.suite, gate.metric) for gate in gates] or [(ALL, metric) for metric in rates.get(ALL, {})]
    known = [(suite, metric) for suite, metric in dict.fromkeys(places) if metric in rates.get(suite, {})]
    return [_tile(suite, metric, results) for suite, metric in known[:MOST_TILES]]


def _tile(suite: str, metric: str, results: Results) -> Tile:
    known = {arm: rates[suite][metric] for arm, rates in results.rates.items() if metric in rates.get(suite, {})}
    other = next((arm for arm in ("prompted", "base") if arm in known), "")
    return Tile(suite=suite, metric=metric, baked=known["baked"], other=other, other_rate=known.get(other))
