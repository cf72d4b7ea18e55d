"""What is timed, and when training has paid for itself.

Not real here: the timings; `tests/unit/engines` times a model.
"""

from typing import NamedTuple

import pytest

from tuning_room.evaluate.besides import Way, measure
from tuning_room.evaluate.summary import paid_back
from tuning_room.results import MeanTokens, ServingCosts


class Timing(NamedTuple):
    first_token_seconds: float
    tokens_per_second: float
    batch_tokens_per_second: float
    prompt_tokens: int
    cached: bool


def timer(way: Way) -> Timing:
    first = {"prompted, cold": 4.0, "prompted, warm prefix cache": 0.5}.get(way.label, 0.25)
    return Timing(first, 10.0, 40.0, len(way.system), way.cached)


def tokens(**completion: float) -> dict[str, MeanTokens]:
    return {arm: MeanTokens(prompt=9, completion=count) for arm, count in completion.items()}


TOKENS = tokens(prompted=41.0, baked=21.0)


def test_four_ways_are_timed() -> None:
    found = measure(timer, "a long prompt", "short", 1)
    assert [(row.arm, row.label, row.cached) for row in found.arms] == [
        ("prompted", "prompted, cold", False),
        ("prompted", "prompted, warm prefix cache", True),
        ("baked", "baked, adapter", False),
        ("baked", "baked, merged", False),
    ]
    assert found.measured and found.arms[0].prompt_tokens == len("a long prompt")


def test_training_is_paid_back_by_seconds_saved() -> None:
    found = paid_back(measure(timer, "long", "s", 1), TOKENS, 600)
    cold, warm = found.break_even
    # Prompted: 4 or 0.5 s, then 40 tokens at 10 a second; baked: 0.25 s, then 20.
    assert cold.seconds_saved_per_request == pytest.approx(5.75) and cold.requests == round(600 / 5.75)
    assert warm.seconds_saved_per_request == pytest.approx(2.25)


def test_what_saves_nothing_is_never_paid_back() -> None:
    longer = tokens(prompted=1.0, baked=90.0)
    rows = paid_back(measure(timer, "long", "s", 1), longer, 600).break_even
    assert [row.requests for row in rows] == [None, None]
    nothing = ServingCosts()
    assert paid_back(nothing, TOKENS, 600) == nothing
    assert paid_back(measure(timer, "l", "s", 1), TOKENS, 0).break_even == []
