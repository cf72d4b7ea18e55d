"""The metrics of a reply, as lm-evaluation-harness calls them."""

from collections.abc import Mapping
from typing import Any

from tuning_room.checks import METRICS


def process_results(doc: Mapping[str, Any], results: list[str]) -> dict[str, float]:
    """Return every metric of a reply as 0 or 1."""
    return {name: float(metric(results[0], doc["prompt"], doc["gold"])) for name, metric in METRICS.items()}
