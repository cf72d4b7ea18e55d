"""What a training lowers: losses of a model's scores against tokens or against another model's predictions.

A prediction is held as its likeliest tokens and one rest: the divergence over that partition is never more than over
the whole vocabulary, and nought only where both give the likeliest tokens the same chances. In Tinker's ablation of
prompt distillation the top 20 did as well as the whole vocabulary.
"""

from typing import Any

import torch

from tuning_room.engines.scoring import TopTokens

TOP = 20  # tokens of the teacher's prediction that are kept
LEAST = 1e-6  # a rest less likely than this says nothing but rounding


def cross_entropy(logits: Any, tokens: Any) -> Any:
    """Return the mean loss of scores, (n, vocabulary), on the n tokens that came, in nats."""
    return torch.nn.functional.cross_entropy(logits, tokens)


def forward_divergence(logits: Any, teacher: TopTokens) -> Any:
    """Return KL(teacher || scores), the mean over n places, in nats (prompt baking, arXiv 2409.13697)."""
    likely, others = _partition(logits, teacher)
    teacher_rest = _rest(teacher.scores)
    each = (teacher.scores.exp() * (teacher.scores - likely)).sum(-1)
    return (each + _gain(teacher_rest, others)).mean()


def reverse_divergence(logits: Any, teacher: TopTokens, clip: float) -> Any:
    """Return KL(scores || teacher), the mean over n places, in nats; a place that is further off counts as `clip`.

    Places beyond the clip give no gradient: single tokens that the teacher would never say would drown the others
    (on-policy distillation, arXiv 2602.12275, is unstable without such an anchor).
    """
    likely, others = _partition(logits, teacher)
    teacher_rest = _rest(teacher.scores).clamp(min=LEAST).log()
    each = (likely.exp() * (likely - teacher.scores)).sum(-1) + others.exp() * (others - teacher_rest)
    return each.clamp(max=clip).mean()


def _partition(logits: Any, teacher: TopTokens) -> tuple[Any, Any]:
    """Return the scores' log-probabilities of the teacher's tokens, (n, k), and of all others together, (n)."""
    scores, ids = logits, teacher.ids.long()
    whole = scores.logsumexp(-1)
    others = scores.scatter(-1, ids, -torch.inf).logsumexp(-1).clamp(min=-1e4)
    return scores.gather(-1, ids) - whole[:, None], others - whole


def _rest(scores: Any) -> Any:
    return (1 - scores.exp().sum(-1)).clamp(min=0)


def _gain(rest: Any, others: Any) -> Any:
    """Return what the rest adds to a forward divergence."""
    known = rest.clamp(min=LEAST)
    return torch.where(rest > LEAST, known * (known.log() - others), 0.0)
