"""Rates of several trainings, put together."""

import pytest

from tuning_room.results import Rate, Results
from tuning_room.trainings import spreads


def results(**rates: float) -> Results:
    found = {metric: Rate(rate=rate, low=0, high=1, count=1, total=1) for metric, rate in rates.items()}
    return Results.model_construct(rates={"baked": {"all": found}})


def test_rates_stand_by_seed_with_their_spread() -> None:
    found = spreads([results(asks=0.9, tells=0.1), results(asks=1.0, tells=0.1)], "baked")
    asks, tells = found["all"]["asks"], found["all"]["tells"]
    assert asks.rates == [0.9, 1.0] and asks.mean == pytest.approx(0.95)
    assert asks.standard_deviation == pytest.approx(0.0707, abs=1e-4)
    assert (tells.standard_deviation, tells.lowest, tells.highest) == (0.0, 0.1, 0.1)


def test_what_not_all_were_asked_is_left_out() -> None:
    other = results(asks=0.5)
    other.rates["baked"]["more"] = {}
    found = spreads([results(asks=1.0, leaks=0.0), other], "baked")
    assert found.keys() == {"all"} and found["all"].keys() == {"asks"}
    assert spreads([results(asks=1.0)], "baked")["all"]["asks"].standard_deviation is None
