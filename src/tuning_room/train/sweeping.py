"""Which learning rate, rank and number of epochs suit a dataset: each combination gets the same number of steps.

Where there are not enough rows for that, a combination takes fewer. They are ranked by behaviour first: the share of
replies to validation prompts that the dataset's own checks accept, then by the validation loss. A combination that was
tried is not tried again, and a sweep that was interrupted continues.
"""

import gc
import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product
from pathlib import Path
from typing import NamedTuple

from tuning_room.checks import CheckSettings
from tuning_room.errors import DivergedError, TrainingError
from tuning_room.files import atomic_writer, digest
from tuning_room.records import Dialogue, Tried, read_json, read_jsonl, write_json
from tuning_room.train.config import LoopConfig, SweepConfig, TrainConfig

RATES = (0.5, 1.0, 2.0)  # times the recipe's learning rate, where its sweep names none
REPLY_TOKENS = 48
RESULT = "tried.json"


class Combination(NamedTuple):
    """What one training of a sweep is run with."""

    learning_rate: float
    rank: int
    epochs: int


Judge = Callable[[Path], tuple[float | None, int]]  # an adapter's folder to the share accepted and how many replies


def combinations(config: TrainConfig) -> list[Combination]:
    """Return all combinations that a recipe asks for."""
    sweep = config.sweep or SweepConfig()
    rates = sweep.learning_rate or [round(config.learning_rate * share, 10) for share in RATES]
    return [Combination(*each) for each in product(rates, sweep.rank or [config.rank], sweep.epochs or [config.epochs])]


def sweep(config: TrainConfig, loop: LoopConfig, folder: Path, judge: Judge) -> Iterator[Tried]:
    """Train and judge each combination, yielding it when it is done; what was tried before is yielded from disk.

    A combination whose loss diverges is kept with the reason: another one may work. Raises TrainingError if all of them
    diverge, and for what is no combination's fault.
    """
    wanted = config.sweep or SweepConfig()
    budget, tried = wanted.steps, []
    for combination in combinations(config):
        variant = _variant(config, loop, combination, budget)
        place = folder / _key(variant, wanted, config.checks)
        if not (place / RESULT).is_file():
            write_json(place / RESULT, _try(combination, variant, place, budget, judge).model_dump())
        tried.append(Tried.model_validate(read_json(place / RESULT)))
        yield tried[-1]
    if all(one.failed for one in tried):
        hint = "lower train.sweep.learning_rate"
        raise TrainingError(f"no combination could be trained: {tried[0].failed}", hint=hint)


def ranked(tried: Sequence[Tried]) -> list[Tried]:
    """Return what was tried, best first; failures last."""

    def order(one: Tried) -> tuple[bool, float, float]:
        return bool(one.failed), -(one.accepted or 0.0), one.valid_loss if one.valid_loss is not None else 0.0

    return sorted(tried, key=order)


def judge_by(checks: CheckSettings, model: Path, rows: Path, count: int) -> Judge:
    """Return a judge that lets an adapter answer the prompts of `count` rows and applies the checks to its replies.

    The rows are spread over the sources, as those of the validation loss are.
    """

    def judge(adapter: Path) -> tuple[float | None, int]:
        from tuning_room.checks import Exchange, rejected_by
        from tuning_room.engines import Sampling
        from tuning_room.engines.local import LocalEngine
        from tuning_room.train.batches import spread

        drawn = islice(spread(read_jsonl(rows, Dialogue)), count)
        dialogues = [dialogue.messages[:-1] for dialogue in drawn]
        if not checks or not dialogues:
            return None, 0
        engine = LocalEngine(model, adapters={"tried": adapter})
        replies = engine.complete("tried", dialogues, Sampling(max_tokens=REPLY_TOKENS))
        asked = ["\n".join(turn.content for turn in turns if turn.role == "user") for turns in dialogues]
        exchanges = [Exchange(reply.text, words) for reply, words in zip(replies, asked, strict=True)]
        return sum(not rejected_by(checks, exchange)[0] for exchange in exchanges) / len(exchanges), len(exchanges)

    return judge


def _try(combination: Combination, loop: LoopConfig, place: Path, budget: int, judge: Judge) -> Tried:
    started = time.monotonic()
    rows = place / "train.jsonl"
    _write_share(loop.data_path, rows, max(1, budget * loop.batch_size // combination.epochs), loop.seed)
    steps, valid_loss, failed = _train(loop.model_copy(update={"data_path": rows}), place)
    gc.collect()  # the judge loads a model of its own, and memory need only hold one
    accepted, replies = (None, 0) if failed else judge(place / "adapter")
    return Tried(
        **combination._asdict(),
        steps=steps,
        valid_loss=valid_loss,
        accepted=accepted,
        replies=replies,
        seconds=round(time.monotonic() - started, 1),
        failed=failed,
    )


def _train(loop: LoopConfig, place: Path) -> tuple[int, float | None, str]:
    """Train an adapter into a folder; return its steps, its best validation loss, and why it diverged if it did."""
    from tuning_room.train.loop import LoraTrainer

    try:
        trainer = LoraTrainer(loop.model_copy(update={"ckpt_output_dir": place / "training"}))
        trainer.train().save_pretrained(place / "adapter", save_embedding_layers=False)
    except DivergedError as error:
        return 0, None, str(error)
    return trainer.done, trainer.best.found.valid_loss if trainer.best.found else None, ""


def _variant(config: TrainConfig, loop: LoopConfig, combination: Combination, budget: int) -> LoopConfig:
    # Alpha goes with the rank: the update's scale stays what it is, and rank alone is tried.
    values = {
        **combination._asdict(),
        "alpha": max(1, round(config.alpha * combination.rank / config.rank)),
        "max_steps": budget,
        "on_policy_steps": 0,
    }
    return loop.model_copy(update=values)


def _write_share(source: Path, target: Path, count: int, seed: int) -> None:
    """Write `count` of a file's rows, drawn at random: an epoch over fewer rows takes fewer steps."""
    # As bytes: a text also ends its lines at U+2028 and the like, which stand within rows.
    lines = [line.decode() for line in source.read_bytes().split(b"\n") if line.strip()]
    order = list(range(len(lines)))
    random.Random(f"{seed}/sweep").shuffle(order)
    with atomic_writer(target) as out:
        out.writelines(lines[place] + "\n" for place in sorted(order[:count]))


def _key(loop: LoopConfig, wanted: SweepConfig, checks: CheckSettings) -> str:
    from tuning_room.checks import files

    depends = [loop.fingerprint(), wanted.steps, wanted.prompts, checks, [digest(path) for path in files(checks)]]
    return hashlib.sha256(json.dumps(depends, default=str).encode()).hexdigest()[:12]
