"""Proof of application: whether what is served under an adapter's name is that adapter, on its own base model.

The probes that training recorded are scored by the server, and its values are compared with the record: those of the
base model, those of the adapter, each asked alone and all at once, in both orders, as clients ask. Every value comes
from the engine that will answer. How far values may lie apart depends on the engine and its number format; the bounds
are measured (docs/decisions/2026-11-28-proof-of-application.md).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from tuning_room.errors import EngineError
from tuning_room.models.probes import ProbeRecord

APART = 3.0  # an adapter that moves the base by less than this many bounds cannot be told from it
State = Literal["proven", "refused"]


class Tolerance(NamedTuple):
    """How far values may lie from the record, in nats: in the mean over all forced tokens, and for any one of them."""

    mean: float
    most: float


# By number format, from what good and bad adapters were measured to do.
BOUNDS: dict[str, Tolerance] = {
    "fp32": Tolerance(0.001, 0.01),
    "bf16": Tolerance(0.08, 0.6),
    "fp16": Tolerance(0.02, 0.15),
}


class Forced(NamedTuple):
    """Tokens that are forced after a prompt, and the model that says how likely each is."""

    model: str
    prompt: list[int]
    answer: list[int]


class Scorer(Protocol):
    """An engine that can say how likely forced tokens are; `format` names its number format."""

    @property
    def format(self) -> str:
        """Return `fp32`, `bf16` or `fp16`."""

    def forced_scores(self, forced: Sequence[Forced]) -> list[list[float]]:
        """Return the log-probability of each forced token, in nats, all texts asked at once."""


class Proof(NamedTuple):
    """What came of a proof: distances are means over the forced tokens, in nats, the largest of all rounds.

    `from_record` is how far the served adapter lies from its record, `worst` its worst token, `base_from_record` how
    far the served base lies from the base of the record; `apart` is how far the record's adapter and base lie apart, or
    without a record, and then the others are None, the served ones.
    """

    state: State
    reason: str
    format: str
    from_record: float | None
    worst: float | None
    base_from_record: float | None
    apart: float
    bound: float


class Round(NamedTuple):
    """What a server says to an adapter's probes: as the base model and as the adapter; how it was asked."""

    asked: str
    base: list[float]
    adapter: list[float]


def prove(scorer: Scorer, base: str, records: Mapping[str, ProbeRecord]) -> dict[str, Proof]:
    """Return the proof of each adapter, by the names under which a server has them and its base model.

    Raises EngineError if the server does not answer, or computes in a number format for which no bound is known.
    """
    bound = bound_for(scorer.format)
    names = [base, *records]
    rounds = [
        _alone(scorer, base, records),
        *(_together(scorer, base, order, records) for order in (names, names[::-1])),
    ]
    return {
        name: judge(record, [found[name] for found in rounds], scorer.format, bound) for name, record in records.items()
    }


def bound_for(form: str) -> Tolerance:
    """Return the bound of a number format; EngineError for one that was never measured."""
    if form not in BOUNDS:
        raise EngineError(f"no proof is possible in the number format '{form}'", hint=f"serve in {' or '.join(BOUNDS)}")
    return BOUNDS[form]


def _alone(scorer: Scorer, base: str, records: Mapping[str, ProbeRecord]) -> dict[str, Round]:
    """Ask one model at a time."""
    found = {}
    for name, record in records.items():
        of_base, of_adapter = (
            scorer.forced_scores([Forced(model, probe.prompt, probe.answer) for probe in record.probes])
            for model in (base, name)
        )
        found[name] = Round("alone", _flat(of_base), _flat(of_adapter))
    return found


