"""The verdict for a reader: what to do, which of the two questions failed, and the gates behind it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel

from tuning_room.report.labels import QUESTIONS, VERDICTS, all_met
from tuning_room.results import ALL, GateResult, Rate, Results

if TYPE_CHECKING:
    from tuning_room.report.evidence import Evidence


class ShownGate(GateResult):
    """A gate with its outcome and, if known, the rate that was checked with its interval."""

    rate: Rate | None


class Question(BaseModel):
    """One of the two questions, and how many of the gates that ask it were met."""

    question: str
    met: int
    gates: int


class Tile(BaseModel):
    """A number beside the verdict: a gated rate of the baked arm, and that of the prompted arm or else the base."""

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


def decision(evidence: "Evidence") -> VerdictSection:
    """Return the verdict of a run."""
    verdict = evidence.results.verdict
    unknown = (verdict.verdict.replace("_", " ").capitalize(), "Do not ship: this verdict is not known here.")
    title, meaning = VERDICTS.get(verdict.verdict, unknown)
    questions = []
    for name in QUESTIONS:
        asked = [gate for gate in verdict.gates if gate.question == name]
        questions.append(Question(question=name, met=sum(gate.passed for gate in asked), gates=len(asked)))
    return VerdictSection(
        verdict=verdict.verdict,
        title=title,
        meaning=meaning,
        reason=_reason(verdict.gates),
        advice=verdict.advice,
        warnings=evidence.results.warnings,
        questions=questions,
        tiles=_tiles(evidence.results),
        gates=[_shown(held, evidence.results) for held in verdict.gates],
        failing=verdict.failing,
    )


def _reason(gates: Sequence[GateResult]) -> str:
    """Return how many gates were met, in a sentence."""
    failed = sum(not gate.passed for gate in gates)
    if not gates:
        return "No gate was set, and nothing is shipped without one."
    if failed:
        return f"{failed} of {len(gates)} gates {'was' if failed == 1 else 'were'} not met."
    return all_met(len(gates))


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
    """Return the baked arm's gated rates, four at most and each once; without gates, its rates over all items."""
    rates = results.rates.get("baked", {})
    gates = [held.gate for held in results.verdict.gates if not held.gate.family]
    places = [(gate.suite, gate.metric) for gate in gates] or [(ALL, metric) for metric in rates.get(ALL, {})]
    known = [(suite, metric) for suite, metric in dict.fromkeys(places) if metric in rates.get(suite, {})]
    tiles = []
    for suite, metric in known[:4]:
        by_arm = {arm: found[suite][metric] for arm, found in results.rates.items() if metric in found.get(suite, {})}
        other = next((arm for arm in ("prompted", "base") if arm in by_arm), "")
        tile = Tile(suite=suite, metric=metric, baked=by_arm["baked"], other=other, other_rate=by_arm.get(other))
        tiles.append(tile)
    return tiles
