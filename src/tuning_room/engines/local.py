"""The in-process engine: transformers' `generate` over a prefix that is prefilled once for a whole batch."""

from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from itertools import takewhile
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from tuning_room.engines import Engine, OnReply, Reply, Sampling
from tuning_room.errors import EngineError
from tuning_room.models import limit_threads, load_adapter, load_model, load_tokenizer
from tuning_room.records import Message
from tuning_room.rendering import prompt_ids, shared_prefix

SHORTEST_PREFIX = 16  # below this many shared tokens, copying the cache costs more than it saves


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
        self._share_prefixes()
        if adapter:
            self.model = load_adapter(self.model, adapter)
        self._lock = Lock()

    def _share_prefixes(self) -> None:
        from tuning_room.engines.prefix import install

        install(self.model)

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
        """Answer in batches of prompts of similar length; their shared beginning is computed once a batch."""
        prompts = [prompt_ids(self.tokenizer, dialogue) for dialogue in dialogues]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        replies: dict[int, Reply] = {}
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            answers = self._batch(model, [prompts[i] for i in chosen], sampling)
            for index, reply in zip(chosen, answers, strict=True):
                replies[index] = reply
                if on_reply:
                    on_reply(index, reply)
        return [replies[i] for i in range(len(prompts))]

    def stream(self, model: str, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, Reply]:
        """Yield a reply's text as it is made and return the whole reply; leaving early stops the model as well."""
        from transformers import TextIteratorStreamer

        streamer: Any = TextIteratorStreamer(self.tokenizer, skip_prompt=True, skip_special_tokens=True)
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

        def has_left(rows: Any, _scores: Any) -> Any:
            return torch.full((len(rows),), left.is_set())

        try:
            output, width = self._generate(model, [ids], sampling, streamer=streamer, stopping_criteria=[has_left])
            outcome.set_result(self._reply(output.tolist()[0][width:], len(ids)))
        except Exception as error:
            known = isinstance(error, EngineError)
            outcome.set_exception(error if known else EngineError(f"model '{model}': generation failed: {error}"))
        finally:
            # After an error nothing else ends the stream, and its reader would wait for ever.
            streamer.text_queue.put(streamer.stop_signal)

    def _batch(self, model: str, prompts: list[list[int]], sampling: Sampling) -> list[Reply]:
        output, width = self._generate(model, prompts, sampling)
        return [self._reply(row[width:], len(ids)) for row, ids in zip(output.tolist(), prompts, strict=True)]

    def _reply(self, tokens: list[int], prompt_tokens: int) -> Reply:
        ends = self._end_tokens()
        said = list(takewhile(lambda token: token not in ends, tokens))
        text = str(self.tokenizer.decode(said, skip_special_tokens=True)).strip()
        finish = "stop" if len(said) < len(tokens) else "length"
        return Reply(text, finish, prompt_tokens, len(said))

    def _end_tokens(self) -> set[int]:
        ends: Any = self.model.generation_config.eos_token_id
        return {*(ends if isinstance(ends, list) else [ends]), self.tokenizer.eos_token_id}

    def _generate(self, model: str, prompts: list[list[int]], sampling: Sampling, **watch: Any) -> Any:
        import torch

        with self._lock, torch.inference_mode(), self._as(model):
            prefix = shared_prefix(prompts)
            ids, mask, width = padded(prompts, len(prefix), self.tokenizer.pad_token_id)
            more = {**self._sampling(sampling), **watch}
            if len(prefix) >= SHORTEST_PREFIX and len(prompts) > 1:
                room = width - len(prefix) + sampling.max_tokens
                more["past_key_values"] = self._prefilled(prefix, len(prompts), room)
            output = self.model.generate(input_ids=ids, attention_mask=mask, **more)
        return output, width

    def _sampling(self, sampling: Sampling) -> dict[str, Any]:
        import torch

        common = {"max_new_tokens": sampling.max_tokens, "pad_token_id": self.tokenizer.pad_token_id}
        if sampling.temperature == 0:
            return {**common, "do_sample": False, "temperature": None, "top_p": None}
        torch.manual_seed(sampling.seed)
        return {**common, "do_sample": True, "temperature": sampling.temperature}

    def _prefilled(self, prefix: list[int], copies: int, room: int) -> Any:
        import torch

        from tuning_room.engines.prefix import spread

        computed = self.model(input_ids=torch.tensor([prefix]), use_cache=True, logits_to_keep=1).past_key_values
        return spread(computed, copies, room)

    def _as(self, model: str) -> AbstractContextManager[Any]:
        if model not in self.models():
            raise EngineError(f"model '{model}' is not served here", hint=f"name one of {', '.join(self.models())}")
        has_adapter = bool(self.adapter_name)
        return self.model.disable_adapter() if has_adapter and model == self.base else nullcontext()


def padded(prompts: list[list[int]], prefix: int, pad: int) -> tuple[Any, Any, int]:
    """Return ids and attention mask, both (prompts, width); the padding stands between shared prefix and rest."""
    import torch

    width = max(len(ids) for ids in prompts)
    gaps = [width - len(ids) for ids in prompts]
    rows = [ids[:prefix] + [pad] * gap + ids[prefix:] for ids, gap in zip(prompts, gaps, strict=True)]
    mask = [[1] * prefix + [0] * gap + [1] * (width - prefix - gap) for gap in gaps]
    return torch.tensor(rows), torch.tensor(mask), width