def _together(scorer: Scorer, base: str, order: Sequence[str], records: Mapping[str, ProbeRecord]) -> dict[str, Round]:
    """Ask all models at once, probe by probe, so that neighbours in a batch are of different models."""
    asked = [
        (model, owner, record.probes[number])
        for number in range(max((len(record.probes) for record in records.values()), default=0))
        for model in order
        for owner, record in records.items()
        if model in (base, owner) and number < len(record.probes)
    ]
    scores = scorer.forced_scores([Forced(model, probe.prompt, probe.answer) for model, _, probe in asked])
    found = {name: Round("while others were asked", [], []) for name in records}
    for (model, owner, _), values in zip(asked, scores, strict=True):
        (found[owner].base if model == base else found[owner].adapter).extend(values)
    return found


def _flat(scores: Sequence[Sequence[float]]) -> list[float]:
    return [value for one in scores for value in one]


def judge(record: ProbeRecord, rounds: Sequence[Round], form: str, bound: Tolerance) -> Proof:
    """Compare what a server said with an adapter's record; the first round that does not fit gives the reason."""
    base, adapter = record.values("base"), record.values("adapter")
    apart = mean_distance(base, adapter)
    reasons = [_too_close(apart, bound), *(_misfit(one, base, adapter, bound) for one in rounds)]
    reason = next(filter(None, reasons), "")
    return Proof(
        state="refused" if reason else "proven",
        reason=reason,
        format=form,
        from_record=max(mean_distance(one.adapter, adapter) for one in rounds),
        worst=max(_distances(one.adapter, adapter)[-1] for one in rounds),
        base_from_record=max(mean_distance(one.base, base) for one in rounds),
        apart=apart,
        bound=bound.mean,
    )


def _too_close(apart: float, bound: Tolerance) -> str:
    if apart >= APART * bound.mean:
        return ""
    return f"its record is {apart:.4f} nats from the base model's, too little to be told apart from it here"


def _misfit(found: Round, base: Sequence[float], adapter: Sequence[float], bound: Tolerance) -> str:
    """Return why a round does not show this adapter on its base model, or nothing."""
    if not _fits(found.base, base, bound):
        off = mean_distance(found.base, base)
        known = "is not the one it was trained on" if found.asked == "alone" else "answers otherwise than alone"
        return (
            f"{found.asked}, the base model {known}: {off:.4f} nats from its record, at most {bound.mean} are allowed"
        )
    if _fits(found.adapter, adapter, bound):
        return ""
    off, moved = mean_distance(found.adapter, adapter), mean_distance(found.adapter, found.base)
    if moved <= bound.mean:
        return f"{found.asked}, it answers like the base model: it is served but not applied"
    return (
        f"{found.asked}, it does not answer as it did when it was trained: {off:.4f} nats from its record, at most "
        f"{bound.mean} are allowed"
    )


def _fits(found: Sequence[float], expected: Sequence[float], bound: Tolerance) -> bool:
    distances = _distances(found, expected)
    # Written so that a value that is no number does not fit.
    return sum(distances) / len(distances) <= bound.mean and distances[-1] <= bound.most


def mean_distance(found: Sequence[float], expected: Sequence[float]) -> float:
    """Return the mean absolute difference of two lists of log-probabilities, in nats."""
    distances = _distances(found, expected)
    return sum(distances) / len(distances)


def _distances(found: Sequence[float], expected: Sequence[float]) -> list[float]:
    """Return the absolute differences, the largest last; infinite for a value that is no number."""
    pairs = zip(found, expected, strict=True)
    return sorted(abs(a - b) if math.isfinite(a) else math.inf for a, b in pairs)


def reach(scorer: Scorer, base: str, name: str, plain: Sequence[Forced]) -> Proof | None:
    """Return why an adapter without probes is refused, None if it at least says other things than the base model.

    The model that each text names is left aside.
    """
    bound = bound_for(scorer.format)
    asked = [one._replace(model=model) for one in plain for model in (base, name)]
    scores = scorer.forced_scores(asked)
    apart = mean_distance(_flat(scores[1::2]), _flat(scores[::2]))
    if apart > bound.mean:
        return None
    reason = "it answers like the base model: it is served but not applied"
    return Proof("refused", reason, scorer.format, None, None, None, apart, bound.mean)
