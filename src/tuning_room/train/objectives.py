"""The losses that a training lowers: a model's scores against tokens, or against another model's predictions.

A prediction is kept as its k likeliest tokens and one rest. The divergence over that partition is never more than over
the whole vocabulary, and zero only where both models give the likeliest tokens the same probabilities. In Tinker's
ablation of prompt distillation the top 20 did as well as the whole vocabulary.

A worked example over a vocabulary of four, k = 2: a teacher of probabilities (.6, .3, .06, .04) is kept as
(.6, .3 | .1). For a student of (.5, .3, .1, .1), which is (.5, .3 | .2), the forward divergence is
.6 ln(.6/.5) + .3 ln(.3/.3) + .1 ln(.1/.2) = .040 nats; over the whole vocabulary it is .042.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from tuning_room.engines.scoring import TopTokens

if TYPE_CHECKING:
    from torch import Tensor

TOP = 20  # tokens of the teacher's prediction that are kept
LEAST = 1e-6  # a rest less likely than this is nothing but rounding


def joined(tops: Sequence[TopTokens], device: "torch.device | str" = "cpu") -> TopTokens:
    """Return the predictions for some rows, (n_i, k) each, as one, (n, k), for the learned tokens row after row."""
    ids, scores = (torch.cat(parts).to(device) for parts in zip(*tops, strict=True))
    return TopTokens(ids, scores)


def cross_entropy(logits: "Tensor", tokens: "Tensor") -> "Tensor":
    """Return the mean loss of scores, (n, vocabulary), on the n tokens that came, in nats."""
    return torch.nn.functional.cross_entropy(logits, tokens)


def forward_divergence(logits: "Tensor", teacher: TopTokens) -> "Tensor":
    """Return KL(teacher || scores), the mean over n places, in nats (prompt baking, arXiv 2409.13697)."""
    likely, others = _partition(logits, teacher)  # (n, k) and (n,)
    rest = _rest(teacher.scores)
    known = rest.clamp(min=LEAST)
    each = (teacher.scores.exp() * (teacher.scores - likely)).sum(-1)
    return (each + torch.where(rest > LEAST, known * (known.log() - others), 0.0)).mean()


def reverse_divergence(logits: "Tensor", teacher: TopTokens, clip: float) -> "Tensor":
    """Return KL(scores || teacher), the mean over n places, in nats; a place that is further off counts as `clip`.

    Places beyond the clip give no gradient: single tokens that the teacher would never say would drown the others
    (on-policy distillation, arXiv 2602.12275, is unstable without such an anchor).
    """
    likely, others = _partition(logits, teacher)
    teacher_rest = _rest(teacher.scores).clamp(min=LEAST).log()
    each = (likely.exp() * (likely - teacher.scores)).sum(-1) + others.exp() * (others - teacher_rest)
    return each.clamp(max=clip).mean()


def _partition(logits: "Tensor", teacher: TopTokens) -> "tuple[Tensor, Tensor]":
    """Return the scores' log-probabilities of the teacher's tokens, (n, k), and of all others together, (n,)."""
    ids = teacher.ids.long()
    whole = logits.logsumexp(-1)
    others = logits.scatter(-1, ids, -torch.inf).logsumexp(-1).clamp(min=-1e4)
    return logits.gather(-1, ids) - whole[:, None], others - whole


def _rest(scores: "Tensor") -> "Tensor":
    """Return the probability that log-probabilities, (n, k), leave to all other tokens, (n,)."""
    return (1 - scores.exp().sum(-1)).clamp(min=0)
