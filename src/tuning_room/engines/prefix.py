"""One prefix for a whole batch: its keys and values are kept once, and every dialogue attends to them.

transformers' cache holds the prefix once a dialogue and is copied at every token, which for 24 dialogues under an
800-token prompt is about a gigabyte a token. Here the queries of all dialogues attend to the prefix together, each to
what is its own apart, and the two are joined by their softmax denominators (Hydragen, arXiv 2402.05099). What follows
the prefix is written into room that was reserved.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AttentionInterface, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from tuning_room.errors import EngineError

NAME = "shared_prefix"
FEW_ROWS = 64  # up to so many rows the output layer is multiplied from the left: twice as fast for 8 rows
Pair = tuple[torch.Tensor, torch.Tensor]


class SharedPrefixLayer(DynamicLayer):
    """A layer's prefix, (1, heads, prefix, size) or None, and the dialogues' rest, (dialogues, heads, rest, size)."""

    def __init__(self, prefix: Pair | None, buffers: Pair, length: int) -> None:
        super().__init__()
        self.lazy_initialization(*buffers)
        self.prefix, self._buffers = prefix, buffers
        self._show(length)

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> Pair:
        """Write the new states behind the old ones; the keys that are returned carry the prefix with them."""
        start = self.keys.shape[-2]
        end = start + key_states.shape[-2]
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, start:end] = states
        self._show(end)
        self.keys.shared_prefix = self.prefix
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Return how many tokens a dialogue has so far, the prefix included."""
        return int((self.prefix[0].shape[-2] if self.prefix else 0) + self.keys.shape[-2])

    def choose(self, rows: torch.Tensor) -> None:
        """Drop all dialogues but those of the given indices."""
        length = self.keys.shape[-2]
        keys, values = (_chosen(buffer, rows, length) for buffer in self._buffers)
        self._buffers = (keys, values)
        self._show(length)

    def _show(self, length: int) -> None:
        self.keys, self.values = (buffer[:, :, :length] for buffer in self._buffers)


def _chosen(buffer: torch.Tensor, rows: torch.Tensor, length: int) -> torch.Tensor:
    smaller = buffer.new_empty((len(rows), *buffer.shape[1:]))
    torch.index_select(buffer[:, :, :length], 0, rows, out=smaller[:, :, :length])
    return smaller


def batch_cache(prefix: torch.Tensor | None, rows: Sequence[torch.Tensor | None], like: Any, room: int) -> DynamicCache:
    """Return a cache for a batch: a common prefix, and behind it what is known of each dialogue, to the right.

    States are (layers, 2, heads, tokens, size), keys before values; a row that nothing is known of is None. `like` is
    the model's configuration; `room` counts the tokens that each dialogue may still get.
    """
    width = max((row.shape[3] for row in rows if row is not None), default=0)
    cache = DynamicCache()
    cache.layers = [_layer(number, prefix, rows, like, (width, room)) for number in range(like.num_hidden_layers)]
    return cache


def _layer(
    number: int, prefix: torch.Tensor | None, rows: Sequence[torch.Tensor | None], like: Any, size: tuple[int, int]
) -> SharedPrefixLayer:
    width, room = size
    heads = like.num_key_value_heads
    each = getattr(like, "head_dim", None) or like.hidden_size // like.num_attention_heads
    # Zeros: what is masked must still be a number, since its weight of nought is multiplied with it.
    buffers = torch.zeros(2, len(rows), heads, width + room, each)
    for index, row in enumerate(rows):
        if row is not None:
            buffers[:, index, :, width - row.shape[3] : width] = row[number]
    shared = (prefix[number, 0][None], prefix[number, 1][None]) if prefix is not None else None
    return SharedPrefixLayer(shared, (buffers[0], buffers[1]), width)


def states(cache: DynamicCache, row: int, columns: torch.Tensor) -> torch.Tensor:
    """Return the states of a dialogue's tokens in these columns, (layers, 2, heads, tokens, size)."""
    pairs = [(layer.keys[row], layer.values[row]) for layer in cache.layers]
    return torch.stack([part[:, columns] for pair in pairs for part in pair]).unflatten(0, (-1, 2))


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend to a shared prefix and to what follows it; without a cache of this module it is the library's SDPA.

    The query is (dialogues, heads, new tokens, size); the result is (dialogues, new tokens, heads, size). The mask is
    added to the products with a dialogue's own tokens, (dialogues, 1, 1 or queries of a group, own tokens).
    """
    if not hasattr(key, "shared_prefix"):
        plain: Any = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return plain[0], None
    batch, heads, new, size = query.shape
    groups = key.shape[1]
    grouped = query.reshape(batch, groups, heads // groups * new, size)
    own, own_weight = _flash(grouped, key, value, scaling, attention_mask)
    # Padding sees nothing of its own: its weight is not a number there, and all it gets is from the prefix.
    result = own.nan_to_num()
    if key.shared_prefix is not None:
        shared, shared_weight = _over_prefix(grouped, key.shared_prefix, scaling)
        share = (shared_weight - own_weight.nan_to_num(nan=float("-inf"))).sigmoid()[..., None]
        result = result.lerp(shared, share)
    return result.reshape(batch, heads, new, size).transpose(1, 2), None


def _over_prefix(grouped: torch.Tensor, prefix: Pair, scaling: float | None) -> Pair:
    """Attend with every dialogue's queries, (dialogues, groups, queries, size), to the one prefix at once."""
    batch, groups, count, size = grouped.shape
    together = grouped.transpose(0, 1).reshape(1, groups, batch * count, size)
    result, weight = _flash(together, *prefix, scaling)
    back = result.view(groups, batch, count, size).transpose(0, 1)
    return back, weight.view(groups, batch, count).transpose(0, 1)


def _flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    mask: torch.Tensor | None = None,
) -> Pair:
    """Return attention and the logarithm of its softmax's denominator, by which two results are joined."""
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    result: Pair = flash(query, key, value, attn_mask=mask, scale=scaling)
    return result


def install(model: Any) -> None:
    """Have a model attend through this module; EngineError for one whose layers do not all attend to everything."""
    layers = DynamicCache(config=model.config).layers
    softcap = getattr(model.config, "attn_logit_softcapping", None)
    if softcap or any(type(layer) is not DynamicLayer for layer in layers):
        raise EngineError(
            f"models of type '{model.config.model_type}' do not attend to all tokens in all layers",
            hint="serve it with vLLM; the in-process engine cannot",
        )
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)
    _hasten_output(model.get_output_embeddings())


def _hasten_output(output: Any) -> None:
    """Multiply the output layer's weight with few rows from the left: the CPU's products are faster that way round."""
    plain = output.forward

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        rows = hidden.flatten(0, -2)
        if output.bias is not None or len(rows) > FEW_ROWS:
            return plain(hidden)
        return (output.weight @ rows.t()).t().unflatten(0, hidden.shape[:-1])

    output.forward = forward
