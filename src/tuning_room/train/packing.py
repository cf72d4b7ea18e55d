"""Rows of a batch in one sequence: no padding in the matrix products, and a shared beginning is computed once.

Attention alone needs each row by itself. It gathers queries, keys and values into (rows, heads, longest row, size),
the shared beginning repeated, attends causally as the library would, and scatters the result back. The gradient of
the shared beginning is thereby the sum over the rows, as it must be.
"""

from typing import Any, NamedTuple

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tuning_room.models import attend_by

NAME = "packed_rows"


class Packing(NamedTuple):
    """Where the tokens of n packed places stand.

    `places`, (rows, longest row): the packed place of each row's tokens, 0 behind its end. `back`, (n): for each
    packed place its index among the flattened `places`.
    """

    places: torch.Tensor
    back: torch.Tensor


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    packing: Packing | None = None,
    **more: Any,
) -> torch.Tensor | None:
    """Attend within each packed row, without a packing not at all.

    The query is (1, heads, n, size); the result is (1, n, heads, size).
    """
    if packing is None:
        return None
    # No mask: under causal attention no token sees the padding behind its row.
    rows = [_by_row(states, packing.places) for states in (query, key, value)]
    result: Any = sdpa_attention_forward(module, *rows, None, **more)
    return result[0].flatten(0, 1).index_select(0, packing.back)[None]


def _by_row(states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return packed states, (1, heads, n, size), as (rows, heads, longest row, size)."""
    rows, width = places.shape
    gathered = states[0].transpose(0, 1).index_select(0, places.flatten())
    return gathered.view(rows, width, *gathered.shape[1:]).transpose(1, 2)


def install(model: Any) -> None:
    """Have a model attend through this module."""
    attend_by(model, NAME, attend)
