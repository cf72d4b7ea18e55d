"""One prefix for a whole batch: its keys and values are kept once, and every dialogue attends to them.

transformers' cache holds the prefix once a dialogue and is copied at every token, which for 24 dialogues under an
800-token prompt is about a gigabyte a token. Here the queries of all dialogues attend to the prefix together, each to
what is its own apart, and the two are joined by their softmax denominators (Hydragen, arXiv 2402.05099). What follows
the prefix is written into room that was reserved.
"""

from typing import Any

import torch
from transformers import AttentionInterface, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "shared_prefix"


class SharedPrefixLayer(DynamicLayer):
    """One layer's prefix, (1, heads, prefix, size), and each dialogue's rest, (dialogues, heads, rest, size)."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, copies: int, room: int) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.prefix = (keys, values)
        shape = (copies, keys.shape[1], room, keys.shape[3])
        self._buffers = (keys.new_empty(shape), values.new_empty(shape))
        self._show(0)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
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
        return int(self.prefix[0].shape[-2] + self.keys.shape[-2])

    def _show(self, length: int) -> None:
        self.keys, self.values = (buffer[:, :, :length] for buffer in self._buffers)


def spread(prefix: DynamicCache, copies: int, room: int) -> DynamicCache:
    """Return a cache in which each of `copies` dialogues begins with the prefix, with room for so many more tokens."""
    cache = DynamicCache()
    cache.layers = [SharedPrefixLayer(layer.keys, layer.values, copies, room) for layer in prefix.layers]
    return cache


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend to a shared prefix and to what follows it; without such a prefix this is the library's SDPA.

    The query is (dialogues, heads, new tokens, size); the result is (dialogues, new tokens, heads, size).
    """
    prefix = getattr(key, "shared_prefix", None)
    if prefix is None:
        plain: Any = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return plain[0], None
    batch, heads, new, size = query.shape
    groups = key.shape[1]
    grouped = query.reshape(batch, groups, heads // groups * new, size)
    shared, shared_weight = _over_prefix(grouped, prefix, scaling)
    mask = _visible(attention_mask, prefix[0].shape[-2], new, key).repeat(1, 1, heads // groups, 1)
    own, own_weight = _flash(grouped, key, value, scaling, torch.zeros(()).where(mask, float("-inf")))
    # Padding sees nothing of its own: its weight is not a number there, and all it gets is from the prefix.
    share = (shared_weight - own_weight.nan_to_num(nan=float("-inf"))).sigmoid()[..., None]
    result = share * shared + (1 - share) * own.nan_to_num()
    return result.reshape(batch, heads, new, size).transpose(1, 2), None


def _over_prefix(
    grouped: torch.Tensor, prefix: tuple[torch.Tensor, torch.Tensor], scaling: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
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
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return attention and the logarithm of its softmax's denominator, by which two results are joined."""
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    result: tuple[torch.Tensor, torch.Tensor] = flash(query, key, value, attn_mask=mask, scale=scaling)
    return result


def _visible(mask: torch.Tensor | None, prefix: int, new: int, key: torch.Tensor) -> torch.Tensor:
    """Return which of a dialogue's own tokens each new one sees, (dialogues or 1, 1, new tokens, own tokens)."""
    own = key.shape[2]
    if mask is None:
        return torch.ones(1, 1, new, own, dtype=torch.bool).tril(own - new)
    return mask[..., prefix : prefix + own]


def install(model: Any) -> None:
    """Have a model attend through this module."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)
