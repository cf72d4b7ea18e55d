"""How rates differ between trainings of different seeds."""

from collections.abc import Mapping
from typing import Any

from tuning_room.evaluate.statistics import across_seeds


def spread(results: Mapping[int, Mapping[str, Any]], arm: str) -> dict[str, Any]:
    """Return, by suite and metric of an arm, the rates of each seed's results and their `Spread`.

    Suites and metrics that not every training has been asked are left out.
    """
    rates = {seed: found["rates"][arm] for seed, found in results.items()}
    first, *others = rates.values()
    return {
        "arm": arm,
        "seeds": list(rates),
        "suites": {
            suite: {
                metric: _across([known[suite][metric]["rate"] for known in rates.values()])
                for metric in metrics
                if all(metric in known.get(suite, {}) for known in others)
            }
            for suite, metrics in first.items()
            if all(suite in known for known in others)
        },
    }


def _across(rates: list[float]) -> dict[str, Any]:
    return {"rates": rates, **across_seeds(rates)._asdict()}
