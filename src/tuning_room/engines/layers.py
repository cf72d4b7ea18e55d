"""Linear layers with shorter forward passes: LoRA layers for some rows of a batch only, and large weights packed.

LoRA: PEFT scales and adds in separate passes over the layer's whole output; here the second product adds to it. The
rows of each adapter stand together in one batch, those of the base model after them, as in vLLM's multi-LoRA serving
(Punica, arXiv 2310.18547). Of a batch of 5 rows, with `counts = {"plain": 2, "formal": 2}`:

    rows 0-1   W x + scale B_plain A_plain x
    rows 2-3   W x + scale B_formal A_formal x
    row  4     W x                               (the base model)

Merged weights would be faster still, but then an evaluation would not run what vLLM serves, and switching the adapter
off would take a second copy of the weights (docs/lab_log.md).

Packing: a product of a few rows with a large weight mostly reads and rearranges the weight. Laid out once by oneDNN, as
torch.compile does it, 8 to 64 rows take 1.2 to 1.9 times less time (docs/lab_log.md); results differ from the plain
product by rounding only. The plain weights stay in memory.
"""

from collections.abc import Callable, Mapping
from types import MethodType
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from peft.tuners.lora import Linear
    from torch import Tensor

LEAST_WEIGHTS = 1 << 18  # smaller layers, such as an adapter's, are faster as they are
ROWS = 64  # the layout is chosen for this number of rows, and serves any other


class AdaptedRows:
    """How many rows of a batch each of PEFT's adapters is applied to, one after another from the first row on.

    None applies the adapter that is switched on to all rows.
    """

    counts: Mapping[str, int] | None = None


def hasten(model: torch.nn.Module) -> AdaptedRows | None:
    """Shorten the forward pass of a model's plain LoRA layers; all others stay as PEFT made them.

    Returns the handle that sets which rows are adapted, or None if some layer does not obey it, or does not see rows.
    """
    from peft.tuners.lora import Linear
    from peft.tuners.lora.layer import LoraLayer

    apart = _rows_stand_apart(model)
    rows = AdaptedRows()
    for module in model.modules():
        plain = type(module) is Linear and not module.lora_variant and not any(module.lora_bias.values())
        if plain and len(module.active_adapters) == 1:
            module.forward = MethodType(_forward, module)
            module.adapted_rows = rows
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    return rows if apart and all(hasattr(layer, "adapted_rows") for layer in layers) else None


def _rows_stand_apart(model: torch.nn.Module) -> bool:
    """Return whether all layers with an adapter see rows as rows: those of a mixture's expert see loose tokens."""
    from peft.tuners.lora.layer import LoraLayer

    ids = torch.ones(2, 3, dtype=torch.long, device=next(model.parameters()).device)
    shapes: list[torch.Size] = []
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    hooks = [layer.register_forward_pre_hook(lambda _, given: shapes.append(given[0].shape)) for layer in layers]
    try:
        with torch.no_grad():
            model(input_ids=ids, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return all(shape[:-1] == ids.shape for shape in shapes)


def _forward(layer: "Linear", hidden: "Tensor") -> "Tensor":  # (rows, tokens, in) -> (rows, tokens, out)
    result: Tensor = layer.base_layer(hidden)
    if layer.disable_adapters:
        return result
    counts, start = layer.adapted_rows.counts, 0
    if counts is None:
        counts = dict.fromkeys(layer.active_adapters, len(hidden))
    for name, count in counts.items():
        rows, start = slice(start, start + count), start + count
        if count and name in layer.lora_A:
            low = torch.nn.functional.linear(hidden[rows], layer.lora_A[name].weight)  # (rows, tokens, rank)
            up = layer.lora_B[name].weight.t()  # (rank, out)
            # In place: the result belongs to this layer, and nothing is differentiated here.
            result[rows].flatten(0, -2).addmm_(low.flatten(0, -2), up, alpha=layer.scaling[name])
    return result


def pack(model: torch.nn.Module) -> None:
    """Make a model's large linear layers multiply by packed weights, which cannot be trained; needs oneDNN."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")):
        return
    for module in model.modules():
        if type(module) is torch.nn.Linear and _is_worth_packing(module.weight):
            module.forward = _packed(module)


def _is_worth_packing(weight: "Tensor") -> bool:
    return bool(weight.numel() >= LEAST_WEIGHTS and weight.device.type == "cpu" and weight.dtype == torch.float32)


def _packed(module: torch.nn.Linear) -> "Callable[[Tensor], Tensor]":
    with torch.no_grad():
        weight = torch.ops.mkldnn._reorder_linear_weight(module.weight, ROWS)
    bias = module.bias

    def forward(hidden: "Tensor") -> "Tensor":
        result: Tensor = torch.ops.mkldnn._linear_pointwise(hidden, weight, bias, "none", [], "")
        return result

    return forward
