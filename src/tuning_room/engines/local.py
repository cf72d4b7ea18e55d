"""The in-process engine: a model with and without its adapters, which computes nothing twice (decoding.py)."""

from collections import defaultdict, deque
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning_room.engines import Drawing, Engine, OnReply, Reply, ReplyPiece, Sampling, Talk, UnfitRequestError
from tuning_room.engines.continuous import ContinuousBatch, ReplyByReply, Turns
from tuning_room.engines.drawing import Chosen, TextSoFar, scored_token
from tuning_room.errors import EngineError
from tuning_room.models import device as chosen_device
from tuning_room.models import limit_threads, load_adapters, load_model, load_tokenizer
from tuning_room.records import Message
from tuning_room.rendering import prompt_ids, shared_prefix

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from tuning_room.engines.batch import Ask
    from tuning_room.engines.decoding import Decoder
    from tuning_room.engines.library import LibraryDecoder
    from tuning_room.engines.proving import Forced
    from tuning_room.engines.scoring import Divergence, Likelihood, TopTokens
    from tuning_room.rendering import Rendered

FORMATS = {"torch.float32": "fp32", "torch.bfloat16": "bf16", "torch.float16": "fp16"}
READ_AT_ONCE = 16  # dialogues read together if scores over the vocabulary are held for each of their tokens


