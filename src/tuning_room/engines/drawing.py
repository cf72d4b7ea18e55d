"""How one row's next token is chosen from its scores, and the text of tokens as they come."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.engines import Drawing, Sampling, ScoredToken

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import GenerationConfig, LogitsProcessor, PreTrainedTokenizerBase

    from tuning_room.engines.batch import DialogueRow

UNKNOWN = "\ufffd"  # what bytes are decoded to that are not a whole character yet


class Chosen(NamedTuple):
    """A chosen token, and if they are wanted its log-probability in nats and those of the likeliest tokens."""

    token: int
    logprob: float = 0.0
    likeliest: tuple[tuple[int, float], ...] = ()


class RowChooser:
    """Chooses one row's next tokens: greedily, or drawn by a generator of its own, whoever shares the batch.

    Penalties and biases change the scores first; then come temperature, top-k, top-p and min-p, as in vLLM. What a
    request leaves open is the model's own generation setting, with transformers' default of 50 for top-k.
    """

    def __init__(self, settings: "GenerationConfig", sampling: Sampling, drawing: Drawing) -> None:
        import torch

        self.is_greedy = sampling.temperature == 0
        self.wanted = drawing.logprobs
        self.presence, self.frequency = drawing.presence_penalty, drawing.frequency_penalty
        self.repetition = drawing.repetition_penalty or settings.repetition_penalty or 1.0
        self.biases = drawing.biases
        self.warpers = [] if self.is_greedy else _warpers(settings, sampling, drawing)
        self.generator = torch.Generator().manual_seed(sampling.seed)

    def __call__(self, row: "DialogueRow", scores: "Tensor", likeliest: int) -> Chosen:
        """Return the next token from the row's scores, (vocabulary,); `likeliest` is the token with the highest."""
        changes = self.presence or self.frequency or self.biases or self.repetition != 1.0
        adjusted = self._adjusted(row, scores) if changes else scores
        if not self.is_greedy:
            token = self._drawn(adjusted)
        elif changes:
            token = int(adjusted.argmax())
        else:
            token = likeliest
        return Chosen(token) if self.wanted is None else _scored(token, scores, self.wanted)

    def _adjusted(self, row: "DialogueRow", scores: "Tensor") -> "Tensor":
        import torch

        scores = scores.float().clone()
        if self.repetition != 1.0:
            read = torch.tensor(sorted({*row.prompt, *row.reply}), device=scores.device)
            scores[read] = torch.where(scores[read] > 0, scores[read] / self.repetition, scores[read] * self.repetition)
        if row.reply and (self.presence or self.frequency):
            said, counts = torch.tensor(row.reply, device=scores.device).unique(return_counts=True)
            scores[said] -= self.presence + self.frequency * counts
        for token, bias in self.biases:
            scores[token] += bias
        return scores

    def _drawn(self, scores: "Tensor") -> int:
        import torch

        # On the CPU: a seed then draws the same reply wherever the model computes.
        weights = scores.float().cpu()[None]
        for warper in self.warpers:
            weights = warper(torch.empty(0), weights)
        return int(weights.softmax(-1).multinomial(1, generator=self.generator))


def _warpers(settings: "GenerationConfig", sampling: Sampling, drawing: Drawing) -> "list[LogitsProcessor]":
    from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    top_k = (50 if settings.top_k is None else settings.top_k) if drawing.top_k is None else drawing.top_k
    top_p = (settings.top_p or 1.0) if drawing.top_p is None else drawing.top_p
    found: list[LogitsProcessor] = [TemperatureLogitsWarper(sampling.temperature)]
    if top_k > 0:
        found.append(TopKLogitsWarper(top_k))
    if top_p < 1.0:
        found.append(TopPLogitsWarper(top_p))
    if drawing.min_p > 0:
        found.append(MinPLogitsWarper(drawing.min_p))
    return found


def _scored(token: int, scores: "Tensor", wanted: int) -> Chosen:
    """Return a token with log-probabilities from the model's own scores, before anything changed them."""
    logprobs = scores.float().log_softmax(-1)
    top = logprobs.topk(wanted) if wanted else None
    pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True) if top else ()
    return Chosen(token, float(logprobs[token]), tuple(pairs))


class TextSoFar:
    """The text of tokens as they come, whole characters at a time.

    A token's text depends on the tokens before it, so a few are decoded again with each new one, as in vLLM.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._begin = self._read = 0

    def add(self, token: int) -> str:
        """Return the text that a further token makes certain."""
        self._tokens.append(token)
        return self._new(at_end=False)

    def rest(self) -> str:
        """Return the text that is still held back, although its last character is not whole."""
        return self._new(at_end=True)

    def _new(self, *, at_end: bool) -> str:
        before = self._decoded(self._tokens[self._begin : self._read])
        now = self._decoded(self._tokens[self._begin :])
        if len(now) <= len(before) or (now.endswith(UNKNOWN) and not at_end):
            return ""
        self._begin, self._read = self._read, len(self._tokens)
        return now[len(before) :]

    def _decoded(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))


def scored_token(tokenizer: "PreTrainedTokenizerBase", chosen: Chosen) -> ScoredToken:
    """Return a chosen token's text and scores."""
    likeliest = tuple((str(tokenizer.decode([token])), logprob) for token, logprob in chosen.likeliest)
    return ScoredToken(str(tokenizer.decode([chosen.token])), chosen.logprob, likeliest)
