"""How likely a model finds a reply, and how far two models are apart: what multiple choice and retention ask for."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tuning_room.errors import RenderingError
from tuning_room.records import Message
from tuning_room.rendering import Rendered, prompt_ids, render_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tuning_room.engines.decoding import Decoder

WINDOW = 512  # a longer text is compared in parts: two vocabularies of scores a token have to be held


class Score(NamedTuple):
    """An answer's log-probability in nats, its tokens, and whether greedy decoding would say it word for word."""

    total: float
    tokens: int
    is_greedy: bool


class TopTokens(NamedTuple):
    """What a model would say next at n places: the k likeliest tokens and their log-probabilities, (n, k) each."""

    ids: Any
    scores: Any


class Divergence(NamedTuple):
    """A Kullback-Leibler divergence in nats, the mean over so many tokens."""

    mean: float
    tokens: int


def rendered_answers(
    tokenizer: "PreTrainedTokenizerBase", dialogues: Sequence[Sequence[Message]], answers: Sequence[str]
) -> list[tuple[list[int], list[int]]]:
    """Return each dialogue's tokens up to the assistant's turn, and its answer's; RenderingError if they merge."""
    pairs = []
    for dialogue, answer in zip(dialogues, answers, strict=True):
        prompt = prompt_ids(tokenizer, dialogue)
        encoded: Any = tokenizer(render_text(tokenizer, dialogue, ask=True) + answer, add_special_tokens=False)
        ids = list(encoded["input_ids"])
        if ids[: len(prompt)] != prompt or len(ids) == len(prompt):
            raise RenderingError(
                f"the answer {answer[:40]!r} has no tokens of its own behind its dialogue",
                hint="let no answer be empty or begin with line breaks",
            )
        pairs.append((prompt, ids[len(prompt) :]))
    return pairs


def log_likelihoods(decoder: "Decoder", name: str, pairs: Sequence[tuple[list[int], list[int]]]) -> list[Score]:
    """Return the score of each answer behind its prompt, both in tokens; common beginnings are computed once."""
    longest = max(len(answer) for _, answer in pairs)
    # The last token of an answer need not be read: nothing behind it is asked for.
    ends = [answer[:-1] for _, answer in pairs]
    _, logits = decoder.read(name, [prompt for prompt, _ in pairs], ends, 0, longest)
    return [_score(rows[-len(answer) :], answer) for rows, (_, answer) in zip(logits, pairs, strict=True)]


def top_tokens(decoder: "Decoder", name: str, rows: Sequence[Rendered], count: int) -> list[TopTokens]:
    """Return the `count` likeliest tokens at each place whose token is learned; common beginnings are computed once."""
    begins = [row.learned.index(True) for row in rows]
    # Nothing is asked for behind the last token that is learned, and not at that token itself.
    ends = [len(row.learned) - 1 - row.learned[::-1].index(True) for row in rows]
    said = [row.input_ids[begin:end] for row, begin, end in zip(rows, begins, ends, strict=True)]
    prompts = [row.input_ids[:begin] for row, begin in zip(rows, begins, strict=True)]
    _, logits = decoder.read(name, prompts, said, 0, 1 + max(map(len, said)))
    places = [row.learned[begin : end + 1] for row, begin, end in zip(rows, begins, ends, strict=True)]
    return [_top(scores[-len(place) :], place, count) for scores, place in zip(logits, places, strict=True)]


def _top(logits: Any, places: list[bool], count: int) -> TopTokens:
    import torch

    found = logits[torch.tensor(places)].float().log_softmax(-1).topk(count)
    return TopTokens(found.indices.int(), found.values)


def _score(logits: Any, answer: list[int]) -> Score:
    import torch

    chosen = torch.tensor(answer)
    each = logits.float().log_softmax(-1).gather(-1, chosen[:, None])
    return Score(each.sum().item(), len(answer), bool((logits.argmax(-1) == chosen).all()))


def divergence(
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    first: Callable[[Any], Any],
    second: Callable[[Any], Any],
) -> Divergence:
    """Return KL(first || second) of the next token, the mean over all tokens of the texts but each text's first.

    Both callables take ids, (1, tokens), and return scores, (tokens, vocabulary). No text has a turn or a template
    around it. The mean is 0 where there is no token to predict.
    """
    total, tokens = 0.0, 0
    for text in texts:
        encoded: Any = tokenizer(text)
        for ids in _windows(list(encoded["input_ids"])):
            total += _nats(first(ids), second(ids))
            tokens += ids.shape[1] - 1
    return Divergence(total / max(tokens, 1), tokens)


def _windows(ids: list[int]) -> list[Any]:
    import torch

    # Each part begins with the last token of the one before: every token but the first is predicted once.
    starts = range(0, max(len(ids) - 1, 0), WINDOW - 1)
    return [torch.tensor([ids[start : start + WINDOW]]) for start in starts]


def _nats(first: Any, second: Any) -> float:
    wanted, other = (scores[:-1].float().log_softmax(-1) for scores in (first, second))
    return float((wanted.exp() * (wanted - other)).sum().clamp(min=0))
