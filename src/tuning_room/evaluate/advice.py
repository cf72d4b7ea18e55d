"""What to change after a verdict: sentences naming what failed, by how much, and which settings to try."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from tuning_room.checks import find_metric
from tuning_room.evaluate.power import items_needed
from tuning_room.evaluate.standing import bound_of, items_to_write
from tuning_room.gates import is_share, requirement_metric, value_in_words
from tuning_room.results import Difference, GateResult, Rates, RequirementResult

NO_GATE = "No gate is set, so nothing can be shipped: state under evaluate.gates what the baked arm must meet."


class Failing(NamedTuple):
    """A reply of the baked arm that fails a metric."""

    suite: str
    metric: str
    item: str
    topic: str = ""
    family: str = ""
    kind: str = ""  # what a gate on a family goes by


class MoreItems(NamedTuple):
    """How many items were not asked, by suite and by the metric of a requirement, and the recipe whose they are."""

    recipe: str = "RECIPE"
    unused: Mapping[str, int] = {}

    def command(self, place: str) -> str:
        """Return the command that asks the items that were left out; '' if there are none."""
        left = self.unused.get(place)
        return f"'tuning-room evaluate {self.recipe} --all-items' asks the other {left:,}" if left else ""


def advise(
    verdict: str,
    results: Sequence[GateResult],
    failing: Sequence[Failing],
    rates: Rates,
    requirements: Sequence[RequirementResult] | None = None,
    losses: Sequence[Difference] = (),
    more: MoreItems = MoreItems(),  # noqa: B008
) -> list[str]:
    """Return plain sentences of advice; `failing` holds the replies behind the missed gates."""
    missed = [result for result in results if not result.passed]
    failed = [result for result in missed if not result.lacks_items]  # more data is no remedy for too few items
    return [
        *([] if results or requirements else [NO_GATE]),
        *map(_missed, missed),
        *_of_requirements(requirements or (), more),
        *map(_lost, losses),
        *_unasked(results, requirements),
        *_more_items(missed, more),
        *_prompt_fails_too(failed, rates),
        *_remedies(verdict, failed, failing),
        *_coverage(requirements, more),
    ]


def _lost(one: Difference) -> str:
    gate = "not_below" if one.higher_is_better else "not_above"
    change = f"{one.difference * 100:+.1f} points" if is_share(one.metric) else f"{one.difference:+g}"
    return (
        f"{one.metric} ({one.suite}) is worse than the base model's ({change}, p {one.p_holm:.2g}), and no gate holds "
        f"it: train less, or state as a gate what may be lost ({gate}: base, with a margin)."
    )


def _coverage(requirements: Sequence[RequirementResult] | None, more: MoreItems) -> Iterator[str]:
    if requirements is None:
        yield (
            "How much of the full prompt this covers is unknown: the recipe names no requirements "
            f"('tuning-room requirements {more.recipe}' drafts them from the prompt)."
        )


def _of_requirements(requirements: Sequence[RequirementResult], more: MoreItems) -> Iterator[str]:
    for one in requirements:
        if one.state == "failed":
            yield f"The requirement {one.id} was not learnt: {one.reason}.{_taught(one)}{_prompted(one)}"
        if one.state == "not_shown":
            yield f"The requirement {one.id} is not shown: {one.reason}.{_settling(one, more)}"
    if untested := [f"{one.id} ({one.reason})" for one in requirements if one.state == "untested"]:
        yield f"Not tested, so not claimed: {', '.join(untested)}."


def _settling(one: RequirementResult, more: MoreItems) -> str:
    """Return what would show a requirement that too few items test; '' where no number of items would."""
    if one.items and not one.rates:
        return ""
    place = requirement_metric(one.id)
    command, needed = more.command(place), items_to_write(one) - more.unused.get(place, 0)
    written = f"write about {needed:,} more with requirements: [{one.id}]" if needed > 0 else ""
    sentence = "; ".join(filter(None, [command, written]))
    return f" {sentence[:1].upper()}{sentence[1:]}."


def _taught(one: RequirementResult) -> str:
    if one.rows is None:
        return ""
    if not one.rows:
        return f" No training row teaches it: write rows with requirements: [{one.id}]."
    return f" {one.rows:,} training rows teach it."


def _prompted(one: RequirementResult) -> str:
    rate = one.rates.get("prompted")
    if rate is None or rate.rate >= bound_of(one.gate).rate:
        return ""
    return f" The prompted arm keeps it in {rate.rate:.1%} only: the model does not follow the full prompt there."


def _missed(result: GateResult) -> str:
    gate, gap = result.gate, abs(result.held - result.limit)
    side = "low" if gate.higher_is_better else "high"
    by = f"{gap * 100:.1f} points" if is_share(gate.metric) else f"{gap:g}"
    end = f", its 95 % interval reaches to {value_in_words(gate.metric, result.held)}" if gate.by == "bound" else ""
    return f"{gate.name} was missed: {value_in_words(gate.metric, result.value)}{end}, {by} too {side}."


def _unasked(results: Sequence[GateResult], requirements: Sequence[RequirementResult] | None) -> Iterator[str]:
    asked = {result.question for result in results}
    retention = [result for result in results if result.question == "retention"]
    if not retention and (results or requirements):
        yield "No gate checks whether anything was lost: add one on a suite such as capability or safety."
    if retention and all(result.passed and not result.shows for result in retention):
        yield "Whether anything was lost is not shown: no gate on retention looks at an interval; give one by: bound."
    if "behaviour" not in asked and results and not requirements:
        yield "No gate checks whether the behaviour was learnt: add one on a suite such as behaviour or pressure."


def _more_items(missed: Sequence[GateResult], more: MoreItems) -> Iterator[str]:
    """Yield what settles a gate whose rate meets it where the rate's interval does not."""
    for result in missed:
        gate, value, limit = result.gate, result.value, result.limit
        if not result.lacks_items:
            continue
        rate, bound = (1 - value, 1 - limit) if gate.higher_is_better else (value, limit)
        needed = items_needed(bound, rate=rate) if gate.compared is None and is_share(gate.metric) else None
        many = f"about {needed:,} items at this rate" if needed else "more items"
        place = gate.metric if gate.requirement else gate.suite
        settling = more.command(place) or "all that there are were asked, so write more"
        yield (
            f"{gate.name}: the rate itself meets the gate, so there may be too few items. It needs {many}: {settling}."
        )


