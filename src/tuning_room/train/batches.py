"""From rows of chat messages to packed batches: one sequence without padding, a shared beginning computed once.

Only attention needs each row by itself. It gathers queries, keys and values into (rows, heads, longest row, size), the
shared beginning repeated, attends causally as the library would, and scatters the result back. The gradient of the
shared beginning is thereby the sum over the rows, as it must be.

A worked example: two rows of the tokens `s s a b` and `s s c`, where `s s` is the system turn of both, are packed as
the n = 5 tokens `s s a b c`, at the positions 0 1 2 3 2. Then

    packing.places = [[0, 1, 2, 3],     packed place of each row's tokens, shape (rows, longest row);
                      [0, 1, 4, 0]]     0 fills up the shorter row, and no token attends to what follows it
    packing.back   = [0, 1, 2, 3, 6]    index in the flattened places of each packed place, shape (n,)
"""

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tuning_room.errors import DataError
from tuning_room.models import attend_by
from tuning_room.models.attention import KnownScores, departure, is_same, known_scores, misfit
from tuning_room.records import Dialogue, Message, read_jsonl
from tuning_room.rendering import Rendered, render_dialogue, shared_prefix

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

IGNORED = -100  # the label that PyTorch's cross entropy leaves out
POOL = 16  # batches that are sorted by length together: less padding, and the order still looks random
ATTENTION = "packed_rows"  # the name under which transformers finds our attention


class TrainingRows(NamedTuple):
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
) -> TrainingRows:
    """Return a file's dialogues as tokens; of many, `most` that are spread evenly over the sources.

    A row longer than `max_length` tokens is left out and counted where the recipe says so; else DataError names it.
    """
    dialogues: Iterable[Dialogue] = read_jsonl(path, Dialogue)
    rows, left_out = TrainingRows([], []), 0
    for dialogue in spread(dialogues) if most else dialogues:
        rendered = render_dialogue(tokenizer, dialogue.messages)
        if _fits(path, dialogue, rendered, max_length, leave_out=leave_out):
            rows.dialogues.append(dialogue.messages)
            rows.rendered.append(rendered)
        else:
            left_out += 1
        if len(rows.rendered) == most:
            break
    if not rows.rendered:
        reason = f"no rows of at most {max_length} tokens" if left_out else "no rows"
        raise DataError(f"{path}: {reason}", hint="run 'tuning-room dataset' and look at dataset/rejected.jsonl")
    return rows._replace(left_out=left_out)


def _fits(path: Path, dialogue: Dialogue, rendered: Rendered, max_length: int, *, leave_out: bool) -> bool:
    """Return whether a row can be trained on, or raise DataError if it must not be passed over in silence."""
    if not any(rendered.learned):
        raise DataError(f"{path}: row '{dialogue.id}' has no assistant turn", hint="run 'tuning-room dataset' again")
    if (length := len(rendered.input_ids)) <= max_length or leave_out:
        return length <= max_length
    raise DataError(
        f"{path}: row '{dialogue.id}' has {length} tokens, more than {max_length}",
        hint="raise train.max_length, or set train.too_long to leave_out: no row is ever truncated",
    )


def spread(dialogues: Iterable[Dialogue]) -> list[Dialogue]:
    """Return dialogues so ordered that any number of the first ones is spread evenly over all kinds of source.

    A kind is what comes before the colon of a source, as in `family:midpoint`, and gets the share that it has of all
    rows: of nine rows of one kind and three of another, the first four are three and one. Within a kind the order is
    random, but always the same: a file often begins with rows that are alike.
    """
    kinds: dict[str, list[Dialogue]] = {}
    for dialogue in dialogues:
        kinds.setdefault(dialogue.source.partition(":")[0], []).append(dialogue)
    placed: list[tuple[float, str, Dialogue]] = []
    for kind, rows in kinds.items():
        random.Random(f"{kind}/spread").shuffle(rows)
        placed += [((place + 0.5) / len(rows), kind, row) for place, row in enumerate(rows)]
    return [row for _, _, row in sorted(placed, key=lambda entry: entry[:2])]


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


class Packing(NamedTuple):
    """Where the tokens of n packed places belong, as in the example above.

    `places`, (rows, longest row): the packed place of each row's tokens, 0 behind its end. `back`, (n,): for each
    packed place its index among the flattened `places`; for a shared one that in the first row.
    """

    places: "Tensor"
    back: "Tensor"


class PackedBatch(NamedTuple):
    """Rows packed into one sequence of n tokens, their shared beginning first.

    Token ids, next-token labels and positions are tensors of shape (1, n); the packing says which belong together.
    """

    input_ids: "Tensor"
    labels: "Tensor"
    position_ids: "Tensor"
    packing: Packing

    def to(self, device: "torch.device | str") -> "PackedBatch":
        """Return the batch on a device."""
        ids, labels, positions = (part.to(device) for part in (self.input_ids, self.labels, self.position_ids))
        return PackedBatch(ids, labels, positions, Packing(*(part.to(device) for part in self.packing)))

    def arguments(self) -> dict[str, object]:
        """Return what the model's forward pass is called with."""
        return {"input_ids": self.input_ids, "position_ids": self.position_ids, "packing": self.packing}


