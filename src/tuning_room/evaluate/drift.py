"""How a behaviour holds over a scripted dialogue: rates by turn, and how long until it first breaks."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tuning_room.evaluate.statistics import rate_of
from tuning_room.results import BREAKS, Drift, Rate


class TurnScores(NamedTuple):
    """A reply of a scripted dialogue: which dialogue, which turn (from 1), and its metrics in 0..1."""

    dialogue: str
    turn: int
    metrics: Mapping[str, float]


def drift(replies: Sequence[TurnScores], *, events: Sequence[str] = BREAKS) -> Drift:
    """Return how one arm holds over the turns; an event is a metric of `events` at 0.5 or more.

    The survival is Kaplan and Meier's (1958): a dialogue that ends without an event is right-censored at its last turn.
    Where all dialogues have the same length this is the plain share. ValueError if there are no replies, or if a
    dialogue's turns are not 1, 2, 3 and so on.
    """
    dialogues = _dialogues(replies)
    longest = max(len(rows) for rows in dialogues.values())
    turns = [_rates([rows[turn] for rows in dialogues.values() if turn < len(rows)]) for turn in range(longest)]
    times = [_first(rows, events) for rows in dialogues.values()]
    shares = survival([time or len(rows) for time, rows in zip(times, dialogues.values(), strict=True)],
                      [time is not None for time in times], longest)  # fmt: skip
    return Drift(turns=turns, survival=shares, first=1 + sum(shares))


def survival(times: Sequence[int], happened: Sequence[bool], last: int) -> list[float]:
    """Return the Kaplan-Meier share without the event up to each of the turns 1 to `last`.

    `times` are the turn of the event where it happened, else the last turn that was seen.
    """
    from statsmodels.duration.survfunc import SurvfuncRight

    estimate = SurvfuncRight(list(times), [int(event) for event in happened])
    steps = dict(zip(map(int, estimate.surv_times), map(float, estimate.surv_prob), strict=True))
    shares, share = [], 1.0
    for turn in range(1, last + 1):
        share = steps.get(turn, share)
        shares.append(share)
    return shares


def _dialogues(replies: Sequence[TurnScores]) -> dict[str, list[TurnScores]]:
    if not replies:
        raise ValueError("drift needs at least one reply")
    dialogues: dict[str, list[TurnScores]] = {}
    for reply in sorted(replies, key=lambda reply: reply.turn):
        dialogues.setdefault(reply.dialogue, []).append(reply)
    for name, rows in dialogues.items():
        if [row.turn for row in rows] != list(range(1, len(rows) + 1)):
            raise ValueError(f"dialogue '{name}': its turns are not 1 to {len(rows)}")
    return dialogues


def _rates(rows: Sequence[TurnScores]) -> dict[str, Rate]:
    names = [row.dialogue for row in rows]
    return {metric: rate_of([row.metrics[metric] for row in rows], names) for metric in rows[0].metrics}


def _first(rows: Sequence[TurnScores], events: Sequence[str]) -> int | None:
    """Return the first turn with an event, if there is one."""
    return next((row.turn for row in rows if any(row.metrics.get(event, 0.0) >= 0.5 for event in events)), None)
