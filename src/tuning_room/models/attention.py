"""Whether a model can be computed otherwise than its library does it, and proof that the result is the same.

Our own attention (engines/lanes.py, train/batches.py) is that of most models: every token sees all tokens before it,
and nothing is added. A model of another kind (sliding windows, soft caps, sinks, state-space layers) would be computed
wrongly without a word. Its configuration names most kinds; two short rows, each also read alone by the library, show
the others.
"""

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from tuning_room.errors import one_line

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel

SHARED, LENGTHS = 20, (27, 22)  # tokens that the rows read for comparison begin with, and their lengths
TOLERANCE = {4: 1e-3, 2: 5e-2}  # of the largest score, by bytes a number: rounding is far below, a wrong mask far above
KINDS = {
    "DynamicSlidingWindowLayer": "see a window of tokens only",
    "LinearAttentionLayer": "keep a state instead of attending",
    "LinearAttentionAndFullAttentionLayer": "keep a state beside attending",
}


def departure(config: "PreTrainedConfig") -> str:
    """Return how a model's layers differ from plain attention to all tokens, as its configuration says; '' if not."""
    from transformers import DynamicCache

    text = config.get_text_config(decoder=True)
    try:
        kinds = Counter(type(layer).__name__ for layer in DynamicCache(config=text).layers)
    except Exception as error:
        return f"transformers has no cache for it ({one_line(error)})"
    total = kinds.total()
    found = [
        f"{count} of {total} layers {KINDS.get(kind, f'have a cache of their own ({kind})')}"
        for kind, count in kinds.items()
        if kind != "DynamicLayer"
    ]
    if getattr(text, "attn_logit_softcapping", None):
        found.append("its attention scores are soft-capped")
    return ", ".join(found)


class KnownScores(NamedTuple):
    """Rows of tokens, of different lengths and with a common beginning, and the scores after each token of each row.

    The scores, (tokens, vocabulary), are the library's own, for rows that are read one by one without a cache.
    """

    rows: list[list[int]]
    scores: "list[Tensor]"


def known_scores(model: "PreTrainedModel") -> KnownScores:
    """Return what a model that is computed otherwise must give."""
    import torch

    # Not the last quarter, where marks for images and turns stand.
    size = model.get_input_embeddings().num_embeddings * 3 // 4
    rows = [
        [(31 * place + (0 if place < SHARED else row)) % size for place in range(7, 7 + length)]
        for row, length in enumerate(LENGTHS)
    ]
    with torch.no_grad():
        alone = [model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0] for ids in rows]
    return KnownScores(rows, [scores.float() for scores in alone])


def is_same(found: "Tensor", expected: "Tensor") -> bool:
    """Return whether scores, (..., vocabulary), differ by no more than rounding; NaN differs from everything."""
    size = found.element_size()
    bound = TOLERANCE.get(size, TOLERANCE[4]) * float(expected.abs().max())
    return bool((found.float() - expected.float()).abs().max() <= bound)


def misfit(error: Exception) -> str:
    """Return what an error says of a model that our attention does not fit."""
    return f"our attention does not fit its layers ({one_line(error)[:80]})"


def accepted(model: Any) -> set[str]:
    """Return the names that a model's forward pass has for its arguments."""
    from inspect import signature

    return {*signature(model.forward).parameters}
