"""What the adapter changes where it should change nothing: its divergence from the base on neutral texts."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from tuning_room.errors import AdapterMismatchError, DataError
from tuning_room.evaluate.arms import ADAPTER, BASE
from tuning_room.evaluate.statistics import bootstrap_mean
from tuning_room.records import read_json, write_json

TEXTS = 16  # so many neutral texts are read unless all items are asked for: they cost as much as 40 replies
LEAST_MOVE = 1e-6  # nats a token: an adapter that moves less is not applied


class Diverging(Protocol):
    """An engine that can compare the predictions of two of its models."""

    def divergence(self, texts: Sequence[str], first: str, second: str) -> Any:
        """Return `mean`, the KL divergence of first from second in nats a token, and `tokens`."""


def divergence(engine: Diverging, texts: Sequence[str]) -> dict[str, Any]:
    """Return KL(adapter || base) in nats a token over all texts, its 95 % interval over texts, and their number."""
    found = [engine.divergence([text], ADAPTER, BASE) for text in texts]
    mean, low, high = bootstrap_mean([one.mean * one.tokens for one in found], [one.tokens for one in found])
    return {"kl": mean, "low": low, "high": high, "texts": len(texts), "tokens": sum(one.tokens for one in found)}


def check_applied(kl: float, adapter: Path) -> None:
    """Raise AdapterMismatchError if an adapter changes nothing: an arm would then be the base under another name."""
    if kl < LEAST_MOVE:
        raise AdapterMismatchError(
            f"{adapter}: the adapter changes nothing, it is not applied or was not trained",
            hint="train again, or check the layers that the adapter names",
        )


def kept(path: Path, parts: Any, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what was measured under the same parts, or else measure it and keep it."""
    key = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
    try:
        found = read_json(path) if path.is_file() else {}
    except DataError:
        found = {}
    if found.get("key") != key:
        found = {"key": key, **measure()}
        write_json(path, found)
    return {name: value for name, value in found.items() if name != "key"}
