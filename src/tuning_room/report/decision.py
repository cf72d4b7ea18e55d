"""The verdict for a reader: what to do, how each question was answered, and the gates behind it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import BaseModel

from tuning_room.gates import Side
from tuning_room.report.labels import UNKNOWN, VERDICTS, MetricNames, all_met, learnt_of, points, suite_title
from tuning_room.results import ALL, GateResult, Rate, Results

if TYPE_CHECKING:
    from tuning_room.report.evidence import Evidence

UNHELD = "Worse than the base model, and no gate holds it"


class ShownGate(GateResult):
    """A gate with its outcome and, if known, the rate that was checked with its interval."""

    rate: Rate | None


Answer = Literal["yes", "no", "not_shown", "not_asked"]


class Question(BaseModel):
    """Whether the requirements were learnt, the behaviour met its gates, or anything else was lost (`retention`).

    `reason` says in words what the answer rests on; `met` of the `gates` that ask it were met.
    """

    question: str
    answer: Answer
    reason: str
    met: int = 0
    gates: int = 0


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
    results = evidence.results
    verdict = results.verdict
    unknown = (verdict.verdict.replace("_", " ").capitalize(), "Do not ship: this verdict is not known here.")
    title, meaning = VERDICTS.get(verdict.verdict, unknown)
    return VerdictSection(
        verdict=verdict.verdict,
        title=title,
        meaning=_meaning(results) if verdict.verdict == "ship" else meaning,
        reason=_reason(results),
        advice=verdict.advice,
        warnings=results.warnings,
        questions=[_learnt(results), _asked("behaviour", results), _asked("retention", results)],
        tiles=_tiles(results),
        gates=[_shown(held, results) for held in verdict.gates],
        failing=verdict.failing,
    )


def _meaning(results: Results) -> str:
    """Return what the verdict to ship claims."""
    if results.verdict.learnt is None:
        return VERDICTS["ship"][1]
    gates = ", and every gate of the recipe was met" if results.verdict.gates else ""
    return f"Every requirement that was tested was learnt{gates}."


def _reason(results: Results) -> str:
    """Return how many gates were met, what was lost without one, and how many requirements were learnt."""
    gates, learnt = results.verdict.gates, results.verdict.learnt
    required = f"Requirements of the prompt: {learnt_of(learnt)}" if learnt else ""
    lost = f"{UNHELD}: {_lost(results)}." if results.verdict.losses else ""
    if not gates:
        return " ".join(filter(None, [lost, required])) or "No gate was set, and nothing is shipped without one."
    missed = [gate for gate in gates if not gate.passed]
    return " ".join(filter(None, [_missed(missed, gates) if missed else all_met(len(gates)), lost, required]))


def _missed(missed: Sequence[GateResult], gates: Sequence[GateResult]) -> str:
    return f"{len(missed)} of {len(gates)} gates {'was' if len(missed) == 1 else 'were'} not met."


def _learnt(results: Results) -> Question:
    """Return whether all that the full prompt asks was learnt."""
    learnt = results.verdict.learnt
    if learnt is None:
        return Question(question="requirements", answer="not_asked", reason=UNKNOWN)
    answer: Answer = "no" if learnt.failed else "yes" if 0 < learnt.learnt == learnt.of else "not_shown"
    return Question(question="requirements", answer=answer, reason=learnt_of(learnt))


def _asked(side: Side, results: Results) -> Question:
    """Return the answer to a question that gates ask."""
    gates = [gate for gate in results.verdict.gates if gate.question == side]
    found = _kept(gates, results) if side == "retention" else _met(gates, results)
    return Question(question=side, met=sum(gate.passed for gate in gates), gates=len(gates), **found._asdict())


class _Answered(NamedTuple):
    answer: Answer
    reason: str


def _met(gates: Sequence[GateResult], results: Results) -> _Answered:
    """Return whether the gates on the behaviour were met."""
    if not gates:
        return _Answered("not_asked", "No gate checks this.")
    missed = [gate for gate in gates if not gate.passed]
    if not missed:
        return _Answered("yes", all_met(len(gates)))
    is_open = all(gate.lacks_items for gate in missed)
    return _Answered("not_shown" if is_open else "no", _which(missed, gates, results))


def _kept(gates: Sequence[GateResult], results: Results) -> _Answered:
    """Return whether anything else was lost, as the evaluation answers it, and by which gates."""
    lost, missed = results.verdict.lost, [gate for gate in gates if not gate.passed]
    if missed:
        return _Answered(lost, _which(missed, gates, results))
    if results.verdict.losses:
        return _Answered(lost, f"{UNHELD}: {_lost(results)}.")
    if not gates:
        return _Answered(lost, "No gate checks this.")
    if lost == "no":
        showing = [gate for gate in gates if gate.shows]
        return _Answered(lost, f"{all_met(len(gates))} Shown by {_names(showing, results)}.")
    return _Answered(lost, f"{all_met(len(gates))} But none looks at an interval, so the items may be too few to tell.")


def _lost(results: Results) -> str:
    """Return what was lost with no gate on it, and how much of it."""
    names = MetricNames(results.metrics)
    return "; ".join(
        f"{names.words(one.metric).title.lower()}, {suite_title(one.suite)} ({points(one.difference)} points)"
        for one in results.verdict.losses
    )


def _which(missed: Sequence[GateResult], gates: Sequence[GateResult], results: Results) -> str:
    """Return which gates were missed, and whether only their intervals miss them."""
    is_open = all(gate.lacks_items for gate in missed)
    tail = " Only the interval misses, so there may be too few items." if is_open else ""
    return f"{_missed(missed, gates).removesuffix('.')}: {_names(missed, results)}.{tail}"


def _names(gates: Sequence[GateResult], results: Results) -> str:
    names = MetricNames(results.metrics)
    return "; ".join(names.gate(held.gate) for held in gates)


def _shown(held: GateResult, results: Results) -> ShownGate:
    gate = held.gate
    if gate.metric == "kl" and (found := results.retention.get(gate.arm)):
        rate: Rate | None = found.as_rate()
    elif gate.requirement:
        required = (one for one in results.requirements or () if one.id == gate.requirement)
        rate = next((one.rates.get(gate.arm) for one in required), None)
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
