"""Linear layers whose weights are laid out beforehand for the products of few rows (oneDNN), as torch.compile does it.

A product of few rows by a large weight mostly reads and rearranges the weight. Laid out once, 8 to 64 rows take 1.2 to
1.9 times less (docs/lab_log.md); the numbers are those of the plain product up to rounding. The plain weights stay.
"""

from typing import Any

LEAST_WEIGHTS = 1 << 18  # smaller ones, such as an adapter's, are faster as they are
ROWS = 64  # for how many rows the layout is chosen; it serves all others too


def pack(model: Any) -> None:
    """Have a model's large linear layers multiply by packed weights, which are not trained; only where oneDNN is."""
    import torch

    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")):
        return
    for module in model.modules():
        if type(module) is torch.nn.Linear and module.weight.numel() >= LEAST_WEIGHTS and _is_plain(module.weight):
            module.forward = _packed(module)


def _is_plain(weight: Any) -> bool:
    import torch

    return bool(weight.device.type == "cpu" and weight.dtype == torch.float32)


def _packed(module: Any) -> Any:
    import torch

    with torch.no_grad():
        weight = torch.ops.mkldnn._reorder_linear_weight(module.weight, ROWS)
    bias = module.bias

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(hidden, weight, bias, "none", [], "")
        return result

    return forward
