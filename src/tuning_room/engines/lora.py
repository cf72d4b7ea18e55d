"""A LoRA layer's forward pass with less around it; the weights stay apart, as they are served.

PEFT scales and adds in passes of their own over the layer's whole result. Here the second product adds to it. Merged
weights would be faster still, but what is measured would no longer be what vLLM serves, and switching the adapter off
would take a second copy of the weights (docs/lab_log.md).
"""

from types import MethodType
from typing import Any

import torch


def hasten(model: Any) -> None:
    """Shorten the forward pass of a model's plain LoRA layers; all others stay as PEFT made them."""
    from peft.tuners.lora import Linear

    for module in model.modules():
        if type(module) is Linear and not module.lora_variant and len(module.active_adapters) == 1:
            module.forward = MethodType(_forward, module)


def _forward(layer: Any, hidden: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = layer.base_layer(hidden)
    if layer.disable_adapters:
        return result
    (name,) = layer.active_adapters
    down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
    low = torch.nn.functional.linear(hidden, down)
    # In place: the result is this layer's own, and nothing is differentiated here.
    result.flatten(0, -2).addmm_(low.flatten(0, -2), up.t(), alpha=layer.scaling[name])
    return result
