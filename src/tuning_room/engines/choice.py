"""Which token comes next."""

from typing import Any

from tuning_room.engines import Sampling
from tuning_room.engines.batch import Batch


class Choice:
    """Chooses each row's next token as transformers' `generate` does under the model's own generation settings."""

    def __init__(self, settings: Any, sampling: Sampling) -> None:
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

    def __call__(self, batch: Batch, scores: Any) -> Any:
        """Return the chosen tokens, (rows,), of scores (rows, vocabulary)."""
        import torch

        if self.penalty:
            pairs = zip(batch.rows, scores.split(1), strict=True)
            scores = torch.cat([self.penalty(torch.tensor([row.tokens + row.said]), one) for row, one in pairs])
        if self.is_greedy:
            return scores.argmax(-1)
        weights = self.warpers(torch.empty(0), scores.float()).softmax(-1)
        return weights.multinomial(1)[:, 0]
