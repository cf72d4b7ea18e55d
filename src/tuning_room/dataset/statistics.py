"""A dataset in numbers, read from its files."""

import heapq
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, quantiles
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from tuning_room.dataset.config import DatasetConfig, DatasetResult
from tuning_room.dataset.diversity import distinct, self_bleu, tokens
from tuning_room.errors import TuningRoomError
from tuning_room.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SAMPLE = 1000  # rows from which tokens and diversity are taken: more would only take longer
COUNTED = ("topic", "situation")

Row = dict[str, Any]


class TokenLengths(BaseModel):
    """Number of tokens per row under the model's own chat template, system turn included."""

    model: str
    rows: int
    mean: float
    median: float
    p95: float
    most: int


class Diversity(BaseModel):
    """How varied the replies of a sample are."""

    rows: int
    replies: int
    distinct_1: float
    distinct_2: float
    distinct_3: float
    self_bleu_4: float


class FunnelStep(BaseModel):
    """A step of the funnel: the number of candidates left after it, and of those rejected, by reason."""

    name: str
    left: int
    rejected: dict[str, int] = {}


class Statistics(BaseModel):
    """The numbers of a dataset; `tokens` is None where the model is not available, and `tokens_missing` says why."""

    rows: int
    replies: dict[int, int]
    tokens: TokenLengths | None
    tokens_missing: str = ""
    diversity: Diversity
    funnel: list[FunnelStep]
    counts: dict[str, dict[str, int]]
    requirements: dict[str, int] = {}
    warnings: list[str] = []


def statistics(files: list[Path], config: DatasetConfig, result: DatasetResult) -> Statistics:
    """Return the statistics of the rows in `files`, which are streamed; a sample is kept in memory."""
    replies: Counter[int] = Counter()
    counts: dict[str, Counter[str]] = {}
    for row in _rows(files):
        replies[sum(turn["role"] == "assistant" for turn in row["messages"])] += 1
        for name, value in _labels(row):
            counts.setdefault(name, Counter())[value] += 1
    sample = heapq.nsmallest(SAMPLE, _rows(files), key=lambda row: (zlib.crc32(row["id"].encode()), row["id"]))
    counted, missing = _tokens(sample, config.model)
    return Statistics(
        rows=replies.total(),
        replies=dict(sorted(replies.items())),
        tokens=counted,
        tokens_missing=missing,
        diversity=_diversity(sample),
        funnel=funnel(result, list(config.checks)),
        counts={name: dict(counter.most_common()) for name, counter in counts.items()},
        requirements=result.requirements,
        warnings=result.warnings,
    )


def _rows(files: list[Path]) -> Iterator[Row]:
    for file in files:
        with file.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _labels(row: Row) -> Iterator[tuple[str, str]]:
    yield "source", row["source"].split(":")[0]
    yield from ((name, row[name]) for name in COUNTED)
    yield from row.get("traits", {}).items()


def _diversity(rows: list[Row]) -> Diversity:
    replies = [tokens(turn["content"]) for row in rows for turn in row["messages"] if turn["role"] == "assistant"]
    shares = {f"distinct_{size}": round(distinct(replies, size), 4) for size in (1, 2, 3)}
    return Diversity(rows=len(rows), replies=len(replies), self_bleu_4=round(self_bleu(replies), 4), **shares)


def _tokens(rows: list[Row], model: str) -> tuple[TokenLengths | None, str]:
    if not model or not rows:
        return None, "no model is named" if rows else "there are no rows"
    try:
        lengths = _lengths(rows, model)
    except TuningRoomError as error:
        # The data is good without its length in tokens; training will report the same error.
        return None, str(error)
    cuts = quantiles(lengths, n=20, method="inclusive") if len(lengths) > 1 else lengths * 19
    mean = round(fmean(lengths), 1)
    return TokenLengths(model=model, rows=len(rows), mean=mean, median=cuts[9], p95=cuts[18], most=max(lengths)), ""


def _lengths(rows: list[Row], model: str) -> list[int]:
    from tuning_room.models import resolve
    from tuning_room.rendering import render_text

    tokenizer = _tokenizer(resolve(model))
    texts = [render_text(tokenizer, [Message(**turn) for turn in row["messages"]], ask=False) for row in rows]
    encoded: Any = tokenizer(texts, add_special_tokens=False)
    return [len(ids) for ids in encoded["input_ids"]]


def _tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    from tuning_room.models import load_tokenizer
    from tuning_room.models.templates import fold_system

    if not (folder / "tokenizer.json").is_file():
        return load_tokenizer(folder)
    # The same tokens without importing torch, which would take longer than all else that this stage does.
    from transformers import PreTrainedTokenizerFast

    tokenizer: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(str(folder))
    fold_system(tokenizer)
    return tokenizer


def funnel(result: DatasetResult, checks: list[str]) -> list[FunnelStep]:
    """Return what is left of the candidates after each step, in the order in which a row goes through them."""
    left = result.accepted + sum(result.rejected.values())
    steps = [FunnelStep(name="generated", left=left)]
    held_to = [*checks, *(reason for reason in result.rejected if reason.startswith("requirement:"))]
    named = {"answered": ["error"], "reviewed": ["reviewed"], "checks": held_to, "decontamination": ["held_out"]}
    known = {reason for reasons in named.values() for reason in reasons}
    named["duplicates"] = [reason for reason in result.rejected if "duplicate" in reason]
    named["selection"] = [reason for reason in result.rejected if reason not in {*known, *named["duplicates"]}]
    for name, reasons in named.items():
        lost = {reason: result.rejected[reason] for reason in reasons if reason in result.rejected}
        left -= sum(lost.values())
        if lost or name in ("checks", "decontamination", "duplicates"):
            steps.append(FunnelStep(name=name, left=left, rejected=lost))
    return [
        *steps,
        FunnelStep(name="training rows", left=result.train),
        FunnelStep(name="validation rows", left=result.valid),
    ]
