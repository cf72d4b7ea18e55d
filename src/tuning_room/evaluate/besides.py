"""What is measured besides the replies: divergence from the base, the cost of a request, and the harness's own tasks.

Each result is kept in a file of its own under a digest of all that it depends on, and is not measured twice.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from tuning_room.errors import AdapterMismatchError, DataError
from tuning_room.evaluate.config import ADAPTER, BASE, ArmSetup, EvaluateConfig
from tuning_room.evaluate.economics import ROUNDS, TOKENS, measure, watch
from tuning_room.evaluate.statistics import bootstrap_mean
from tuning_room.evaluate.suites import read_items, spread
from tuning_room.files import digest, value_digest
from tuning_room.models import gpu_name
from tuning_room.progress import ProgressBar
from tuning_room.records import Record, read_json, write_json
from tuning_room.results import Besides, Retention, ServingCosts, StandardScores
from tuning_room.workspace import Workspace

if TYPE_CHECKING:
    from tuning_room.engines.local import LocalEngine

TEXTS = 16  # neutral texts read unless all items are requested: they cost as much as 40 replies

K = TypeVar("K", bound=Record)


class Moved(Protocol):
    """How far two models are apart on texts: `mean` in nats per token, over `tokens` tokens."""

    @property
    def mean(self) -> float: ...  # noqa: D102

    @property
    def tokens(self) -> int: ...  # noqa: D102


class Diverging(Protocol):
    """An engine that can compare the predictions of two of its models."""

    def divergence(self, texts: Sequence[str], first: str, second: str) -> Moved:
        """Return the KL divergence of first from second."""


class Measuring(NamedTuple):
    """What the measurements share; the engine is loaded only when one of them has to be made."""

    config: EvaluateConfig
    workspace: Workspace
    arms: Sequence[ArmSetup]
    model_folder: Path
    full_prompt: str
    digests: tuple[str, str]  # of the base model and of the adapter
    engine: Callable[[], "LocalEngine"]

    def all(self) -> Besides:
        """Return everything that the recipe asks for of the arms in this process."""
        return Besides(self._divergence(), self._economics(), self._standard())

    def _divergence(self) -> Retention | None:
        neutral = self.config.neutral
        if not neutral or not any(arm.has_adapter for arm in self.arms):
            return None
        items = read_items(neutral)
        texts = [item.prompt for item in (items if self.config.all_items else spread(items, TEXTS, self.config.seed))]
        parts = [*self.digests, texts]
        return _kept(self.workspace.divergence, parts, Retention, lambda: divergence(self.engine(), texts))

    def _economics(self) -> ServingCosts:
        here = {arm.name for arm in self.arms if not arm.endpoint}
        if not self.config.economics or not {"prompted", "baked"} <= here:
            return ServingCosts()
        rounds = 2 * ROUNDS if self.config.all_items else ROUNDS
        full, short = self.full_prompt, self.config.short_prompt
        parts = [*self.digests, full, short, rounds, TOKENS, *filter(None, [gpu_name()])]
        timed = lambda: measure(watch(self.engine), full, short, rounds)  # noqa: E731
        found = _kept(self.workspace.timing, parts, ServingCosts, timed)
        record = self.workspace.records().get("train")
        return found.model_copy(update={"training_seconds": record.seconds if record else 0.0})

    def _standard(self) -> StandardScores:
        config = self.config.standard
        if not config:
            return StandardScores()
        from tuning_room.evaluate.standard import HarnessArm, run_standard

        arms = [HarnessArm("base", None, ""), HarnessArm("baked", self.workspace.adapter, self.config.short_prompt)]
        here = {arm.name for arm in self.arms if not arm.endpoint}
        chosen = [one for one in arms if one.arm in here]
        own = digest(config.include) if config.include else ""
        parts = [*self.digests, config.model_dump(mode="json"), own, [one.arm for one in chosen]]
        with ProgressBar("standard tasks", None) as bar:
            run = lambda: run_standard(config, self.model_folder, chosen, bar.describe)  # noqa: E731
            found = _kept(self.workspace.standard, parts, StandardScores, run)
        if found.missing:
            self.workspace.standard.unlink()  # data that is missing today may be there tomorrow
        return found


def divergence(engine: Diverging, texts: Sequence[str]) -> Retention:
    """Return KL(adapter || base) in nats per token over all texts, its 95 % interval over texts, and their number."""
    found = [engine.divergence([text], ADAPTER, BASE) for text in texts]
    mean, low, high = bootstrap_mean([one.mean * one.tokens for one in found], [one.tokens for one in found])
    return Retention(kl=mean, low=low, high=high, texts=len(texts), tokens=sum(one.tokens for one in found))


def check_applied(kl: float, adapter: Path) -> None:
    """Raise AdapterMismatchError if an adapter changes nothing: its arms would be the base under another name."""
    if not kl >= 1e-6:  # nats per token; NaN is no better
        raise AdapterMismatchError(
            f"{adapter}: the adapter changes nothing: it is not applied, or was not trained",
            hint="train again, or check the layers that the adapter names",
        )


def _kept(path: Path, parts: Sequence[Any], kind: type[K], measure: Callable[[], K]) -> K:
    """Return what was measured before for the same parts, or else measure it and keep it."""
    key = value_digest(parts)
    try:
        before = read_json(path) if path.is_file() else {}
        if before.get("key") == key and before["digest"] == value_digest([key, before["found"]]):
            return kind.model_validate(before["found"])
    except (DataError, ValueError, KeyError, AttributeError):
        pass  # damaged, or written by an older version: measure it again
    found = measure()
    values = found.model_dump(mode="json")
    write_json(path, {"key": key, "found": values, "digest": value_digest([key, values])})
    return found
