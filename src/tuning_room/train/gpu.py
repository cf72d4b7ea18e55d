"""What a GPU can take: its number format, and how many rows go through the model at once."""

from typing import Any, NamedTuple

from tuning_room.train.team import rank_and_size

MICRO_BATCH = 4  # rows a pass where activations are computed again, and nobody says: what fits beside most models
FREE_SHARE = 0.5  # of the memory that is free once the model is loaded; the rest is for optimizer and kernels


class Pass(NamedTuple):
    """What goes through the model at once, and how often before a step; or the activations are computed twice."""

    rows: int
    times: int
    recomputes: bool


def computes_in_bf16() -> bool:
    """Say whether there is a GPU that computes in bf16."""
    import torch

    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())


def plan_pass(whole: int | None, wanted: int | None, kept: int) -> Pass:
    """Return how this device's share of a step's rows goes through the model.

    `whole` are the rows of a step over all devices, `wanted` the rows a pass that somebody asked for, `kept` those
    whose activations the memory can hold.
    """
    share = max(1, (whole or wanted or MICRO_BATCH) // rank_and_size()[1])
    most = min(wanted or max(MICRO_BATCH, kept), share)
    rows = next(size for size in range(most, 0, -1) if share % size == 0)
    return Pass(rows, share // rows, recomputes=rows > kept)


def kept_rows(config: Any, longest: int) -> int:
    """Return how many rows of `longest` tokens the free memory can hold the activations of; 0 where that is not known.

    A transformer layer keeps about 34 bytes a token and unit of width in 16 bits (Korthikanti et al. 2022, equation 1;
    without attention's own share, which fused kernels do not keep). 16 of them are a feed-forward layer four times as
    wide; a gated one keeps 8 bytes a unit of its own width. Scores over the vocabulary count in fp32, three times.
    """
    import torch

    sizes = config.get_text_config()
    known = all(hasattr(sizes, name) for name in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    # Several processes would each see a memory of their own, and take steps of different passes.
    if not torch.cuda.is_available() or not known or rank_and_size()[1] > 1:
        return 0
    free, _ = torch.cuda.mem_get_info()
    layer = 18 * sizes.hidden_size + 8 * sizes.intermediate_size
    token = sizes.num_hidden_layers * layer + 12 * sizes.vocab_size
    return int(free * FREE_SHARE / (token * longest))
