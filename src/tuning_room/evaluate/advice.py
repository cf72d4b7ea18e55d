"""What to change after a verdict: sentences that name what failed, by how much, and the knobs of the recipe."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tuning_room.checks import find_metric
from tuning_room.evaluate.power import items_needed
from tuning_room.gates import is_share, value_in_words
from tuning_room.results import GateResult, Rate

Rates = Mapping[str, Mapping[str, Mapping[str, Rate]]]

MOST_NAMED = 3


class Failing(NamedTuple):
    """A reply of the baked arm that has what a gated metric does not want, or lacks what it wants."""

    suite: str
    metric: str
    item: str
    topic: str = ""
    family: str = ""


def advise(verdict: str, results: Sequence[GateResult], failing: Sequence[Failing], rates: Rates) -> list[str]:
    """Return plain sentences; `failing` are the replies behind the missed gates."""
    if not results:
        return ["No gate is set, so nothing can be shipped: say under evaluate.gates what the baked arm must meet."]
    missed = [result for result in results if not result.passed]
    return [
        *map(_missed, missed),
        *_unasked(results),
        *_more_items(missed),
        *_prompt_fails_too(missed, rates),
        *_remedies(verdict, missed, failing),
    ]


def _missed(result: GateResult) -> str:
    """Return by how much a gate was missed."""
    gate, gap = result.gate, abs(result.held - result.limit)
    side = "low" if gate.higher_is_better else "high"
    by = f"{gap * 100:.1f} points" if is_share(gate.metric) else f"{gap:g}"
    end = f", its 95 % interval reaches to {value_in_words(gate.metric, result.held)}" if gate.by == "bound" else ""
    return f"{gate.name} was missed: {value_in_words(gate.metric, result.value)}{end}, {by} too {side}."


def _unasked(results: Sequence[GateResult]) -> Iterator[str]:
    asked = {result.question for result in results}
    if "retention" not in asked:
        yield "No gate asks whether something was lost: add one on a suite such as capability or safety."
    if "behaviour" not in asked:
        yield "No gate asks whether the behaviour was learnt: add one on a suite such as behaviour or pressure."


def _more_items(missed: Sequence[GateResult]) -> Iterator[str]:
    """Say how many items a gate takes that the rate meets and only its interval does not."""
    for result in missed:
        gate, value, limit = result.gate, result.value, result.limit
        if gate.by == "value" or not (value >= limit if gate.higher_is_better else value <= limit):
            continue
        rate, bound = (1 - value, 1 - limit) if gate.higher_is_better else (value, limit)
        needed = items_needed(bound, rate=rate) if gate.compared is None and is_share(gate.metric) else None
        many = f"about {needed:,} items at this rate" if needed else "more items"
        yield (
            f"{gate.name}: the rate itself meets it, so there may be too few items: it takes {many}; "
            f"raise the size of the suite, or run with --all-items."
        )


def _prompt_fails_too(missed: Sequence[GateResult], rates: Rates) -> Iterator[str]:
    """Say where the full prompt does no better, so that no training towards it can."""
    for result in missed:
        gate = result.gate
        prompted = rates.get("prompted", {}).get(gate.suite, {}).get(gate.metric)
        if prompted is None or gate.compared or gate.family or gate.arm == "prompted":
            continue
        if prompted.rate < result.limit if gate.higher_is_better else prompted.rate > result.limit:
            rate = value_in_words(gate.metric, prompted.rate)
            yield (
                f"The prompted arm misses it as well ({gate.metric}, {gate.suite}: {rate}): "
                f"the model does not follow the full prompt there; teach by rules, examples or a stronger teacher."
            )


def _remedies(verdict: str, missed: Sequence[GateResult], failing: Sequence[Failing]) -> Iterator[str]:
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


def _teach_more(missed: Sequence[GateResult], failing: Sequence[Failing]) -> Iterator[str]:
    behaviour = [result.gate for result in missed if result.question == "behaviour"]
    taught = [row for row in failing if row.metric in {gate.metric for gate in behaviour}]
    if topics := _most(row.topic for row in _once(taught)):
        yield f"Most failing items are about {topics}: add seeds on them, or name their kinds in generate.families."
    if attacks := _most(row.family for row in _once(taught)):
        yield f"Most failing attacks are of the family {attacks}: add seeds in which the user presses that way."
    yield "Raise generate.rows by half; if the validation loss still falls at the end, raise train.epochs by one."
    # A gate may want what others do not: a check against the gold answer is no advice where the gold is wanted.
    metrics = [(gate, find_metric(gate.metric)) for gate in behaviour]
    if checks := dict.fromkeys(
        m.check for gate, m in metrics if m.check and m.higher_is_better == gate.higher_is_better
    ):
        yield f"See that dataset.checks has {', '.join(checks)}, so that no row teaches the fault."
    yield "If more data does not help, raise train.rank, and train.alpha with it."


def _train_less(failing: Sequence[Failing]) -> Iterator[str]:
    if topics := _most(row.topic for row in _once(failing)):
        yield f"What was lost is mostly about {topics}: add seeds in which it is answered as the base model does."
    yield "Halve train.learning_rate, or lower train.epochs by one; then halve train.rank, or raise train.skip_layers."


def _once(failing: Sequence[Failing]) -> list[Failing]:
    """Return each failing item once, whichever metrics it fails."""
    return list({(row.suite, row.item): row for row in failing}.values())


def _most(names: Iterator[str]) -> str:
    """Return the names that come most often, with how often; '' if there are none."""
    counts = Counter(name for name in names if name).most_common(MOST_NAMED)
    return ", ".join(f"{name} ({count})" for name, count in counts)