def _prompt_fails_too(missed: Sequence[GateResult], rates: Rates) -> Iterator[str]:
    """Yield where the full prompt does no better, in which case training towards it cannot help."""
    for result in missed:
        gate = result.gate
        prompted = rates.get("prompted", {}).get(gate.suite, {}).get(gate.metric)
        if prompted is None or gate.compared or gate.family or gate.arm == "prompted":
            continue
        if prompted.rate < result.limit if gate.higher_is_better else prompted.rate > result.limit:
            rate = value_in_words(gate.metric, prompted.rate)
            yield (
                f"The prompted arm misses this gate as well ({gate.metric}, {gate.suite}: {rate}): the model does not "
                f"follow the full prompt there; teach it with rules, examples or a stronger teacher."
            )


def _remedies(verdict: str, missed: Sequence[GateResult], failing: Sequence[Failing]) -> Iterator[str]:
    if verdict == "more_data":
        yield from _teach_more(missed, failing)
    if verdict == "less_training":
        if topics := _most(failing, "topic"):
            yield f"What was lost is mostly about {topics}: add examples of them, answered as the base model does."
        yield "Halve train.learning_rate, or cut train.epochs by one; then halve train.rank or raise train.skip_layers."
    if verdict == "start_over":
        yield (
            "The behaviour was not learnt and something else was lost: check the training data first "
            "('tuning-room dataset review') for replies that contradict each other or the prompt."
        )
        yield from _teach_more(missed, failing)
        yield "Then train again with train.learning_rate halved, or start from a larger model."


def _teach_more(missed: Sequence[GateResult], failing: Sequence[Failing]) -> Iterator[str]:
    behaviour = [result.gate for result in missed if result.question == "behaviour" and not result.gate.requirement]
    taught = [row for row in failing if row.metric in {gate.metric for gate in behaviour}]
    if topics := _most(taught, "topic"):
        yield f"Most failing items are about {topics}: add examples of them, or name their kinds in generate.families."
    if attacks := _most(taught, "family"):
        yield f"Most failing attacks belong to the family {attacks}: add examples in which the user presses that way."
    yield "Raise generate.rows by half; if the validation loss is still falling at the end, raise train.epochs by one."
    # A gate may reverse a metric's direction: a check against the gold answer is bad advice where the gold is wanted.
    metrics = [(gate, find_metric(gate.metric)) for gate in behaviour]
    if checks := dict.fromkeys(
        m.check for gate, m in metrics if m.check and m.higher_is_better == gate.higher_is_better
    ):
        yield f"Make sure that dataset.checks has {', '.join(checks)}, so that no row teaches the fault."
    yield "If more data does not help, raise train.rank, and train.alpha with it."


def _most(failing: Sequence[Failing], field: Literal["topic", "family"]) -> str:
    """Return the three commonest topics or families of the failing items, with counts; '' if there are none."""
    items = {(row.suite, row.item): getattr(row, field) for row in failing}  # an item may fail several metrics
    counts = Counter(name for name in items.values() if name).most_common(3)
    return ", ".join(f"{name} ({count})" for name, count in counts)
