"""A LoRA layer's forward pass with less around it, and for some rows of a batch only.

PEFT scales and adds in passes of their own over the layer's whole result. Here the second product adds to it. The rows
of each adapter stand together in one batch, those of the base model behind them, as in vLLM's multi-LoRA serving
(Punica, arXiv 2310.18547). Merged weights would be faster still, but what is measured would no longer be what vLLM
serves, and switching the adapter off would take a second copy of the weights (docs/lab_log.md).
"""

from collections.abc import Mapping
from types import MethodType
from typing import Any

import torch


class AdaptedRows:
    """How many rows of a batch each of PEFT's adapters is applied to, one after another from the first row on.

    None for all rows and the adapter that is switched on.
    """

    counts: Mapping[str, int] | None = None


def hasten(model: Any) -> AdaptedRows | None:
    """Shorten the forward pass of a model's plain LoRA layers; all others stay as PEFT made them.

    Returns what says which rows are adapted, or None where a layer cannot be told.
    """
    from peft.tuners.lora import Linear
    from peft.tuners.lora.layer import LoraLayer

    rows = AdaptedRows()
    for module in model.modules():
        plain = type(module) is Linear and not module.lora_variant and not any(module.lora_bias.values())
        if plain and len(module.active_adapters) == 1:
            module.forward = MethodType(_forward, module)
            module.adapted_rows = rows
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    return rows if all(hasattr(layer, "adapted_rows") for layer in layers) else None


def _forward(layer: Any, hidden: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = layer.base_layer(hidden)
    if layer.disable_adapters:
        return result
    counts, start = layer.adapted_rows.counts, 0
    if counts is None:
        counts = dict.fromkeys(layer.active_adapters, len(hidden))
    for name, count in counts.items():
        rows, start = slice(start, start + count), start + count
        if count and name in layer.lora_A:
            _add(layer, name, hidden[rows], result[rows])
    return result


def _add(layer: Any, name: str, hidden: torch.Tensor, result: torch.Tensor) -> None:
    down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
    low = torch.nn.functional.linear(hidden, down)
    # In place: the result is this layer's own, and nothing is differentiated here.
    result.flatten(0, -2).addmm_(low.flatten(0, -2), up.t(), alpha=layer.scaling[name])
