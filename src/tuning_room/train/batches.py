"""From rows of chat messages to batches of token ids."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tuning_room.errors import DataError
from tuning_room.records import Dialogue, Message, read_jsonl
from tuning_room.rendering import Rendered, render_dialogue, shared_prefix

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tuning_room.train.packing import Packing

IGNORED = -100  # the label that PyTorch's cross entropy leaves out
POOL = 16  # batches that are sorted by length together: less padding, and the order still looks random


class Batch(NamedTuple):
    """Rows packed into one sequence of n tokens, what all of them begin with first.

    Token ids, next-token labels and positions are tensors of shape (1, n); the packing says which belong together.
    """

    input_ids: Any
    labels: Any
    position_ids: Any
    packing: "Packing"


class Rows(NamedTuple):
    """Dialogues and their tokens, and how many were left out as too long."""

    dialogues: list[list[Message]]
    rendered: list[Rendered]
    left_out: int = 0


def load_rows(
    path: Path,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    *,
    leave_out: bool = False,
    most: int | None = None,
) -> Rows:
    """Return a file's dialogues as tokens, at most so many.

    One longer than `max_length` tokens is left out and counted where the recipe says so; else DataError names it.
    """
    rows, left_out = Rows([], []), 0
    for dialogue in read_jsonl(path, Dialogue):
        if len(rows.rendered) == most:
            break
        rendered = render_dialogue(tokenizer, dialogue.messages)
        if not any(rendered.learned):
            raise DataError(
                f"{path}: row '{dialogue.id}' has no assistant turn", hint="run 'tuning-room dataset' again"
            )
        if len(rendered.input_ids) <= max_length:
            rows.dialogues.append(dialogue.messages)
            rows.rendered.append(rendered)
        elif leave_out:
            left_out += 1
        else:
            raise DataError(
                f"{path}: row '{dialogue.id}' has {len(rendered.input_ids)} tokens, more than {max_length}",
                hint="raise train.max_length, or set train.too_long to leave_out: nothing is cut off silently",
            )
    if not rows.rendered:
        reason = f"no rows of at most {max_length} tokens" if left_out else "no rows"
        raise DataError(f"{path}: {reason}", hint="run 'tuning-room dataset' and look at dataset/rejected.jsonl")
    return rows._replace(left_out=left_out)


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


def collate(rows: Sequence[Rendered]) -> Batch:
    """Return rows as one batch without padding, their shared beginning once.

    The result and its gradient are those of the rows one by one. The shared system turn is a fifth of a baked row; the
    end of its last turn, behind which nothing is learned, another fortieth.
    """
    import torch

    shared = shared_length(rows)
    parts = [(rows[0], range(shared)), *((row, range(shared, read_length(row))) for row in rows)]
    ids = [row.input_ids[place] for row, part in parts for place in part]
    labels = [_label(row, place) for row, part in parts for place in part]
    positions = [place for _, part in parts for place in part]
    return Batch(torch.tensor([ids]), torch.tensor([labels]), torch.tensor([positions]), _packing(rows, shared))


def _packing(rows: Sequence[Rendered], shared: int) -> "Packing":
    import torch

    from tuning_room.train.packing import Packing

    width = max(map(read_length, rows))
    places = torch.zeros(len(rows), width, dtype=torch.long)
    back = list(range(shared))
    packed = shared
    for number, row in enumerate(rows):
        own = read_length(row) - shared
        places[number, :shared] = torch.arange(shared)
        places[number, shared : shared + own] = torch.arange(packed, packed + own)
        back += range(number * width + shared, number * width + shared + own)
        packed += own
    return Packing(places, torch.tensor(back))


def read_length(row: Rendered) -> int:
    """Return how many tokens of a row have to be read: those before the last one that is learned."""
    count = len(row.input_ids)
    return max(1, count - 1 - row.learned[::-1].index(True)) if any(row.learned) else count


def computed_length(rows: Sequence[Rendered]) -> int:
    """Return how many tokens a batch of rows computes."""
    return sum(map(read_length, rows)) - (len(rows) - 1) * shared_length(rows)


def shared_length(rows: Sequence[Rendered]) -> int:
    """Return how many tokens all rows begin with, each keeping one before the first that is to be learned."""
    prompts = [row.input_ids[: [*row.learned, True].index(True)] for row in rows]
    return len(shared_prefix(prompts)) if len(rows) > 1 else 0


def _label(row: Rendered, place: int) -> int:
    following = place + 1
    return row.input_ids[following] if following < len(row.input_ids) and row.learned[following] else IGNORED
