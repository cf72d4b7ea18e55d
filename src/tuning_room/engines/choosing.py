"""Each row's next token, chosen from its scores."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuning_room.engines import Sampling
from tuning_room.engines.batch import DialogueRow

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import GenerationConfig


class TokenChooser:
    """Chooses each row's next token as transformers' `generate` does under the model's own generation settings."""

    def __init__(self, settings: "GenerationConfig", sampling: Sampling) -> None:
        import torch
        from transformers import (
            LogitsProcessorList,
            RepetitionPenaltyLogitsProcessor,
            TemperatureLogitsWarper,
            TopKLogitsWarper,
            TopPLogitsWarper,
        )

        self.is_greedy = sampling.temperature == 0
        self.penalty = LogitsProcessorList()
        if (settings.repetition_penalty or 1.0) != 1.0:
            self.penalty.append(RepetitionPenaltyLogitsProcessor(settings.repetition_penalty))
        self.warpers = LogitsProcessorList()
        if not self.is_greedy:
            torch.manual_seed(sampling.seed)
            self.warpers.append(TemperatureLogitsWarper(sampling.temperature))
            self.warpers.append(TopKLogitsWarper(50 if settings.top_k is None else settings.top_k))
            if (settings.top_p or 1.0) < 1.0:
                self.warpers.append(TopPLogitsWarper(settings.top_p))

    def __call__(self, rows: Sequence[DialogueRow], scores: "Tensor") -> "Tensor":
        """Return the chosen tokens, (rows,), from scores, (rows, vocabulary)."""
        import torch

        if self.penalty:
            pairs = zip(rows, scores.split(1), strict=True)
            read = [(torch.tensor([row.prompt + row.reply], device=one.device), one) for row, one in pairs]
            scores = torch.cat([self.penalty(ids, one) for ids, one in read])
        if self.is_greedy:
            return scores.argmax(-1)
        weights = self.warpers(torch.empty(0), scores.float()).softmax(-1)
        # On the CPU, whose generator was seeded: a seed draws the same replies wherever the model computes.
        chosen: Tensor = weights.cpu().multinomial(1)[:, 0]
        return chosen
