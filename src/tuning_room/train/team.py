"""Several processes that train one adapter: each takes a share of a step's rows, and the gradients are summed.

Started by torchrun (or anything that sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT); over gloo, for CPUs.
The result is that of one process up to rounding: losses are weighted by the number of learned tokens, as in one.
"""

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

T = TypeVar("T")


def rank_and_size() -> tuple[int, int]:
    """Return this process's rank and the number of processes: 0 and 1 where it is alone."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


class Team:
    """This process among those that train together; a single one sends nothing."""

    def __init__(self) -> None:
        self.rank, self.size = rank_and_size()
        self.leads = self.rank == 0
        if self.size > 1:
            import torch.distributed as dist

            if not dist.is_initialized():
                dist.init_process_group("gloo", rank=self.rank, world_size=self.size)

    def share(self, rows: Sequence[T]) -> list[T]:
        """Return this process's part of a step's rows, which are sorted by length: every `size`th."""
        return list(rows[self.rank :: self.size])

    def meet(self) -> None:
        """Wait until all processes are here."""
        self.total(0.0)

    def total(self, value: float) -> float:
        """Return the sum of a number over all processes."""
        if self.size == 1:
            return value
        import torch

        return float(self._summed(torch.tensor([value], dtype=torch.float64)))

    def sum_gradients(self, parameters: "Iterable[Parameter]") -> None:
        """Replace each process's gradients by the sum over all processes."""
        if self.size == 1:
            return
        import torch

        learned = list(parameters)
        # gloo sums on CPUs, wherever the gradients are.
        whole = self._summed(torch.cat([parameter.grad.flatten() for parameter in learned]).cpu())
        parts = whole.split([parameter.numel() for parameter in learned])
        for parameter, part in zip(learned, parts, strict=True):
            parameter.grad.copy_(part.view_as(parameter))

    def _summed(self, tensor: "Tensor") -> "Tensor":
        import torch.distributed as dist

        dist.all_reduce(tensor)
        return tensor
