"""How likely a reply is to a model, and how far two models are apart: for multiple choice and retention."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tuning_room.errors import RenderingError
from tuning_room.records import Message
from tuning_room.rendering import Rendered, answer_ids, prompt_ids

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from tuning_room.engines.decoding import Decoder
    from tuning_room.engines.library import LibraryDecoder
    from tuning_room.engines.proving import Forced

WINDOW = 512  # a longer text is compared in parts: scores over two vocabularies are held for each token


class Likelihood(NamedTuple):
    """An answer's log-probability in nats, its number of tokens, and whether greedy decoding would give the same."""

    total: float
    tokens: int
    is_greedy: bool


class TopTokens(NamedTuple):
    """The k likeliest next tokens at n places, and their log-probabilities in nats, (n, k) each, on the CPU."""

    ids: "Tensor"
    scores: "Tensor"


class Divergence(NamedTuple):
    """A Kullback-Leibler divergence in nats a token, and the number of tokens it is the mean over."""

    mean: float
    tokens: int


def rendered_answers(
    tokenizer: "PreTrainedTokenizerBase", dialogues: Sequence[Sequence[Message]], answers: Sequence[str]
) -> list[tuple[list[int], list[int]]]:
    """Return each dialogue's tokens up to the assistant's turn, and its answer's; RenderingError if they merge."""
    pairs = []
    for dialogue, answer in zip(dialogues, answers, strict=True):
        prompt = prompt_ids(tokenizer, dialogue)
        ids = answer_ids(tokenizer, dialogue, answer)
        if ids[: len(prompt)] != prompt or len(ids) == len(prompt):
            raise RenderingError(
                f"the answer {answer[:40]!r} has no tokens of its own after its dialogue",
                hint="no answer may be empty or begin with a line break",
            )
        pairs.append((prompt, ids[len(prompt) :]))
    return pairs


def log_likelihoods(
    decoder: "Decoder | LibraryDecoder", name: str, pairs: Sequence[tuple[list[int], list[int]]]
) -> list[Likelihood]:
    """Return the score of each answer after its prompt, both in tokens; common beginnings are computed once."""
    longest = max(len(answer) for _, answer in pairs)
    # The last token of an answer need not be read: nothing after it is asked for.
    ends = [answer[:-1] for _, answer in pairs]
    # (pairs, longest, vocabulary): what comes before the first token of a shorter answer is cut off below.
    logits = decoder.scores(name, [prompt for prompt, _ in pairs], ends, longest)
    return [_score(rows[-len(answer) :], answer) for rows, (_, answer) in zip(logits, pairs, strict=True)]


def top_tokens(decoder: "Decoder | LibraryDecoder", name: str, rows: Sequence[Rendered], count: int) -> list[TopTokens]:
    """Return the `count` likeliest tokens at each place whose token is learned; common beginnings are computed once.

    Of a row `[S, Q, a, b]` that learns `a` and `b`, the places are those of `a` and `b`: `[S, Q]` is the prompt, `[a]`
    is read after it, and the scores after `Q` and after `a` are what is asked for.
    """
    begins = [row.learned.index(True) for row in rows]
    # The last learned token itself need not be read: nothing after it is asked for.
    ends = [len(row.learned) - 1 - row.learned[::-1].index(True) for row in rows]
    replies = [row.input_ids[begin:end] for row, begin, end in zip(rows, begins, ends, strict=True)]
    prompts = [row.input_ids[:begin] for row, begin in zip(rows, begins, strict=True)]
    logits = decoder.scores(name, prompts, replies, 1 + max(map(len, replies)))
    places = [row.learned[begin : end + 1] for row, begin, end in zip(rows, begins, ends, strict=True)]
    return [_top(scores[-len(place) :], place, count) for scores, place in zip(logits, places, strict=True)]


def forced_scores(decoder: "Decoder | LibraryDecoder", forced: "Sequence[Forced]") -> list[list[float]]:
    """Return the log-probability of each forced token, all texts read in one batch, each by its own model."""
    import torch

    longest = max(len(one.answer) for one in forced)
    # The last token need not be read: nothing after it is asked for.
    logits = decoder.read_together([(one.model, [*one.prompt, *one.answer[:-1]]) for one in forced], longest)
    found = []
    for rows, one in zip(logits, forced, strict=True):
        chosen = torch.tensor(one.answer, device=rows.device)
        scores = rows[-len(one.answer) :].float().log_softmax(-1).gather(-1, chosen[:, None])
        found.append([float(score) for score in scores[:, 0]])
    return found


def _top(logits: "Tensor", places: list[bool], count: int) -> TopTokens:  # logits (tokens, vocabulary)
    import torch

    found = logits[torch.tensor(places, device=logits.device)].float().log_softmax(-1).topk(count)
    return TopTokens(found.indices.int().cpu(), found.values.cpu())


def _score(logits: "Tensor", answer: list[int]) -> Likelihood:  # logits (tokens of the answer, vocabulary)
    import torch

    chosen = torch.tensor(answer, device=logits.device)
    each = logits.float().log_softmax(-1).gather(-1, chosen[:, None])
    return Likelihood(each.sum().item(), len(answer), bool((logits.argmax(-1) == chosen).all()))


def divergence(
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    first: "Callable[[Tensor], Tensor]",
    second: "Callable[[Tensor], Tensor]",
) -> Divergence:
    """Return KL(first || second) of the next token, the mean over all tokens of the texts except each one's first.

    Both callables take ids, (1, tokens), and return scores, (tokens, vocabulary). Texts are read as they are, without
    turns or a template. The mean is 0 if there is no token to predict.
    """
    total, tokens = 0.0, 0
    for text in texts:
        encoded: Any = tokenizer(text)
        for ids in _windows(list(encoded["input_ids"])):
            total += _nats(first(ids), second(ids))
            tokens += ids.shape[1] - 1
    return Divergence(total / max(tokens, 1), tokens)


def _windows(ids: list[int]) -> "list[Tensor]":  # (1, tokens) each
    import torch

    # Each part begins with the last token of the part before: every token but the first is predicted once.
    starts = range(0, max(len(ids) - 1, 0), WINDOW - 1)
    return [torch.tensor([ids[start : start + WINDOW]]) for start in starts]


def _nats(first: "Tensor", second: "Tensor") -> float:  # (tokens, vocabulary) each
    # Nothing comes after the last token.
    wanted, other = (scores[:-1].float().log_softmax(-1) for scores in (first, second))
    return float((wanted.exp() * (wanted - other)).sum().clamp(min=0))
