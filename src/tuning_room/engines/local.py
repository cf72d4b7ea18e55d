"""The in-process engine: a model, with and without its adapter, that computes nothing twice (decoding.py)."""

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import takewhile
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from tuning_room.engines import Engine, OnReply, Reply, Sampling
from tuning_room.errors import EngineError
from tuning_room.models import limit_threads, load_adapter, load_model, load_tokenizer
from tuning_room.records import Message
from tuning_room.rendering import prompt_ids

if TYPE_CHECKING:
    from tuning_room.engines.scoring import Divergence, Score


class LocalEngine(Engine):
    """A base model in this process and, under a name of its own, the same model with an adapter."""

    def __init__(
        self,
        model: Path,
        *,
        base: str = "base",
        adapter: Path | None = None,
        adapter_name: str = "",
        batch_size: int = 64,
    ) -> None:
        limit_threads()
        self.batch_size = batch_size
        self.base = base
        self.adapter_name = adapter_name or (adapter.name if adapter else "")
        self.tokenizer = load_tokenizer(model)
        self.model: Any = load_model(model)
        self._decoder = self._opened(adapter)
        self._lock = Lock()

    def _opened(self, adapter: Path | None) -> Any:
        from tuning_room.engines.decoding import Decoder
        from tuning_room.engines.lora import hasten
        from tuning_room.engines.prefix import install

        install(self.model)
        if adapter:
            self.model = load_adapter(self.model, adapter)
            hasten(self.model)
        return Decoder(self.model, self._end_tokens())

    def models(self) -> list[str]:
        """Return the base model's name and, where there is one, the adapter's."""
        return [self.base, self.adapter_name] if self.adapter_name else [self.base]

    def complete(
        self,
        model: str,
        dialogues: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_reply: OnReply | None = None,
    ) -> list[Reply]:
        """Answer in batches of prompts of similar length; what two of them or two calls share is computed once."""
        prompts = [prompt_ids(self.tokenizer, dialogue) for dialogue in dialogues]
        replies: dict[int, Reply] = {}
        for chosen in even_batches([len(ids) for ids in prompts], self.batch_size):
            said: dict[int, list[int]] = {index: [] for index in chosen}
            for step in self._steps(model, [prompts[i] for i in chosen], sampling):
                for place, token in step:
                    said[chosen[place]].append(token)
            for index, tokens in said.items():
                replies[index] = self._reply(tokens, len(prompts[index]))
                if on_reply:
                    on_reply(index, replies[index])
        return [replies[i] for i in range(len(prompts))]

    def steps(
        self, model: str, dialogues: Sequence[Sequence[Message]], sampling: Sampling
    ) -> Iterator[list[tuple[int, int]]]:
        """Yield each step of one batch as it is made: pairs of a dialogue's index and its next token."""
        yield from self._steps(model, [prompt_ids(self.tokenizer, dialogue) for dialogue in dialogues], sampling)

    def forget(self) -> None:
        """Forget what was kept of earlier calls; nothing but the time of the next call depends on it."""
        with self._lock:
            self._decoder.kept.clear()

    def log_likelihoods(
        self, model: str, dialogues: Sequence[Sequence[Message]], answers: Sequence[str]
    ) -> "list[Score]":
        """Return how likely each answer is as the whole reply to its dialogue, the end of the turn not counted.

        Raises EngineError for an unknown model, and RenderingError for an answer that changes the prompt's tokens.
        """
        from tuning_room.engines.scoring import log_likelihoods, rendered_answers

        pairs = rendered_answers(self.tokenizer, dialogues, answers)
        scores: dict[int, Score] = {}
        for chosen in even_batches([len(prompt) + len(answer) for prompt, answer in pairs], self.batch_size):
            with self._ready(model):
                found = log_likelihoods(self._decoder, model, [pairs[i] for i in chosen])
            scores |= zip(chosen, found, strict=True)
        return [scores[i] for i in range(len(pairs))]

    def divergence(self, texts: Sequence[str], first: str, second: str) -> "Divergence":
        """Return KL(first || second), two model names, over the whole vocabulary on plain texts, in nats a token."""
        from tuning_room.engines.scoring import divergence

        def scores(model: str, ids: Any) -> Any:
            with self._ready(model):
                return self.model(input_ids=ids, use_cache=False).logits[0]

        return divergence(self.tokenizer, texts, lambda ids: scores(first, ids), lambda ids: scores(second, ids))

    def stream(self, model: str, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, Reply]:
        """Yield a reply's text as it is made and return the whole reply; leaving early stops the model as well."""
        from transformers import TextIteratorStreamer

        streamer: Any = TextIteratorStreamer(self.tokenizer, skip_special_tokens=True)
        ids = prompt_ids(self.tokenizer, messages)
        outcome: Future[Reply] = Future()
        left = Event()
        # Not a daemon: Python would end under torch's feet. It lives one token longer than its reader at most.
        Thread(target=self._feed, args=(streamer, outcome, left, model, ids, sampling)).start()
        try:
            yield from (piece for piece in streamer if piece)
        finally:
            left.set()
        return outcome.result()

    def _feed(
        self, streamer: Any, outcome: Future[Reply], left: Event, model: str, ids: list[int], sampling: Sampling
    ) -> None:
        import torch

        said: list[int] = []
        try:
            for ((_, token),) in self._steps(model, [ids], sampling):
                said.append(token)
                streamer.put(torch.tensor([token]))
                if left.is_set():
                    break
            streamer.end()
            outcome.set_result(self._reply(said, len(ids)))
        except Exception as error:
            known = isinstance(error, EngineError)
            outcome.set_exception(error if known else EngineError(f"model '{model}': generation failed: {error}"))
        finally:
            # After an error nothing else ends the stream, and its reader would wait for ever.
            streamer.text_queue.put(streamer.stop_signal)

    def _reply(self, tokens: list[int], prompt_tokens: int) -> Reply:
        ends = self._end_tokens()
        said = list(takewhile(lambda token: token not in ends, tokens))
        text = str(self.tokenizer.decode(said, skip_special_tokens=True)).strip()
        finish = "stop" if len(said) < len(tokens) else "length"
        return Reply(text, finish, prompt_tokens, len(said))

    def _end_tokens(self) -> set[int]:
        ends: Any = self.model.generation_config.eos_token_id
        return {*(ends if isinstance(ends, list) else [ends]), self.tokenizer.eos_token_id}

    def _steps(
        self, model: str, prompts: list[list[int]], sampling: Sampling
    ) -> Generator[list[tuple[int, int]], None, None]:
        with self._ready(model):
            yield from self._decoder.steps(model, prompts, sampling)

    @contextmanager
    def _ready(self, model: str) -> Iterator[None]:
        """Hold the model for one thread, with or without its adapter; nothing is recorded for a backward pass."""
        import torch

        # Not inference_mode: what is kept goes on to other threads and calls.
        with self._lock, torch.no_grad(), self._as(model):
            yield

    def _as(self, model: str) -> AbstractContextManager[Any]:
        if model not in self.models():
            raise EngineError(f"model '{model}' is not served here", hint=f"name one of {', '.join(self.models())}")
        has_adapter = bool(self.adapter_name)
        return self.model.disable_adapter() if has_adapter and model == self.base else nullcontext()


def even_batches(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Return the indices of prompts of these lengths, by length, in as few batches as can be and all of one size."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    count = -(-len(order) // most)
    return [order[len(order) * i // count : len(order) * (i + 1) // count] for i in range(count)]
