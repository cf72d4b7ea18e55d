"""The verdict: ship or iterate, with reasons."""

from collections.abc import Mapping
from typing import NamedTuple

from tuning_room.errors import RecipeError
from tuning_room.evaluate.config import Gate
from tuning_room.evaluate.statistics import Rate

Rates = Mapping[str, Mapping[str, Mapping[str, Rate]]]  # arm -> suite -> metric


class GateResult(NamedTuple):
    """A gate, what was measured, and whether the bound was met."""

    gate: str
    value: float
    bound: float
    passed: bool


class Verdict(NamedTuple):
    """`ship` if every gate was met, else `iterate`."""

    verdict: str
    gates: list[GateResult]


def judge(gates: list[Gate], rates: Rates) -> Verdict:
    """Hold every gate against the rates; without gates nothing is shipped."""
    results = [_hold(gate, rates) for gate in gates]
    ship = bool(results) and all(result.passed for result in results)
    return Verdict("ship" if ship else "iterate", results)


def _hold(gate: Gate, rates: Rates) -> GateResult:
    value = _rate(gate, gate.arm, rates)
    name = f"{gate.arm} {gate.metric} ({gate.suite})"
    if gate.at_least is not None:
        return GateResult(f"{name} at least {gate.at_least:.0%}", value, gate.at_least, value >= gate.at_least)
    if gate.at_most is not None:
        return GateResult(f"{name} at most {gate.at_most:.0%}", value, gate.at_most, value <= gate.at_most)
    if gate.not_below is not None:
        bound = _rate(gate, gate.not_below, rates)
        return GateResult(f"{name} not below {gate.not_below}", value, bound, value >= bound)
    bound = _rate(gate, str(gate.not_above), rates)
    return GateResult(f"{name} not above {gate.not_above}", value, bound, value <= bound)


def _rate(gate: Gate, arm: str, rates: Rates) -> float:
    try:
        return rates[arm][gate.suite][gate.metric].rate
    except KeyError as error:
        raise RecipeError(
            f"evaluate.gates: {gate.metric} of {arm} on {gate.suite} is not measured (no {error})",
            hint="add it to evaluate.arms, suites or metrics",
        ) from None
