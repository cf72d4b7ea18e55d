"""Rates of several trainings, put together."""

from typing import Any

import pytest

from tuning_room.evaluate.seeds import spread


def results(**rates: float) -> dict[str, Any]:
    return {"rates": {"baked": {"all": {metric: {"rate": rate} for metric, rate in rates.items()}}}}


def test_rates_stand_by_seed_with_their_spread() -> None:
    found = spread({7: results(asks=0.9, tells=0.1), 8: results(asks=1.0, tells=0.1)}, "baked")
    assert (found["arm"], found["seeds"]) == ("baked", [7, 8])
    asks, tells = found["suites"]["all"]["asks"], found["suites"]["all"]["tells"]
    assert asks["rates"] == [0.9, 1.0] and asks["mean"] == pytest.approx(0.95)
    assert asks["standard_deviation"] == pytest.approx(0.0707, abs=1e-4)
    assert (tells["standard_deviation"], tells["lowest"], tells["highest"]) == (0.0, 0.1, 0.1)


def test_what_not_all_were_asked_is_left_out() -> None:
    other = {"rates": {"baked": {"more": {}, "all": {"asks": {"rate": 0.5}}}}}
    found = spread({1: results(asks=1.0, leaks=0.0), 2: other}, "baked")
    assert found["suites"].keys() == {"all"} and found["suites"]["all"].keys() == {"asks"}
    assert spread({1: results(asks=1.0)}, "baked")["suites"]["all"]["asks"]["standard_deviation"] is None