class LocalEngine(Engine):
    """A base model in this process and, under names of their own, the same model with each of its adapters.

    It computes on `device`, by default the one that `models.device` chooses. `path` says in a line whether the fast
    decoder computes it or the library, and why.
    """

    def __init__(
        self,
        model: Path,
        *,
        base: str = "base",
        adapters: Mapping[str, Path] | None = None,
        batch_size: int = 64,
        device: str | None = None,
    ) -> None:
        limit_threads()
        self.batch_size = batch_size
        self.base, adapters = base, adapters or {}
        # Names that PEFT accepts: a served name may have a dot.
        self._peft_names = {name: f"adapter{number}" for number, name in enumerate(adapters)}
        self.tokenizer = load_tokenizer(model)
        self.model: PreTrainedModel | PeftModel = load_model(model, device or chosen_device())
        self._decoder = self._opened(adapters)
        self._lock = Turns()
        self._live = self._answering()

    def _answering(self) -> ContinuousBatch | ReplyByReply:
        """Return what answers many who ask at once."""
        from tuning_room.engines.decoding import Decoder

        if not isinstance(self._decoder, Decoder):
            return ReplyByReply(self._steps)
        # Without adapters, or where their layers obey (layers.py), rows of all models share a batch.
        mixes = not self._peft_names or self._decoder.adapted is not None
        return ContinuousBatch(self._decoder, self._ready, mixes=mixes)

    def _opened(self, adapters: Mapping[str, Path]) -> "Decoder | LibraryDecoder":
        from tuning_room.engines.decoding import Decoder, unlike_lanes
        from tuning_room.engines.layers import hasten, pack
        from tuning_room.engines.library import by_library
        from tuning_room.models.attention import known_scores

        base, ends = self.model, self._end_tokens()
        expected = known_scores(base)
        reason = unlike_lanes(base, expected)
        library = by_library(base, ends, expected, self.batch_size) if reason else None
        if adapters:
            self.model = load_adapters(base, {self._peft_names[name]: path for name, path in adapters.items()})
        if library:
            self.path = f"computed {library.way.words}, not by the fast decoder: {reason}"
            library.model = self.model
            return library
        self.path = "computed by the fast decoder: all layers attend to all tokens"
        adapted = hasten(self.model) if adapters else None
        pack(self.model)
        return Decoder(self.model, ends, adapters=self._peft_names, adapted=adapted, most=self.batch_size)

    @property
    def is_fast(self) -> bool:
        """Whether the model is computed by our own decoder."""
        from tuning_room.engines.decoding import Decoder

        return isinstance(self._decoder, Decoder)

    def models(self) -> list[str]:
        """Return the base model's name and the adapters'."""
        return [self.base, *self._peft_names]

    def complete(
        self,
        model: str,
        dialogues: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_reply: OnReply | None = None,
    ) -> list[Reply]:
        """Answer in one batch, refilled as replies end; what dialogues or calls share is computed once."""
        talks = [Talk(model, messages) for messages in dialogues]
        return [replies[0] for replies in self.converse(talks, sampling, on_reply)]

    def converse(self, talks: Sequence[Talk], sampling: Sampling, on_reply: OnReply | None = None) -> list[list[Reply]]:
        """Continue all dialogues at once, those with an adapter beside those without; none waits for another."""
        replies: list[list[Reply]] = [[] for _ in talks]
        for model, chosen in self._apart(talks):
            asks = {index: self._ask(index, talks[index], []) for index in chosen}
            waiting = deque(asks.values())
            # Closed explicitly: the model must be free again even if `on_reply` fails.
            with closing(self._ended(model, waiting, sampling)) as ended:
                for index, tokens in ended:
                    replies[index].append(self._reply(tokens, len(asks[index].tokens)))
                    if on_reply:
                        on_reply(index, replies[index][-1])
                    if len(replies[index]) <= len(talks[index].turns):
                        asks[index] = self._ask(index, talks[index], replies[index])
                        waiting.appendleft(asks[index])
        return replies

    def _ended(
        self, model: str, waiting: "deque[Ask]", sampling: Sampling
    ) -> Generator[tuple[int, list[int]], None, None]:
        """Yield each reply's tokens with its dialogue's index when it has ended; `waiting` may grow meanwhile."""
        tokens: dict[int, list[int]] = defaultdict(list)
        with closing(self._steps(model, waiting, sampling)) as steps:
            for index, token in (pair for step in steps for pair in step):
                tokens[index].append(token)
                if not self._decoder.goes_on(tokens[index], sampling):
                    yield index, tokens.pop(index)

    def _apart(self, talks: Sequence[Talk]) -> list[tuple[str, list[int]]]:
        """Return the indices of the dialogues that can share a batch, by model ('' for several), in starting order.

        Those with the most turns come first, then the short ones: those read together are then of similar length.
        """
        lengths = [sum(len(message.content) for message in talk.messages) for talk in talks]
        order = sorted(range(len(talks)), key=lambda n: (-len(talks[n].turns), lengths[n]))
        names = list(dict.fromkeys(talk.model for talk in talks))
        for name in names:
            self._check(name)
        if len(names) > 1 and self._decoder.adapted:
            return [("", order)]
        return [(name, [n for n in order if talks[n].model == name]) for name in names]

    def _ask(self, index: int, talk: Talk, replies: list[Reply]) -> "Ask":
        from tuning_room.engines.batch import Ask

        system = next((message.content for message in talk.messages if message.role == "system"), "")
        return Ask(index, talk.model, prompt_ids(self.tokenizer, talk.after(replies)), system)

    def steps(
        self, model: str, dialogues: Sequence[Sequence[Message]], sampling: Sampling
    ) -> Iterator[list[tuple[int, int]]]:
        """Yield each step as it is made: pairs of a dialogue's index and its next token.

        Until the last step, or until the iterator is closed, nobody else can use the engine.
        """
        asks = [self._ask(index, Talk(model, dialogue), []) for index, dialogue in enumerate(dialogues)]
        yield from self._steps(model, asks, sampling)

    def forget(self) -> None:
        """Empty the cache of earlier calls; only the time that the next one takes depends on it."""
        with self._lock:
            self._decoder.forget()

    def log_likelihoods(
        self, model: str, dialogues: Sequence[Sequence[Message]], answers: Sequence[str]
    ) -> "list[Likelihood]":
        """Return how likely each answer is as the reply to its dialogue, without the end-of-turn token.

        Raises EngineError for an unknown model, and RenderingError for an answer that changes the prompt's tokens.
        """
        from tuning_room.engines.scoring import log_likelihoods, rendered_answers

        pairs = rendered_answers(self.tokenizer, dialogues, answers)
        scores: dict[int, Likelihood] = {}
        # By the prompts alone: the answers to one question stay together, and it is read once.
        for chosen in even_batches([len(prompt) for prompt, _ in pairs], self.batch_size):
            with self._ready(model):
                found = log_likelihoods(self._decoder, model, [pairs[i] for i in chosen])
            scores |= zip(chosen, found, strict=True)
        return [scores[i] for i in range(len(pairs))]

    def forced_scores(self, forced: "Sequence[Forced]") -> list[list[float]]:
        """Return the log-probability of each forced token; texts of several models are read in one batch.

        Raises EngineError for an unknown model.
        """
        from tuning_room.engines.scoring import forced_scores

        scores: dict[int, list[float]] = {}
        lengths = [len(one.prompt) + len(one.answer) for one in forced]
        for model, chosen in self._apart([Talk(one.model, []) for one in forced]):
            for part in even_batches([lengths[i] for i in chosen], READ_AT_ONCE):
                places = [chosen[i] for i in part]
                with self._ready(model):
                    found = forced_scores(self._decoder, [forced[i] for i in places])
                scores |= zip(places, found, strict=True)
        return [scores[i] for i in range(len(forced))]

    @property
    def format(self) -> str:
        """The number format that the model computes in: fp32, bf16 or fp16."""
        return FORMATS.get(str(self.model.dtype), str(self.model.dtype))

    def top_tokens(
        self,
        model: str,
        rows: "Sequence[Rendered]",
        count: int,
        on_done: Callable[[int], None] | None = None,
    ) -> "list[TopTokens]":
        """Return the `count` likeliest tokens at each place whose token is learned.

        `on_done` gets the number of rows read so far. Raises EngineError for an unknown model.
        """
        from tuning_room.engines.scoring import top_tokens

        found: dict[int, TopTokens] = {}
        for chosen in even_batches([len(row.input_ids) for row in rows], min(READ_AT_ONCE, self.batch_size)):
            with self._ready(model):
                tops = top_tokens(self._decoder, model, [rows[i] for i in chosen], count)
            found |= zip(chosen, tops, strict=True)
            if on_done:
                on_done(len(found))
        return [found[i] for i in range(len(rows))]

    def divergence(self, texts: Sequence[str], first: str, second: str) -> "Divergence":
        """Return KL(first || second), two model names, over the whole vocabulary on plain texts, in nats a token."""
        from tuning_room.engines.scoring import divergence

        def scores(model: str, ids: "Tensor") -> "Tensor":  # (1, tokens) -> (tokens, vocabulary)
            with self._ready(model):
                logits: Tensor = self.model(input_ids=ids.to(self.model.device), use_cache=False).logits
            return logits[0]

        return divergence(self.tokenizer, texts, lambda ids: scores(first, ids), lambda ids: scores(second, ids))

    def stream(self, model: str, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, Reply]:
        """Yield a reply's text as it is generated and return the whole reply; leaving early stops the model too."""
        source = self.pieces(model, messages, sampling)
        with closing(source):
            try:
                while True:
                    yield next(source).text
            except StopIteration as end:
                reply: Reply = end.value
        return reply

    def pieces(
        self, model: str, prompt: Sequence[Message] | str, sampling: Sampling, drawing: Drawing | None = None
    ) -> Generator[ReplyPiece, None, Reply]:
        """Yield a reply's pieces as they are generated, in one batch with the replies to all others who ask."""
        self._check(model)
        self._check_tokens(drawing)
        ask, start = self._live_ask(model, prompt)
        text, tokens, unsaid = TextSoFar(self.tokenizer), list[int](), list[Chosen]()
        ends = {*self._end_tokens(), *(drawing.stop_tokens if drawing else ())}
        try:
            with closing(self._live.answer(ask, start, sampling, drawing or Drawing())) as answer:
                for chosen in answer:
                    tokens.append(chosen.token)
                    unsaid.append(chosen)
                    if chosen.token not in ends and (said := text.add(chosen.token)):
                        yield self._piece(said, unsaid, drawing, ends)
                        unsaid.clear()
        except Exception as error:
            if isinstance(error, EngineError):
                raise
            raise EngineError(f"model '{model}': generation failed: {error}") from error
        if (rest := text.rest()) or unsaid:
            yield self._piece(rest, unsaid, drawing, ends)
        return self._reply(tokens, len(ask.tokens), ends)

    def _check_tokens(self, drawing: Drawing | None) -> None:
        """Raise UnfitRequestError for a bias of a token that the model does not have."""
        size = int(self.model.config.vocab_size)
        unknown = [token for token, _ in drawing.biases if not 0 <= token < size] if drawing else []
        if unknown:
            raise UnfitRequestError(f"logit_bias: there is no token {unknown[0]}; the model has {size}")

    def _piece(self, text: str, chosen: Sequence[Chosen], drawing: Drawing | None, ends: Container[int]) -> ReplyPiece:
        spoken = [one for one in chosen if one.token not in ends]
        wanted = drawing is not None and drawing.logprobs is not None
        return ReplyPiece(
            text, len(spoken), tuple(scored_token(self.tokenizer, one) for one in spoken) if wanted else ()
        )

    def _live_ask(self, model: str, prompt: Sequence[Message] | str) -> "tuple[Ask, list[int]]":
        """Return what is asked, and the tokens that it shares with others of the same system turn."""
        from tuning_room.engines.batch import Ask

        ask = Ask(0, model, self._prompt_ids(prompt))
        if isinstance(prompt, str) or prompt[0].role != "system":
            return ask, []
        other = prompt_ids(self.tokenizer, [prompt[0], Message(role="user", content="?")])
        return ask, shared_prefix([ask.tokens, other])

    def _prompt_ids(self, prompt: Sequence[Message] | str) -> list[int]:
        if isinstance(prompt, str):
            return list(self.tokenizer(prompt, verbose=False)["input_ids"])
        return prompt_ids(self.tokenizer, prompt)

    def prompt_tokens(self, prompt: Sequence[Message] | str) -> int:
        """Return how many tokens the model would read before it replies."""
        return len(self._prompt_ids(prompt))

    @property
    def context_length(self) -> int | None:
        """How many tokens prompt and reply may have together, as the model's configuration says."""
        length: int | None = getattr(self.model.config, "max_position_embeddings", None)
        return length

    def _reply(self, tokens: list[int], prompt_tokens: int, ends: set[int] | None = None) -> Reply:
        ends = ends or self._end_tokens()
        spoken = list(takewhile(lambda token: token not in ends, tokens))
        text = str(self.tokenizer.decode(spoken, skip_special_tokens=True)).strip()
        finish = "stop" if len(spoken) < len(tokens) else "length"
        return Reply(text, finish, prompt_tokens, len(spoken))

    def _end_tokens(self) -> set[int]:
        ends: Any = self.model.generation_config.eos_token_id
        return {*(ends if isinstance(ends, list) else [ends]), self.tokenizer.eos_token_id}

    def _steps(
        self, model: str, asks: "Iterable[Ask]", sampling: Sampling
    ) -> Generator[list[tuple[int, int]], None, None]:
        with self._ready(model):
            yield from self._decoder.steps(asks, sampling)

    @contextmanager
    def _ready(self, model: str) -> Iterator[None]:
        """Hold the model for one thread, with an adapter or without; for '' each row has a model of its own.

        Nothing is recorded for a backward pass.
        """
        import torch

        # Not inference_mode: what is kept passes on to other threads and calls.
        with self._lock, torch.no_grad(), self._as(model):
            yield

    def _check(self, model: str) -> None:
        if model not in self.models():
            raise EngineError(f"model '{model}' is not served here", hint=f"name one of {', '.join(self.models())}")

    def _as(self, model: str) -> AbstractContextManager[object]:
        if model:
            self._check(model)
        if model == self.base and self._peft_names:
            off: AbstractContextManager[object] = self.model.disable_adapter()
            return off
        wanted = self._peft_names.get(model)
        if wanted and wanted != self.model.active_adapter:
            self.model.set_adapter(wanted, inference_mode=True)
        return nullcontext()


def even_batches(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Return the indices of prompts of these lengths, sorted by length, in as few batches as possible, all of one size.

    >>> even_batches([30, 10, 20, 50, 40], most=2)
    [[1], [2, 0], [4, 3]]
    """
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    count = -(-len(order) // most)
    return [order[len(order) * i // count : len(order) * (i + 1) // count] for i in range(count)]
