"""The items of a suite and the metrics of a reply, as lm-evaluation-harness calls for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuning_room.checks import METRICS
from tuning_room.records import Item, read_jsonl


def load_items(items: str, **_metadata: Any) -> dict[str, Any]:
    """Return a file of items as the harness's split `test`; DataError names the line that is not one."""
    from datasets import Dataset

    # Its own JSON reader would make dates of answers that look like some.
    return {"test": Dataset.from_list([item.model_dump() for item in read_jsonl(Path(items), Item)])}


def process_results(doc: Mapping[str, Any], results: list[str]) -> dict[str, float]:
    """Return every metric of a reply as 0 or 1."""
    return {name: float(metric(results[0], doc["prompt"], doc["gold"])) for name, metric in METRICS.items()}
