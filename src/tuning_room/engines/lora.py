"""A LoRA layer's forward pass with less around it, and for some rows of a batch only.

PEFT scales and adds in passes of their own over the layer's whole result. Here the second product adds to it. The rows
of the base model stand behind those of the adapter in one batch, as in vLLM's multi-LoRA serving (Punica, arXiv
2310.18547). Merged weights would be faster still, but what is measured would no longer be what vLLM serves, and
switching the adapter off would take a second copy of the weights (docs/lab_log.md).
"""

from types import MethodType
from typing import Any

import torch


class AdaptedRows:
    """How many rows of a batch, from the first on, the adapter is applied to; None for all."""

    count: int | None = None


def hasten(model: Any) -> AdaptedRows | None:
    """Shorten the forward pass of a model's plain LoRA layers; all others stay as PEFT made them.

    Returns what says which rows are adapted, or None where a layer cannot be told.
    """
    from peft.tuners.lora import Linear
    from peft.tuners.lora.layer import LoraLayer

    rows = AdaptedRows()
    for module in model.modules():
        if type(module) is Linear and not module.lora_variant and len(module.active_adapters) == 1:
            module.forward = MethodType(_forward, module)
            module.adapted_rows = rows
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    return rows if all(hasattr(layer, "adapted_rows") for layer in layers) else None


def _forward(layer: Any, hidden: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = layer.base_layer(hidden)
    count = layer.adapted_rows.count
    if layer.disable_adapters or count == 0:
        return result
    (name,) = layer.active_adapters
    down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
    low = torch.nn.functional.linear(hidden[:count], down)
    # In place: the result is this layer's own, and nothing is differentiated here.
    result[:count].flatten(0, -2).addmm_(low.flatten(0, -2), up.t(), alpha=layer.scaling[name])
    return result
