"""The verdict: ship, or what to do instead, from the gates on the behaviour and on what must not be lost."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tuning_room.errors import RecipeError
from tuning_room.evaluate.gates import Gate, Pair, Side, written
from tuning_room.evaluate.statistics import ROUNDING, Interval, Rate, non_inferior

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


class GateResult(NamedTuple):
    """A gate, the measured rate and the gate's bound (the other arm's rate), and whether it was met.

    `held` is what met the bound or did not: the rate, or the unfavourable end of its interval. It was held against
    `limit`: the bound, less or more the margin. `measured` is the rate as it is written.
    """

    gate: str
    value: float
    bound: float
    passed: bool
    held: float
    limit: float
    question: Side
    measured: str


class Failing(NamedTuple):
    """A reply of the baked arm that has what a gated metric does not want, or lacks what it wants."""

    suite: str
    metric: str
    item: str
    topic: str = ""
    family: str = ""


class Verdict(NamedTuple):
    """`ship`, `more_data`, `less_training`, `start_over`, or `iterate` without gates; what to do; the failing items."""

    verdict: str
    gates: list[GateResult]
    advice: list[str]
    failing: list[str]


def judge(
    gates: Sequence[Gate],
    rates: Rates,
    *,
    families: Families | None = None,
    intervals: Mapping[Pair, Interval] | None = None,
    failing: Sequence[Failing] = (),
) -> Verdict:
    """Hold every gate, and decide; without gates nothing is shipped.

    `intervals` has the differences that `pairs(gates)` names, `failing` the replies for the advice. RecipeError names
    a gate on something that is not measured.
    """
    from tuning_room.evaluate.advice import advise

    results = [_hold(gate, rates, families or {}, intervals or {}) for gate in gates]
    verdict = decide(results)
    concerned = [row for row in failing if _concerned(row, gates, results)]
    advice = advise(verdict, gates, results, concerned, rates)
    return Verdict(verdict, results, advice, list(dict.fromkeys(row.item for row in concerned)))


def pairs(gates: Sequence[Gate]) -> list[Pair]:
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


def _hold(gate: Gate, rates: Rates, families: Families, intervals: Mapping[Pair, Interval]) -> GateResult:
    measured = _rate(gate, gate.arm, rates, families)
    if gate.compared:
        return _compare(gate, measured.rate, _rate(gate, gate.compared, rates, families).rate, intervals)
    bound = float(gate.at_least if gate.at_least is not None else gate.at_most or 0.0)
    held = measured.rate
    if gate.by == "bound":
        held = measured.low if gate.wanted else measured.high
    passed = held >= bound if gate.wanted else held <= bound
    return _result(gate, measured.rate, bound, passed, held, bound)


def _compare(gate: Gate, value: float, other: float, intervals: Mapping[Pair, Interval]) -> GateResult:
    limit = other - gate.margin if gate.wanted else other + gate.margin
    held = value
    if gate.pair:
        interval = _interval(gate, gate.pair, intervals)
        # The interval's end, as if the other arm's rate were known.
        held = other + (interval.low if gate.wanted else interval.high)
        passed = non_inferior(interval, gate.margin, wanted=gate.wanted)
    else:
        passed = value >= limit - ROUNDING if gate.wanted else value <= limit + ROUNDING
    return _result(gate, value, other, passed, held, limit)


def _result(gate: Gate, value: float, bound: float, passed: bool, held: float, limit: float) -> GateResult:
    return GateResult(gate.name, value, bound, passed, held, limit, gate.question, written(gate.metric, value))


def _interval(gate: Gate, pair: Pair, intervals: Mapping[Pair, Interval]) -> Interval:
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


def _concerned(row: Failing, gates: Sequence[Gate], results: Sequence[GateResult]) -> bool:
    """Return whether a failing reply counts against a gate that was not met."""
    return any(
        not result.passed
        and row.metric == gate.metric
        and gate.suite in ("all", row.suite)
        and gate.family in ("", row.family, row.topic)
        for gate, result in zip(gates, results, strict=True)
    )