class PaddedBatch(NamedTuple):
    """Rows padded on the right, where causal layers of any kind do not see it: ids and labels, (rows, longest row)."""

    input_ids: "Tensor"
    labels: "Tensor"

    def to(self, device: "torch.device | str") -> "PaddedBatch":
        """Return the batch on a device."""
        return PaddedBatch(self.input_ids.to(device), self.labels.to(device))

    def arguments(self) -> dict[str, object]:
        """Return what the model's forward pass is called with."""
        return {"input_ids": self.input_ids}


Batch = PackedBatch | PaddedBatch


def padded(rows: Sequence[Rendered]) -> PaddedBatch:
    """Return rows as one batch for a model whose layers cannot tell packed rows apart."""
    lengths = [read_length(row) for row in rows]
    width = max(lengths)
    ids = [row.input_ids[:length] + [0] * (width - length) for row, length in zip(rows, lengths, strict=True)]
    labels = [
        [_label(row, place) for place in range(length)] + [IGNORED] * (width - length)
        for row, length in zip(rows, lengths, strict=True)
    ]
    return PaddedBatch(torch.tensor(ids), torch.tensor(labels))


def collate(rows: Sequence[Rendered]) -> PackedBatch:
    """Return rows as one batch without padding, their shared beginning once.

    Loss and gradient are those of the rows one by one. In a baked row the shared system turn is a fifth of the tokens;
    the end of the last turn, after which nothing is learned and which is not read, is another fortieth.
    """
    shared = shared_length(rows)
    parts = [(rows[0], range(shared)), *((row, range(shared, read_length(row))) for row in rows)]
    ids = [row.input_ids[place] for row, part in parts for place in part]
    labels = [_label(row, place) for row, part in parts for place in part]
    positions = [place for _, part in parts for place in part]
    return PackedBatch(torch.tensor([ids]), torch.tensor([labels]), torch.tensor([positions]), _packing(rows, shared))


def _packing(rows: Sequence[Rendered], shared: int) -> Packing:
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


def _label(row: Rendered, place: int) -> int:
    following = place + 1
    return row.input_ids[following] if following < len(row.input_ids) and row.learned[following] else IGNORED


def read_length(row: Rendered) -> int:
    """Return how many tokens of a row have to be read: those before the last one that is learned."""
    count = len(row.input_ids)
    return max(1, count - 1 - row.learned[::-1].index(True)) if any(row.learned) else count


def computed_length(rows: Sequence[Rendered]) -> int:
    """Return how many tokens a batch of rows computes."""
    return sum(map(read_length, rows)) - (len(rows) - 1) * shared_length(rows)


def shared_length(rows: Sequence[Rendered]) -> int:
    """Return how many tokens all rows begin with, each keeping one before the first that is to be learned.

    >>> shared_length([Rendered([7, 8, 9, n], [False, False, False, True]) for n in (1, 2)])
    2
    """
    prompts = [row.input_ids[: [*row.learned, True].index(True)] for row in rows]
    return len(shared_prefix(prompts)) if len(rows) > 1 else 0


def attend_packed(model: "PreTrainedModel") -> str:
    """Have a model attend within the rows of a packed batch; it answers other calls as before.

    Returns why its rows cannot be packed, '' if they can; a model whose rows cannot stays as it was.
    """
    if reason := departure(model.config):
        return reason
    expected, own = known_scores(model), model.config._attn_implementation
    try:
        attend_by(model, ATTENTION, attend)
        if _same_when_packed(model, expected):
            return ""
        reason = "its scores would differ"
    except Exception as error:
        reason = misfit(error)
    model.set_attn_implementation(own)
    return reason


def _same_when_packed(model: "PreTrainedModel", known: KnownScores) -> bool:
    """Return whether packed rows get the scores of each row alone."""
    rows = [Rendered(ids, [False] * (len(ids) - 1) + [True]) for ids in known.rows]
    batch = collate(rows).to(model.device)
    with torch.no_grad():
        scores = model(**batch.arguments(), use_cache=False).logits[0]
    return all(
        is_same(scores[places[: read_length(row)]], alone[: read_length(row)])
        for row, places, alone in zip(rows, batch.packing.places, known.scores, strict=True)
    )


def attend(
    module: "torch.nn.Module",
    query: "Tensor",
    key: "Tensor",
    value: "Tensor",
    mask: "Tensor | None",
    packing: Packing | None = None,
    **more: Any,
) -> "Tensor | None":
    """Attend within each packed row; return None where there is no packing.

    The query is (1, heads, n, size), keys and values have as many heads or fewer; the result is (1, n, heads, size).
    """
    if packing is None:
        return None
    # No mask: under causal attention no token sees the padding behind its row.
    rows = [_by_row(states, packing.places) for states in (query, key, value)]
    result: Any = sdpa_attention_forward(module, *rows, None, **more)
    return result[0].flatten(0, 1).index_select(0, packing.back)[None]


def _by_row(states: "Tensor", places: "Tensor") -> "Tensor":
    """Return packed states, (1, heads, n, size), as (rows, heads, longest row, size)."""
    rows, width = places.shape
    gathered = states[0].transpose(0, 1).index_select(0, places.flatten())  # (rows * longest row, heads, size)
    return gathered.view(rows, width, *gathered.shape[1:]).transpose(1, 2)
