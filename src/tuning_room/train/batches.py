"""From rows of chat messages to batches of token ids."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tuning_room.errors import DataError
from tuning_room.records import Dialogue, read_jsonl
from tuning_room.rendering import Rendered, render_dialogue

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # the label that PyTorch's cross entropy leaves out
POOL = 16  # batches that are sorted by length together: less padding, and the order still looks random


class Batch(NamedTuple):
    """Token ids and next-token labels, both tensors of shape (rows, longest row)."""

    input_ids: Any
    labels: Any


def load_rows(path: Path, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Rendered]:
    """Return a file's dialogues as tokens; DataError names the row that is longer than max_length tokens."""
    rows = []
    for dialogue in read_jsonl(path, Dialogue):
        rendered = render_dialogue(tokenizer, dialogue.messages)
        if len(rendered.input_ids) > max_length:
            raise DataError(
                f"{path}: row '{dialogue.id}' has {len(rendered.input_ids)} tokens, more than {max_length}",
                hint="raise train.max_length, or drop the row: nothing is cut off silently",
            )
        rows.append(rendered)
    if not rows:
        raise DataError(f"{path}: no rows", hint="run 'tuning-room dataset' and look at dataset/rejected.jsonl")
    return rows


def epoch_order(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return one epoch's batches as row numbers: shuffled, with rows of similar length together."""
    order = random.Random(f"{seed}/{epoch}")
    rows = list(range(len(lengths)))
    order.shuffle(rows)
    pool = batch_size * POOL
    batches = []
    for start in range(0, len(rows), pool):
        near = sorted(rows[start : start + pool], key=lambda row: lengths[row])
        batches += [near[i : i + batch_size] for i in range(0, len(near), batch_size)]
    order.shuffle(batches)
    return batches


def collate(rows: Sequence[Rendered], pad: int) -> Batch:
    """Return rows as one batch, padded on the right.

    No attention mask goes with it: under causal attention no real token sees the padding behind it.
    """
    import torch

    width = max(len(row.input_ids) for row in rows)
    ids = torch.full((len(rows), width), pad)
    labels = torch.full((len(rows), width), IGNORED)
    for i, row in enumerate(rows):
        tokens = torch.tensor(row.input_ids)
        ids[i, : len(tokens)] = tokens
        # The label of a position is the token that follows it.
        learned = torch.tensor([*row.learned[1:], False])
        labels[i, : len(tokens)] = torch.where(learned, tokens.roll(-1), IGNORED)
    return Batch(ids, labels)
