"""The verdict as a reader needs it: what to do, which of the two questions failed, and the gates behind it."""

from collections.abc import Sequence

from pydantic import BaseModel

from tuning_room.report.evidence import Evidence
from tuning_room.report.labels import QUESTIONS, VERDICTS, all_met
from tuning_room.results import ALL, GateResult, Rate, Results


class ShownGate(GateResult):
    """A gate with its outcome, and the rate that was held with its interval, if it is known."""

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


class VerdictSection(BaseModel):
    """The verdict by name and in words, what to change, the items behind missed gates, and all gates."""

    verdict: str
    title: str
    meaning: str
    reason: str
    advice: list[str]
    warnings: list[str]
    questions: list[Question]
    tiles: list[Tile]
    gates: list[ShownGate]
    failing: list[str]


MOST_TILES = 4
UNKNOWN = "Do not ship: this verdict is not known here."


def decision(evidence: Evidence) -> VerdictSection:
    """Return the verdict of a run."""
    verdict = evidence.results.verdict
    title, meaning = VERDICTS.get(verdict.verdict, (verdict.verdict.replace("_", " ").capitalize(), UNKNOWN))
    return VerdictSection(
        verdict=verdict.verdict,
        title=title,
        meaning=meaning,
        reason=_reason(verdict.gates),
        advice=verdict.advice,
        warnings=evidence.results.warnings,
        questions=[_question(name, verdict.gates) for name in QUESTIONS],
        tiles=_tiles(evidence.results),
        gates=[_shown(held, evidence.results) for held in verdict.gates],
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


def _shown(held: GateResult, results: Results) -> ShownGate:
    gate = held.gate
    if gate.metric == "kl" and (found := results.retention.get(gate.arm)):
        rate: Rate | None = found.as_rate()
    elif gate.family:
        families = results.families.get(gate.arm, {}).get(gate.suite, {})
        rate = families.get(gate.family, {}).get(gate.metric)
    else:
        rate = results.rates.get(gate.arm, {}).get(gate.suite, {}).get(gate.metric)
    return ShownGate(**dict(held), rate=rate)


def _tiles(results: Results) -> list[Tile]:
    """Return the baked arm's rates that gates hold, else those over all items; no place twice."""
    rates = results.rates.get("baked", {})
    gates = [held.gate for held in results.verdict.gates if not held.gate.family]
    places = [(gate.suite, gate.metric) for gate in gates] or [(ALL, metric) for metric in rates.get(ALL, {})]
    known = [(suite, metric) for suite, metric in dict.fromkeys(places) if metric in rates.get(suite, {})]
    return [_tile(suite, metric, results) for suite, metric in known[:MOST_TILES]]


def _tile(suite: str, metric: str, results: Results) -> Tile:
    known = {arm: rates[suite][metric] for arm, rates in results.rates.items() if metric in rates.get(suite, {})}
    other = next((arm for arm in ("prompted", "base") if arm in known), "")
    return Tile(suite=suite, metric=metric, baked=known["baked"], other=other, other_rate=known.get(other))
