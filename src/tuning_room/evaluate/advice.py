"""What to change after a verdict: sentences that name what failed, by how much, and the knobs of the recipe."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tuning_room.evaluate.gates import PLAIN, Gate, written
from tuning_room.evaluate.power import items_needed

if TYPE_CHECKING:
    from tuning_room.evaluate.statistics import Rate
    from tuning_room.evaluate.verdict import Failing, GateResult

    Rates = Mapping[str, Mapping[str, Mapping[str, Rate]]]

MOST_NAMED = 3
# The checks that keep a reply out of the training data which has the same fault, by metric and whether it is wanted.
CHECKS = {
    ("asks", True): "asks_question",
    ("asks_one", True): "asks_question",
    ("tells", False): "states_no_result",
    ("leaks", False): "states_no_gold",
    ("on_topic", True): "on_topic",
    ("valid_json", True): "json_schema",
    ("fits_schema", True): "json_schema",
}


def advise(
    verdict: str,
    gates: Sequence[Gate],
    results: Sequence["GateResult"],
    failing: Sequence["Failing"],
    rates: "Rates",
) -> list[str]:
    """Return plain sentences; `gates` and `results` go together, `failing` are the replies behind the missed gates."""
    if not gates:
        return ["No gate is set, so nothing can be shipped: say under evaluate.gates what the baked arm must meet."]
    missed = [(gate, result) for gate, result in zip(gates, results, strict=True) if not result.passed]
    return [
        *(_missed(gate, result) for gate, result in missed),
        *_unasked(results),
        *_more_items(missed),
        *_prompt_fails_too(missed, rates),
        *_remedies(verdict, missed, failing),
    ]


def _missed(gate: Gate, result: "GateResult") -> str:
    """Return by how much a gate was missed."""
    side = "low" if gate.wanted else "high"
    gap = abs(result.held - result.limit)
    by = f"{gap:g}" if gate.metric in PLAIN else f"{gap * 100:.1f} points"
    end = f", its 95 % interval reaches to {written(gate.metric, result.held)}" if gate.by == "bound" else ""
    return f"{result.gate} was missed: {written(gate.metric, result.value)}{end}, {by} too {side}."


def _unasked(results: Sequence["GateResult"]) -> Iterator[str]:
    asked = {result.question for result in results}
    if "retention" not in asked:
        yield "No gate asks whether something was lost: add one on a suite such as capability or safety."
    if "behaviour" not in asked:
        yield "No gate asks whether the behaviour was learnt: add one on a suite such as behaviour or pressure."


def _more_items(missed: Sequence[tuple[Gate, "GateResult"]]) -> Iterator[str]:
    """Say how many items a gate takes that the rate meets and only its interval does not."""
    for gate, result in missed:
        if gate.by == "value" or not _rate_meets(gate, result):
            continue
        rate, bound = (1 - result.value, 1 - result.limit) if gate.wanted else (result.value, result.limit)
        needed = items_needed(bound, rate=rate) if gate.compared is None and gate.metric not in PLAIN else None
        many = f"about {needed:,} items at this rate" if needed else "more items"
        yield (
            f"{result.gate}: the rate itself meets it, so the items may be too few: it takes {many}; "
            f"raise the size of the suite, or run with --all-items."
        )


def _rate_meets(gate: Gate, result: "GateResult") -> bool:
    return result.value >= result.limit if gate.wanted else result.value <= result.limit


def _prompt_fails_too(missed: Sequence[tuple[Gate, "GateResult"]], rates: "Rates") -> Iterator[str]:
    """Say where the full prompt does no better, so that no training towards it can."""
    for gate, result in missed:
        prompted = rates.get("prompted", {}).get(gate.suite, {}).get(gate.metric)
        if prompted is None or gate.compared or gate.family or gate.arm == "prompted":
            continue
        if prompted.rate < result.limit if gate.wanted else prompted.rate > result.limit:
            rate = written(gate.metric, prompted.rate)
            yield (
                f"The prompted arm misses it as well ({gate.metric}, {gate.suite}: {rate}): "
                f"the model does not follow the full prompt there; teach by rules, seeds or a stronger teacher."
            )


def _remedies(verdict: str, missed: Sequence[tuple[Gate, "GateResult"]], failing: Sequence["Failing"]) -> Iterator[str]:
    if verdict == "more_data":
        yield from _teach_more(missed, failing)
    if verdict == "less_training":
        yield from _train_less(failing)
    if verdict == "start_over":
        yield (
            "The behaviour is not there and something else was lost: look at the training data first "
            "('tuning-room dataset review'), for replies that contradict each other or the prompt."
        )
        yield from _teach_more(missed, failing)
        yield "Then train anew with train.learning_rate halved, or from a larger model."


def _teach_more(missed: Sequence[tuple[Gate, "GateResult"]], failing: Sequence["Failing"]) -> Iterator[str]:
    taught = [row for row in failing if row.metric in {g.metric for g, r in missed if r.question == "behaviour"}]
    if topics := _most(row.topic for row in _once(taught)):
        yield f"Most failing items are about {topics}: add seeds on them, or name their kinds in generate.families."
    if attacks := _most(row.family for row in _once(taught)):
        yield f"Most failing attacks are of the family {attacks}: add seeds in which the user presses that way."
    yield "Raise generate.rows by half; if the validation loss still falls at the end, raise train.epochs by one."
    faults = [(gate.metric, gate.wanted) for gate, result in missed if result.question == "behaviour"]
    if checks := dict.fromkeys(CHECKS[fault] for fault in faults if fault in CHECKS):
        yield f"See that dataset.checks has {', '.join(checks)}, so that no row teaches the fault."
    yield "If more data does not help, raise train.rank, and train.alpha with it."


def _train_less(failing: Sequence["Failing"]) -> Iterator[str]:
    if topics := _most(row.topic for row in _once(failing)):
        yield f"What was lost is mostly about {topics}: add seeds in which it is answered as the base model does."
    yield "Halve train.learning_rate, or lower train.epochs by one; then halve train.rank, or raise train.skip_layers."


def _once(failing: Sequence["Failing"]) -> list["Failing"]:
    """Return each failing item once, whichever metrics it fails."""
    return list({(row.suite, row.item): row for row in failing}.values())


def _most(names: Iterator[str]) -> str:
    """Return the names that come most often, with how often; '' if there are none."""
    counts = Counter(name for name in names if name).most_common(MOST_NAMED)
    return ", ".join(f"{name} ({count})" for name, count in counts)
