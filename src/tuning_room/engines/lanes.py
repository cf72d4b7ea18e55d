"""Dialogues of a batch in lanes: of one prefix and similar length each, so that none is padded to the longest.

transformers' cache holds a prefix once per dialogue and is copied at every token, which for 24 dialogues under an
800-token prompt is about a gigabyte a token. Here the queries of all dialogues attend to their prefix together and to
their own tokens lane by lane; the two results are joined by their softmax denominators (Hydragen, arXiv 2402.05099).
What follows the prefix is written into reserved room. All other layers see one batch of all lanes.

Joining two parts of one attention: over tokens A with scores 1 and 2 the denominator is e^1 + e^2 = 10.1, its logarithm
2.31; over B with score 3 it is e^3, its logarithm 3. Attention over A and B together is

    w attention(A) + (1 - w) attention(B),   w = 10.1 / (10.1 + e^3) = sigmoid(2.31 - 3) = 0.33

A lane of two dialogues, the first of which has two tokens of its own, the second three, with room for two more; `x` is
masked, `.` is free. `length` is 3; the next tokens are written into the fourth column of every row.

    x a b . .
    c d e . .
"""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from tuning_room.models import attend_by

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

NAME = "lanes"
MOST = 1 << 27  # scores that attention off the CPU holds at once: half a gigabyte
Pair = tuple[Tensor, Tensor]


class Lane:
    """Dialogues of one prefix, from row `start` of the batch on, and the keys and values of their own tokens.

    `prefix` and what is `known` of each dialogue after it are (layers, 2, heads, tokens, size), keys before values, or
    None; the known tokens are aligned to the right. `model` reads them, `room` is the number of tokens yet to come.
    """

    def __init__(
        self, start: int, prefix: Tensor | None, known: Sequence[Tensor | None], model: "PreTrainedModel", room: int
    ) -> None:
        config, device = model.config, model.device
        self.start, self.prefix = start, prefix
        sizes = [0 if states is None else states.shape[3] for states in known]
        self.length = max(sizes)
        each = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (config.num_hidden_layers, 2, len(known), config.num_key_value_heads, self.length + room, each)
        self.states = torch.empty(shape, device=device)  # (layers, 2, dialogues, heads, tokens, size)
        self.mask = torch.zeros(len(known), 1, 1, self.length + room, device=device)
        self.shown = self.mask
        for row, (size, states) in enumerate(zip(sizes, known, strict=True)):
            self.mask[row, ..., : self.length - size] = float("-inf")
            # Masked values are multiplied by a weight of 0, which NaN would survive.
            self.states[:, :, row, :, : self.length - size] = 0
            if states is not None:
                self.states[:, :, row, :, self.length - size : self.length] = states

    @property
    def rows(self) -> slice:
        """Return which dialogues of the batch are in this lane."""
        return slice(self.start, self.start + len(self.mask))

    def show(self, gaps: Tensor, width: int, queries: int) -> None:
        """Set the mask for `width` new tokens, of which each dialogue's first `gaps`, (rows, 1), are padding.

        A mask is (dialogues, 1, 1 or queries of a group x new tokens, own tokens): 0 where a token is seen. With two
        tokens of its own, two new ones and two queries a group, a dialogue without a gap gets four rows:

            0 0 0 -inf
            0 0 0 0
            0 0 0 -inf
            0 0 0 0
        """
        for row, gap in enumerate(gaps[self.rows, 0].tolist()):
            if gap:
                self.mask[row, ..., self.length : self.length + gap] = float("-inf")
        self.shown = self.mask[..., : self.length + width]
        if width > 1:
            later = self.mask.new_full((width, width), float("-inf")).triu(1)
            self.shown = self.shown.repeat(1, 1, width, 1)
            self.shown[..., self.length :] += later
            self.shown = self.shown.repeat(1, 1, queries, 1)

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Write a layer's new states, (rows of the batch, heads, new tokens, size), after the old ones."""
        end = self.length + keys.shape[2]
        for kind, new in enumerate((keys, values)):
            self.states[layer, kind, :, :, self.length : end] = new[self.rows]

    def own(self, layer: int, width: int) -> Pair:
        """Return a layer's keys and values up to the last new token, (dialogues, heads, tokens, size) each."""
        keys, values = self.states[layer, :, :, :, : self.length + width]
        return keys, values

    def row(self, place: int, count: int) -> Tensor:
        """Return the first states of the dialogue at a place in the batch, (layers, 2, heads, tokens, size)."""
        row = place - self.start
        columns = (self.mask[row, 0, 0, : self.length] == 0).nonzero()[:count, 0]
        return self.states[:, :, row].index_select(3, columns)

    def grow(self, room: int) -> None:
        """Make room for more tokens if there is none left."""
        if self.length < self.states.shape[4]:
            return
        wider = self.states.new_empty((*self.states.shape[:4], self.length + room, self.states.shape[5]))
        wider[:, :, :, :, : self.length] = self.states
        self.states, self.mask = wider, torch.nn.functional.pad(self.mask, (0, room))

    def choose(self, rows: list[int], start: int) -> "Lane | None":
        """Keep only these dialogues of the batch, and stand at `start`; None if none of them is here."""
        mine = [row - self.start for row in rows if self.rows.start <= row < self.rows.stop]
        if not mine:
            return None
        if len(mine) < len(self.mask):
            chosen = torch.tensor(mine, device=self.states.device)
            smaller = self.states.new_empty((*self.states.shape[:2], len(mine), *self.states.shape[3:]))
            known = self.states[:, :, :, :, : self.length]
            torch.index_select(known, 2, chosen, out=smaller[:, :, :, :, : self.length])
            self.states, self.mask = smaller, self.mask[chosen]
        self.start = start
        return self


