"""The verdict: ship, or what to do instead, from the gates on the behaviour and on what must not be lost."""

from collections.abc import Mapping, Sequence

from tuning_room.errors import RecipeError
from tuning_room.evaluate.advice import Failing, advise
from tuning_room.evaluate.statistics import ROUNDING, Interval, non_inferior
from tuning_room.gates import ArmPair, Gate
from tuning_room.results import GateResult, Rate, Verdict

Rates = Mapping[str, Mapping[str, Mapping[str, Rate]]]  # arm -> suite -> metric
Families = Mapping[str, Mapping[str, Mapping[str, Mapping[str, Rate]]]]  # arm -> suite -> family -> metric

# Without a gate there is nothing to decide by: it is neither proven nor known what to change.
UNDECIDED = "iterate"
# Whether the behaviour is there, and whether all else is kept.
MATRIX = {
    (True, True): "ship",
    (False, True): "more_data",
    (True, False): "less_training",
    (False, False): "start_over",
}


def judge(
    gates: Sequence[Gate],
    rates: Rates,
    *,
    families: Families | None = None,
    intervals: Mapping[ArmPair, Interval] | None = None,
    failing: Sequence[Failing] = (),
) -> Verdict:
    """Hold every gate, and decide; without gates nothing is shipped.

    `intervals` has the differences that `pairs(gates)` names, `failing` the replies for the advice. RecipeError names
    a gate on something that is not measured.
    """
    results = [_hold(gate, rates, families or {}, intervals or {}) for gate in gates]
    verdict = decide(results)
    concerned = [row for row in failing if _concerned(row, results)]
    advice = advise(verdict, results, concerned, rates)
    failing_items = list(dict.fromkeys(row.item for row in concerned))
    return Verdict(verdict=verdict, gates=results, advice=advice, failing=failing_items)


def pairs(gates: Sequence[Gate]) -> list[ArmPair]:
    """Return the differences whose intervals the gates need, each once."""
    return list(dict.fromkeys(gate.pair for gate in gates if gate.pair))


def decide(results: Sequence[GateResult]) -> str:
    """Return the verdict's name: whether every gate on the behaviour was met, by whether all on retention were."""
    if not results:
        return UNDECIDED
    behaviour, retention = (
        all(result.passed for result in results if result.question == side) for side in ("behaviour", "retention")
    )
    return MATRIX[behaviour, retention]


def _hold(gate: Gate, rates: Rates, families: Families, intervals: Mapping[ArmPair, Interval]) -> GateResult:
    measured = _rate(gate, gate.arm, rates, families)
    if gate.compared:
        return _compare(gate, measured.rate, _rate(gate, gate.compared, rates, families).rate, intervals)
    bound = gate.number or 0.0
    held = measured.rate
    if gate.by == "bound":
        held = measured.low if gate.higher_is_better else measured.high
    passed = held >= bound if gate.higher_is_better else held <= bound
    return _result(gate, measured.rate, bound, passed, held, bound)


def _compare(gate: Gate, value: float, other: float, intervals: Mapping[ArmPair, Interval]) -> GateResult:
    limit = other - gate.margin if gate.higher_is_better else other + gate.margin
    held = value
    if gate.pair:
        interval = _interval(gate, gate.pair, intervals)
        # The interval's end, as if the other arm's rate were known.
        held = other + (interval.low if gate.higher_is_better else interval.high)
        passed = non_inferior(interval, gate.margin, higher_is_better=gate.higher_is_better)
    else:
        passed = value >= limit - ROUNDING if gate.higher_is_better else value <= limit + ROUNDING
    return _result(gate, value, other, passed, held, limit)


def _result(gate: Gate, value: float, bound: float, passed: bool, held: float, limit: float) -> GateResult:
    return GateResult(
        gate=gate,
        relation=gate.relation,
        question=gate.question,
        value=value,
        bound=bound,
        held=held,
        limit=limit,
        passed=passed,
    )


def _interval(gate: Gate, pair: ArmPair, intervals: Mapping[ArmPair, Interval]) -> Interval:
    try:
        return intervals[pair]
    except KeyError:
        raise RecipeError(
            f"evaluate.gates: {gate.name}: the arms are not compared", hint="add both to evaluate.arms"
        ) from None


def _rate(gate: Gate, arm: str, rates: Rates, families: Families) -> Rate:
    try:
        if gate.family:
            return families[arm][gate.suite][gate.family][gate.metric]
        return rates[arm][gate.suite][gate.metric]
    except KeyError as error:
        place = f"family {gate.family} of {gate.suite}" if gate.family else gate.suite
        raise RecipeError(
            f"evaluate.gates: {gate.metric} of {arm} on {place} is not measured (no {error})",
            hint="add it to evaluate.arms, suites or metrics",
        ) from None


def _concerned(row: Failing, results: Sequence[GateResult]) -> bool:
    """Return whether a failing reply counts against a gate that was not met."""
    return any(
        not result.passed
        and row.metric == result.gate.metric
        and result.gate.suite in ("all", row.suite)
        and result.gate.family in ("", row.family, row.topic)
        for result in results
    )
