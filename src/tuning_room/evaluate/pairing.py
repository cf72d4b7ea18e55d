"""Replies brought together: a metric's rate over them, and two arms compared on the same turns."""

from collections.abc import Sequence
from typing import NamedTuple

from tuning_room.evaluate.statistics import Interval, holm, non_inferior, paired, rate_of
from tuning_room.results import Difference, Rate, Sample


class PairedScores(NamedTuple):
    """A metric's values by arm on the replies where all arms have it, in the same order, and the dialogue of each."""

    values: list[list[float]]
    dialogues: list[str]


def in_order(samples: Sequence[Sample]) -> list[Sample]:
    """Return samples by suite, item and turn."""
    return sorted(samples, key=lambda sample: (sample.suite, sample.item, sample.turn))


def metrics_in(rows: Sequence[Sample]) -> list[str]:
    """Return the metrics that any of the replies has."""
    return list(dict.fromkeys(name for sample in rows for name in sample.metrics))


def paired_scores(metric: str, *arms: Sequence[Sample]) -> PairedScores:
    """Return a metric of the replies to the same turns; one that depends on the reply may concern an arm alone."""
    scores = [{(s.suite, s.item, s.turn): s.metrics[metric] for s in rows if metric in s.metrics} for rows in arms]
    common = [key for key in scores[0] if all(key in others for others in scores[1:])]
    dialogues = [f"{suite}/{item}" for suite, item, _ in common]
    return PairedScores([[known[key] for key in common] for known in scores], dialogues)


def rates_in(rows: Sequence[Sample]) -> dict[str, Rate]:
    """Return the rate of each metric, with its interval over dialogues."""
    found = {metric: paired_scores(metric, rows) for metric in metrics_in(rows)}
    return {metric: rate_of(scores.values[0], scores.dialogues) for metric, scores in found.items()}


class Arms(NamedTuple):
    """Two arms on a suite, each with its replies."""

    suite: str
    first: str
    second: str
    before: Sequence[Sample]
    after: Sequence[Sample]

    def difference(self, metric: str, *, higher_is_better: bool, margin: float) -> Difference | None:
        """Return second minus first on the turns that the metric concerns in both; None if there are none."""
        scores = paired_scores(metric, self.before, self.after)
        if not scores.dialogues:
            return None
        first, second = scores.values
        found = paired(first, second, scores.dialogues)
        interval = Interval(found.difference, found.low, found.high)
        return Difference(
            suite=self.suite,
            metric=metric,
            first=self.first,
            second=self.second,
            higher_is_better=higher_is_better,
            **found._asdict(),
            p_holm=found.p_value,
            margin=margin,
            non_inferior=non_inferior(interval, margin, higher_is_better=higher_is_better),
        )


def adjusted(rows: Sequence[Difference]) -> list[Difference]:
    """Return the differences with their p-values adjusted for their number."""
    values = holm([row.p_value for row in rows])
    return [row.model_copy(update={"p_holm": value}) for row, value in zip(rows, values, strict=True)]
