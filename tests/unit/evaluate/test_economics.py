"""What is timed, in which order, and when training has paid for itself.

Not real here: the timings; `tests/unit/engines` times a model.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.evaluate.economics import ROUNDS, Watch, Way, measure, paid_back
from tuning_room.results import MeanTokens, ServingCosts

FIRST = {"prompted, cold": 4.0, "prompted, warm prefix cache": 0.5}


def scripted(slower: float = 0.0) -> Watch:
    """Return a watch whose requests take `slower` seconds more in each later round."""
    return Watch(
        alone=lambda way, turn: (FIRST.get(way.label, 0.25) + slower * turn, 10.0),
        batch=lambda _: 40.0,
        prompt_tokens=lambda way: len(way.system),
    )


def tokens(**completion: float) -> dict[str, MeanTokens]:
    return {arm: MeanTokens(prompt=9, completion=count) for arm, count in completion.items()}


TOKENS = tokens(prompted=41.0, baked=21.0)


def test_four_ways_are_timed() -> None:
    found = measure(scripted(), "a long prompt", "short", 1)
    assert [(row.arm, row.label, row.cached) for row in found.arms] == [
        ("prompted", "prompted, cold", False),
        ("prompted", "prompted, warm prefix cache", True),
        ("baked", "baked, adapter", False),
        ("baked", "baked, merged", False),
    ]
    assert found.measured and found.arms[0].prompt_tokens == len("a long prompt")


def test_a_timing_names_the_gpu_that_it_was_made_on(monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu = measure(scripted(), "long", "s", 1).machine
    monkeypatch.setattr("tuning_room.evaluate.economics.gpu_name", lambda: "A Card")
    assert measure(scripted(), "long", "s", 1).machine == f"{on_cpu}, A Card"


def test_the_ways_take_turns_and_a_cached_prompt_was_read_just_before() -> None:
    asked: list[tuple[str, int]] = []

    def alone(way: Way, turn: int) -> tuple[float, float]:
        asked.append((way.label, turn))
        return 1.0, 1.0

    measure(scripted()._replace(alone=alone), "long", "short", 2)
    labels = ["prompted, cold", "prompted, warm prefix cache", "baked, adapter", "baked, merged"]
    # One request more before them, which nobody times.
    assert asked[1:] == [(label, turn) for turn in (0, 1) for label in labels]


def test_times_are_kept_round_by_round_beside_their_median() -> None:
    found = measure(scripted(slower=1.0), "long", "s")
    cold = found.arms[0]
    assert found.repeats == ROUNDS == len(cold.first_token_rounds)
    assert cold.first_token_rounds == [4, 5, 6, 7, 8, 9] and cold.first_token_seconds == 6.5
    assert cold.rounds[1] == (5, 10)


def test_what_the_prompt_saves_is_told_apart_from_what_the_shorter_reply_saves() -> None:
    cold, warm = paid_back(measure(scripted(), "long", "s", 1), TOKENS, 600).break_even
    # Prompted: 4 or 0.5 s, then 40 tokens at 10 a second; baked: 0.25 s, then 20.
    assert cold.seconds_saved_per_request == pytest.approx(5.75) and cold.requests == round(600 / 5.75)
    assert warm.seconds_saved_per_request == pytest.approx(2.25)
    assert cold.equal and warm.equal
    assert cold.equal.seconds_saved == pytest.approx(3.75) and cold.equal.requests == 160
    assert warm.equal.seconds_saved == pytest.approx(0.25) and warm.equal.requests == 2400
    assert cold.equal.reply_tokens == 21
    assert warm.seconds_saved_by_reply == pytest.approx(2.0)


def test_a_machine_that_slows_down_for_all_ways_changes_no_saving() -> None:
    _, warm = paid_back(measure(scripted(slower=3.0), "long", "s"), TOKENS, 600).break_even
    assert warm.equal
    assert (warm.equal.fewest, warm.equal.requests, warm.equal.most) == (2400, 2400, 2400)


def test_a_spread_that_includes_no_saving_includes_never() -> None:
    saving = iter([0.0, 0.4, -0.1, 0.3, 0.2, 0.1])

    def alone(way: Way, turn: int) -> tuple[float, float]:
        return (1.0 + next(saving) if way.cached else 1.0), 10.0

    _, warm = paid_back(measure(scripted()._replace(alone=alone), "long", "s"), TOKENS, 600).break_even
    assert warm.equal
    assert warm.equal.low == pytest.approx(-0.1) and warm.equal.most is None
    assert warm.equal.fewest == 1500 and warm.equal.requests == 4000


def test_what_saves_nothing_is_never_paid_back() -> None:
    longer = tokens(prompted=1.0, baked=90.0)
    rows = paid_back(measure(scripted(), "long", "s", 1), longer, 600).break_even
    assert [row.requests for row in rows] == [None, None]
    # Only the longer replies cost it: at equal length the prompt still saves.
    assert [row.equal.requests for row in rows if row.equal] == [160, 2400]
    nothing = ServingCosts()
    assert paid_back(nothing, TOKENS, 600) == nothing
    assert paid_back(measure(scripted(), "l", "s", 1), TOKENS, 0).break_even == []


@given(
    rounds=st.lists(st.tuples(st.floats(0.01, 9), st.floats(0.1, 99)), min_size=1, max_size=8),
    prompted=st.floats(1, 500),
    baked=st.floats(1, 500),
)
def test_the_two_parts_of_a_saving_add_up_and_the_spread_encloses_the_middle(
    rounds: list[tuple[float, float]], prompted: float, baked: float
) -> None:
    watch = scripted()._replace(alone=lambda way, turn: rounds[(turn + len(way.label)) % len(rounds)])
    found = paid_back(measure(watch, "long", "s", len(rounds)), tokens(prompted=prompted, baked=baked), 600)
    for row in found.break_even:
        assert row.equal
        assert row.equal.low <= row.equal.seconds_saved <= row.equal.high
        assert row.equal.seconds_saved + row.seconds_saved_by_reply == pytest.approx(row.seconds_saved_per_request)
        assert row.equal.fewest is not None or row.equal.requests is None
        assert row.equal.requests is not None or row.equal.most is None
