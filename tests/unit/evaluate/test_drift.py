"""Drift over the turns of a dialogue. Real: statsmodels' survival function, and the shares counted by hand."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning_room.evaluate.statistics import TurnScores, drift, mean_interval, rate, survival

BREAKS = {"tells": False}  # more of it is worse


def dialogue(name: str, *tells: float) -> list[TurnScores]:
    return [TurnScores(name, number, {"tells": told, "asks": 1.0 - told}) for number, told in enumerate(tells, start=1)]


def test_rates_by_turn_survival_and_the_first_event() -> None:
    found = drift([*dialogue("a", 0, 0, 1, 0), *dialogue("b", 0, 1, 1, 1), *dialogue("c", 0, 0, 0, 0)], breaks=BREAKS)
    assert [turn["tells"].count for turn in found.turns] == [0, 1, 2, 1]
    assert found.turns[2]["tells"] == rate([True, True, False])
    assert found.turns[2]["asks"].count == 1
    assert found.survival == pytest.approx([1, 2 / 3, 1 / 3, 1 / 3])
    assert found.first == pytest.approx((3 + 2 + 5) / 3), "none within four turns counts as the fifth"


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 8).flatmap(
        lambda turns: st.lists(st.lists(st.booleans(), min_size=turns, max_size=turns), min_size=1, max_size=12)
    )
)
def test_dialogues_of_one_length_survive_by_their_share(rows: list[list[bool]]) -> None:
    found = drift([turn for number, row in enumerate(rows) for turn in dialogue(str(number), *row)], breaks=BREAKS)
    shares = [sum(not any(row[: turn + 1]) for row in rows) / len(rows) for turn in range(len(rows[0]))]
    assert found.survival == pytest.approx(shares)
    firsts = [row.index(True) + 1 if any(row) else len(row) + 1 for row in rows]
    assert math.isclose(found.first, sum(firsts) / len(firsts), rel_tol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 8), st.booleans()), min_size=1, max_size=20))
def test_survival_is_the_product_of_kaplan_and_meier(rows: list[tuple[int, bool]]) -> None:
    found = survival([time for time, _ in rows], [event for _, event in rows], 8)
    share = 1.0
    for turn in range(1, 9):
        at_risk = sum(time >= turn for time, _ in rows)
        events = sum(event and time == turn for time, event in rows)
        share *= 1 - events / at_risk if at_risk else 1
        assert math.isclose(found[turn - 1], share, abs_tol=1e-9)


def test_a_short_dialogue_is_censored_not_counted_as_kept() -> None:
    found = drift([*dialogue("a", 0), *dialogue("b", 0, 1)], breaks=BREAKS)
    assert found.survival == [1.0, 0.0]
    assert found.turns[1]["tells"].total == 1


def test_other_events_and_shares() -> None:
    replies = [TurnScores("a", 1, {"fields": 0.5}), TurnScores("b", 1, {"fields": 1.0})]
    found = drift(replies, breaks={"fields": False})
    assert (found.survival, found.breaks) == ([0.0], ["fields"])
    assert drift(replies, breaks={"fields": True}).survival == [1.0], "half of what is wanted is not yet a break"
    assert drift([TurnScores("a", 1, {"fields": 0.4})], breaks={"fields": True}).survival == [0.0]
    assert found.turns[0]["fields"] == mean_interval([0.5, 1.0], ["a", "b"])
    assert drift(replies, breaks=BREAKS).survival == [1.0], "what is not measured is no event"


@pytest.mark.parametrize("numbers", [[0, 1], [2], [1, 3], [1, 1]])
def test_turns_that_are_missing_or_doubled_are_an_error(numbers: list[int]) -> None:
    with pytest.raises(ValueError, match="'a'"):
        drift([TurnScores("a", number, {"tells": 0.0}) for number in numbers], breaks=BREAKS)
    with pytest.raises(ValueError, match="at least one"):
        drift([], breaks=BREAKS)