class LanesLayer(DynamicLayer):
    """One layer's view of the lanes, as transformers' cache has it."""

    def __init__(self, number: int, lanes: list[Lane]) -> None:
        super().__init__()
        self.number, self.lanes = number, lanes
        nothing = torch.empty(0)
        self.lazy_initialization(nothing, nothing)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> Pair:
        """Write the new states into the lanes; the keys that are returned know where to find them."""
        for lane in self.lanes:
            lane.write(self.number, key_states, value_states)
        keys: Any = key_states
        keys.layer = self
        return keys, value_states

    def get_seq_length(self) -> int:
        """Return 0: positions and masks come with every call."""
        return 0


def lanes_cache(lanes: list[Lane], config: "PreTrainedConfig") -> DynamicCache:
    """Return a cache over lanes, for a model of this configuration."""
    cache = DynamicCache()
    cache.layers = [LanesLayer(number, lanes) for number in range(config.num_hidden_layers)]
    return cache


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None = None,
    **more: object,
) -> Tensor | None:
    """Attend to the prefixes and to what follows them; None for a call without a cache of this module.

    The query is (dialogues, heads, new tokens, size), the result (dialogues, new tokens, heads, size).
    """
    if not hasattr(key, "layer"):
        return None
    batch, heads, new, size = query.shape
    layer: LanesLayer = key.layer
    groups = key.shape[1]
    # The heads that share a key: (dialogues, groups, queries of a group x new tokens, size).
    grouped = query.reshape(batch, groups, heads // groups * new, size)
    parts = [attention(grouped[lane.rows], *lane.own(layer.number, new), scaling, lane.shown) for lane in layer.lanes]
    # Padding sees no tokens of its own: NaN here, so that all it gets is from the prefix.
    result = torch.cat([own for own, _ in parts]).nan_to_num_()
    weights = torch.cat([weight for _, weight in parts]).nan_to_num_(nan=float("-inf"))
    for _, run in groupby(layer.lanes, key=lambda lane: id(lane.prefix)):
        first, *_, last = [*run] * 2
        if first.prefix is not None:
            rows = slice(first.rows.start, last.rows.stop)
            keys, values = first.prefix[layer.number][:, None]
            shared, shared_weight = _over_prefix(grouped[rows], (keys, values), scaling)
            result[rows] = result[rows].lerp(shared, (shared_weight - weights[rows]).sigmoid()[..., None])
    return result.reshape(batch, heads, new, size).transpose(1, 2)


def _over_prefix(grouped: Tensor, prefix: Pair, scaling: float | None) -> Pair:
    """Attend with every dialogue's queries, (dialogues, groups, queries, size), to the one prefix at once."""
    batch, groups, count, size = grouped.shape
    together = grouped.transpose(0, 1).reshape(1, groups, batch * count, size)
    result, weight = attention(together, *prefix, scaling)
    back = result.view(groups, batch, count, size).transpose(0, 1)
    return back, weight.view(groups, batch, count).transpose(0, 1)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float | None,
    mask: Tensor | None = None,
) -> Pair:
    """Return attention and the logarithm of its softmax's denominator, by which two results are joined.

    Queries, keys and values have as many heads; the mask is added to the scores.
    """
    if query.device.type != "cpu":
        return plain_attention(query, key, value, scaling, mask)
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    result: Pair = flash(query, key, value, attn_mask=mask, scale=scaling)
    return result


def plain_attention(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, mask: Tensor | None) -> Pair:
    """Return the same on any device, by a product, a softmax and a product, as many queries at once as `MOST` allows.

    A query that sees no token gets NaN, and minus infinity for a logarithm.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    at_once = max(1, MOST // (query.shape[0] * query.shape[1] * key.shape[2]))
    parts = []
    for start in range(0, query.shape[2], at_once):
        scores = (query[:, :, start : start + at_once] * scale) @ key.transpose(-1, -2)
        if mask is not None:
            scores += mask if mask.shape[2] == 1 else mask[:, :, start : start + at_once]
        parts.append((scores.softmax(-1) @ value, scores.logsumexp(-1)))
    results, weights = zip(*parts, strict=True)
    return torch.cat(results, dim=2), torch.cat(weights, dim=2)


def install(model: "PreTrainedModel") -> None:
    """Make a model attend through this module; every layer of it must attend to all tokens (models/attention.py)."""
    attend_by(model, NAME, attend)
