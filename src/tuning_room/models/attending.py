"""Attention of our own in a model of transformers, for those calls that are made for it."""

from collections.abc import Callable
from typing import Any

# Gives the result as (rows, tokens, heads, size), or None for a call that the library's attention should answer.
Attend = Callable[..., Any]


def attend_by(model: Any, name: str, attend: Attend) -> None:
    """Have a model attend through `attend(module, query, key, value, mask, **more)`; else by the library's SDPA."""
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    def attention(module: Any, query: Any, key: Any, value: Any, mask: Any, **more: Any) -> tuple[Any, None]:
        found = attend(module, query, key, value, mask, **more)
        if found is None:
            found = sdpa_attention_forward(module, query, key, value, mask, **more)[0]
        return found, None

    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, sdpa_mask)
    model.set_attn_implementation(name)
