"""What was found of each requirement of the full prompt: whether it was learnt, and on which replies that rests."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tuning_room.evaluate.pairing import Arms, PairedScores, adjusted, in_order, paired_scores
from tuning_room.evaluate.standing import SHIPPED, Standing, bound_of, stand
from tuning_room.evaluate.statistics import kappa, rate_of
from tuning_room.gates import REQUIREMENTS
from tuning_room.records import Dialogue, Item, read_jsonl
from tuning_room.requirements import STAYS, Requirement, RowsTaught
from tuning_room.results import Difference, Rate, RequirementResult, Sample

MEASURE = "prompted"  # the arm that the shipped one is compared with

Kept = Mapping[str, Sequence[Sample]]  # by arm: replies whose metrics are the requirements that they keep, by id


def _by_arm(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in in_order(samples):
        found.setdefault(sample.arm, []).append(sample)
    return found


def decided_by(
    judged: Sequence[Sample], requirements: Sequence[Requirement], samples: Sequence[Sample]
) -> list[Sample]:
    """Return the samples with the judge's answers on the requirements for which there is no rule.

    `judged` holds replies whose metrics are the judge's answers by requirement.
    """
    ruled = {one.id for one in requirements if one.metrics or one.checks}
    answers = {
        (one.arm, one.suite, one.item, one.turn): {k: v for k, v in one.metrics.items() if k not in ruled}
        for one in judged
    }
    places = [(one.arm, one.suite, one.item, one.turn) for one in samples]
    return [
        one.model_copy(update={"kept": {**one.kept, **answers.get(place, {})}})
        for one, place in zip(samples, places, strict=True)
    ]


def rows_taught(requirements: Sequence[Requirement], train_rows: Path) -> dict[str, int | None]:
    """Return how many training rows teach each requirement; None where there is no file of rows."""
    if not train_rows.is_file():
        return dict.fromkeys(one.id for one in requirements)
    taught = RowsTaught(row.requirements for row in read_jsonl(train_rows, Dialogue))
    return {one.id: taught.of(one) for one in requirements}


def found_of(
    requirements: Sequence[Requirement],
    samples: Sequence[Sample],
    items: Mapping[str, Sequence[Item]],
    rows: Mapping[str, int | None],
    *,
    margin: float,
    judged: Sequence[Sample] | None = None,
) -> list[RequirementResult]:
    """Return what was found of each requirement, in their order; p-values are adjusted for the number of them.

    `judged` holds replies whose metrics are a judge's answers by requirement, None without a judge.
    """
    kept = _by_arm([sample.model_copy(update={"metrics": sample.kept}) for sample in samples])
    answers = _by_arm(judged or ())
    tested = Counter(name for of in items.values() for item in of for name in item.requirements)
    found = []
    for one in requirements:
        rates = _rates(one.id, kept)
        standing = _standing(one, rates.get(SHIPPED), tested[one.id], has_judge=judged is not None)
        found.append(
            RequirementResult(
                id=one.id,
                quote=one.quote,
                kind=one.kind,
                **standing._asdict(),
                gate=one.gate,
                rows=rows.get(one.id),
                items=tested[one.id],
                rates=rates,
                judged=_rates(one.id, answers),
                agreement=_agreement(one, kept, answers),
                failing=_failing(one.id, kept.get(SHIPPED, ())),
            )
        )
    return _with_differences(found, _differences(requirements, kept, margin))


def _rates(name: str, kept: Kept) -> dict[str, Rate]:
    scores: dict[str, PairedScores] = {arm: paired_scores(name, rows) for arm, rows in kept.items()}
    return {arm: rate_of(found.values[0], found.dialogues) for arm, found in scores.items() if found.dialogues}


def _agreement(one: Requirement, kept: Kept, answers: Kept) -> float | None:
    """Return Cohen's kappa of the rule and the judge over all replies that both have; None without both."""
    if not (one.metrics or one.checks):
        return None
    scores = [paired_scores(one.id, kept[arm], rows) for arm, rows in answers.items()]
    rows = [pair for found in scores for pair in zip(*found.values, strict=True)]
    return kappa([(str(rule), str(judge)) for rule, judge in rows]) if rows else None


def _failing(name: str, rows: Sequence[Sample]) -> list[str]:
    return list(dict.fromkeys(row.item for row in rows if row.metrics.get(name, 1.0) < 1))


def _differences(requirements: Sequence[Requirement], kept: Kept, margin: float) -> list[Difference]:
    if not {MEASURE, SHIPPED} <= kept.keys():
        return []
    arms = Arms(REQUIREMENTS, MEASURE, SHIPPED, kept[MEASURE], kept[SHIPPED])
    rows = [arms.difference(one.id, higher_is_better=True, margin=margin) for one in requirements]
    return adjusted([row for row in rows if row])


def _with_differences(found: Sequence[RequirementResult], rows: Sequence[Difference]) -> list[RequirementResult]:
    by_id = {row.metric: row for row in rows}
    return [one.model_copy(update={"difference": by_id.get(one.id)}) for one in found]


def _standing(one: Requirement, rate: Rate | None, items: int, *, has_judge: bool) -> Standing:
    if not one.is_baked:
        return Standing("outside", STAYS[one.kind])
    if one.untested:
        return Standing("untested", one.untested)
    if rate is None:
        return Standing("not_shown", _why_no_rate(one, items, has_judge=has_judge))
    return stand(rate, bound_of(one.gate))


def _why_no_rate(one: Requirement, items: int, *, has_judge: bool) -> str:
    if not (one.metrics or one.checks or one.judge):
        return "no metric, check or judge says whether a reply keeps it"
    if not items:
        return "no item tests it"
    if not (one.metrics or one.checks) and not has_judge:
        return "only a judge can tell, and evaluate.judge names none"
    return f"no reply of the arm {SHIPPED} to its {items} items could be judged"
