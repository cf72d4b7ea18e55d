"""The verdict: ship, or what to do instead, from the gates on the behaviour and on what must not be lost."""

from collections.abc import Mapping, Sequence

from tuning_room.errors import RecipeError
from tuning_room.evaluate.advice import Failing, MoreItems, advise
from tuning_room.evaluate.standing import counts
from tuning_room.evaluate.statistics import ROUNDING, Interval, non_inferior
from tuning_room.gates import ArmPair, Gate, question
from tuning_room.results import (
    Difference,
    FamilyRates,
    GateResult,
    Lost,
    Rate,
    Rates,
    RequirementResult,
    Verdict,
)

# By whether the behaviour was learnt, and whether all else was kept.
MATRIX = {
    (True, True): "ship",
    (False, True): "more_data",
    (True, False): "less_training",
    (False, False): "start_over",
}
SIGNIFICANT = 0.05  # adjusted p-value below which a difference is no chance


def judge(
    gates: Sequence[Gate],
    rates: Rates,
    *,
    families: FamilyRates | None = None,
    intervals: Mapping[ArmPair, Interval] | None = None,
    failing: Sequence[Failing] = (),
    requirements: Sequence[RequirementResult] | None = None,
    differences: Sequence[Difference] = (),
    more: MoreItems = MoreItems(),  # noqa: B008
) -> Verdict:
    """Check every gate, and decide by them and by the states of the requirements; without either nothing is shipped.

    `intervals` holds the differences that `pairs(gates)` names, `differences` all that were measured, `failing` the
    replies for the advice, and `more` says where there are items that were not asked. RecipeError names a gate on
    something that was not measured.
    """
    results = [_hold(gate, rates, families or {}, intervals or {}) for gate in gates]
    losses = ungated_losses(differences, gates)
    verdict = decide(results, requirements or (), losses)
    concerned = [row for row in failing if _concerned(row, results)]
    missed = [item for one in requirements or () if one.state == "failed" for item in one.failing]
    return Verdict(
        verdict=verdict,
        gates=results,
        advice=advise(verdict, results, concerned, rates, requirements, losses, more),
        failing=list(dict.fromkeys([*(row.item for row in concerned), *missed])),
        lost=lost_of(results, losses),
        losses=losses,
        learnt=None if requirements is None else counts(requirements),
    )


def pairs(gates: Sequence[Gate]) -> list[ArmPair]:
    """Return the differences whose intervals the gates need, each once."""
    return list(dict.fromkeys(gate.pair for gate in gates if gate.pair))


def ungated_losses(differences: Sequence[Difference], gates: Sequence[Gate]) -> list[Difference]:
    """Return what the baked arm does worse than the base model on retention, beyond chance, with no gate to hold it.

    A gate on the metric and suite says how much of it may be lost; without one, no loss was agreed to.
    """
    held = {(gate.suite, gate.metric) for gate in gates if gate.arm == "baked"}
    return [
        one
        for one in differences
        if (one.first, one.second) == ("base", "baked")
        and question(one.suite, one.metric) == "retention"
        and (one.suite, one.metric) not in held
        and one.p_holm < SIGNIFICANT
        and (one.difference < 0) == one.higher_is_better
    ]


def decide(
    results: Sequence[GateResult],
    requirements: Sequence[RequirementResult] = (),
    losses: Sequence[Difference] = (),
) -> str:
    """Return the verdict's name, by what was missed on the behaviour and on retention, and by losses without a gate.

    What was missed only for want of items decides nothing by itself: `more_items`, unless something else was missed.
    """
    states = {one.state for one in requirements} & {"learnt", "failed", "not_shown"}
    if not results and not states:
        return "iterate"  # nothing was held to a bound, so nothing is proven, and nothing shows what to change
    missed = {result.question for result in results if not result.passed and not result.lacks_items}
    learnt, kept = "behaviour" not in missed and "failed" not in states, "retention" not in missed and not losses
    unsettled = "not_shown" in states or any(result.lacks_items for result in results)
    return "more_items" if learnt and kept and unsettled else MATRIX[learnt, kept]


def lost_of(results: Sequence[GateResult], losses: Sequence[Difference] = ()) -> Lost:
    """Return whether anything else was lost, as the gates on retention show it, or losses that no gate holds."""
    asked = [result for result in results if result.question == "retention"]
    if losses or any(not result.passed and not result.lacks_items for result in asked):
        return "yes"
    shown = any(result.shows for result in asked) and all(result.passed for result in asked)
    return "no" if shown else "not_shown"


def _hold(gate: Gate, rates: Rates, families: FamilyRates, intervals: Mapping[ArmPair, Interval]) -> GateResult:
    rate, higher = _rate(gate, gate.arm, rates, families), gate.higher_is_better
    bound = _rate(gate, gate.compared, rates, families).rate if gate.compared else gate.number or 0.0
    limit = bound - gate.margin if higher else bound + gate.margin  # a gate on a number has no margin
    if gate.pair:
        if gate.pair not in intervals:
            raise RecipeError(
                f"evaluate.gates: {gate.name}: the arms are not compared", hint="add both to evaluate.arms"
            )
        interval = intervals[gate.pair]
        # The interval's end, as if the other arm's rate were known exactly.
        held = bound + (interval.low if higher else interval.high)
        passed = non_inferior(interval, gate.margin, higher_is_better=higher)
    else:
        held = rate.rate if gate.by == "value" else rate.low if higher else rate.high
        slack = ROUNDING if gate.compared else 0.0
        passed = held >= limit - slack if higher else held <= limit + slack
    return GateResult(
        gate=gate,
        relation=gate.relation,
        question=gate.question,
        value=rate.rate,
        bound=bound,
        held=held,
        limit=limit,
        passed=passed,
    )


def _rate(gate: Gate, arm: str, rates: Rates, families: FamilyRates) -> Rate:
    try:
        if gate.family:
            return families[arm][gate.suite][gate.family][gate.metric]
        return rates[arm][gate.suite][gate.metric]
    except KeyError as error:
        place = f"family {gate.family} of {gate.suite}" if gate.family else gate.suite
        raise RecipeError(
            f"evaluate.gates: {gate.metric} of {arm} on {place} was not measured (no {error})",
            hint="add it to evaluate.arms, suites or metrics",
        ) from None


def _concerned(row: Failing, results: Sequence[GateResult]) -> bool:
    """Return whether a failing reply counts against a gate that was not met."""
    return any(
        not result.passed
        and row.metric == result.gate.metric
        and result.gate.suite in ("all", row.suite)
        and result.gate.family in ("", row.kind)
        for result in results
    )
