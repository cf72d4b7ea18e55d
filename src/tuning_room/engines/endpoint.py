"""The engine for any OpenAI-compatible address, through the official `openai` client."""

import asyncio
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from queue import Queue
from typing import Any
from urllib.parse import urlsplit

from tuning_room.engines import Engine, OnReply, Reply, Sampling
from tuning_room.engines.background import background_loop
from tuning_room.errors import EngineError
from tuning_room.records import Message

LOOPBACK = ("localhost", "127.0.0.1", "::1")
LONGEST_REASON = 300  # characters of a server's own words in an error

Outcome = Reply | EngineError


class EndpointEngine(Engine):
    """A chat server at an address that ends in `/v1`.

    The key is read from the environment variable `key_variable` when it is needed, and kept nowhere. The client
    tries again after 408, 409, 429, 5xx and timeouts, `retries` times and each time later; other answers are final.
    `timeout` is in seconds an attempt. A server that does not count tokens makes replies with counts of 0.
    """

    def __init__(
        self,
        address: str,
        *models: str,
        key_variable: str = "",
        concurrency: int = 8,
        timeout: float = 120.0,
        retries: int = 5,
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EngineError(
                f"address '{address}': not an http address", hint="name one like http://localhost:8000/v1"
            )
        self.address = address
        self.key_variable = key_variable
        self.concurrency = concurrency
        self.timeout = timeout
        self.retries = retries
        self._models = list(models)

    def models(self) -> list[str]:
        """Return the names that were given, or else those that the server lists."""
        if not self._models:
            from openai import OpenAI

            try:
                with self._client(OpenAI) as client:
                    self._models = [entry.id for entry in client.models.list()]
            except Exception as error:
                raise self._failure(error) from None
        return list(self._models)

    def complete(
        self,
        model: str,
        dialogues: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_reply: OnReply | None = None,
    ) -> list[Reply]:
        """Ask for all replies; EngineError on the first that fails, and those under way are dropped."""
        replies: dict[int, Reply] = {}
        with closing(self._outcomes(model, dialogues, sampling)) as outcomes:
            for index, outcome in outcomes:
                if isinstance(outcome, EngineError):
                    raise outcome
                replies[index] = outcome
                if on_reply:
                    on_reply(index, outcome)
        return [replies[i] for i in range(len(dialogues))]

    def try_complete(
        self,
        model: str,
        dialogues: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_reply: OnReply | None = None,
    ) -> list[Outcome]:
        """Ask for all replies; where one fails, the error stands in its place. `on_reply` hears of replies only."""
        found: dict[int, Outcome] = {}
        with closing(self._outcomes(model, dialogues, sampling)) as outcomes:
            for index, outcome in outcomes:
                found[index] = outcome
                if on_reply and not isinstance(outcome, EngineError):
                    on_reply(index, outcome)
        return [found[i] for i in range(len(dialogues))]

    def stream(self, model: str, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, None]:
        """Yield a reply's text as the server sends it; the server's count of tokens is not asked for."""
        from openai import OpenAI

        chunk: Any = None
        try:
            with self._client(OpenAI) as client:
                for chunk in client.chat.completions.create(**_request(model, messages, sampling), stream=True):
                    piece = chunk.choices[0].delta.content if chunk.choices else None
                    if piece:
                        yield piece
            if chunk is None:
                raise EngineError(f"{self._place()}: not a streamed chat completion", hint=self._advice(404))
        except Exception as error:
            raise self._failure(error) from None

    def _outcomes(
        self, model: str, dialogues: Sequence[Sequence[Message]], sampling: Sampling
    ) -> Generator[tuple[int, Outcome], None, None]:
        from openai import AsyncOpenAI

        # They are handed over in the caller's thread: its callbacks need not be safe for another one.
        done: Queue[tuple[int, Outcome]] = Queue()
        requests = [_request(model, dialogue, sampling) for dialogue in dialogues]
        client = self._client(AsyncOpenAI)
        with background_loop(client.close) as loop:
            asking = self._ask_all(client, requests, lambda *outcome: done.put(outcome))
            asyncio.run_coroutine_threadsafe(asking, loop)
            for _ in requests:
                yield done.get()

    async def _ask_all(self, client: Any, requests: list[dict[str, Any]], tell: Callable[[int, Outcome], None]) -> None:
        gate = asyncio.Semaphore(self.concurrency)

        async def ask(index: int) -> None:
            async with gate:
                tell(index, await self._ask(client, requests[index]))

        await asyncio.gather(*(ask(index) for index in range(len(requests))))

    async def _ask(self, client: Any, request: dict[str, Any]) -> Outcome:
        try:
            return self._reply(await client.chat.completions.create(**request))
        except Exception as error:
            return self._failure(error)

    def _reply(self, answer: Any) -> Reply:
        choice: Any = (getattr(answer, "choices", None) or [None])[0]
        text = getattr(getattr(choice, "message", None), "content", None)
        if not isinstance(text, str):
            raise EngineError(f"{self._place()}: not a chat completion with a text", hint=self._advice(404))
        reason = getattr(choice, "finish_reason", None)
        if reason == "content_filter":
            raise EngineError(f"{self._place()}: the server's content filter stopped the reply")
        counts = [getattr(answer.usage, name, None) or 0 for name in ("prompt_tokens", "completion_tokens")]
        return Reply(text.strip(), "length" if reason == "length" else "stop", *counts)

    def _client(self, kind: Any) -> Any:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient

        # A proxy that the environment names cannot reach a server on this machine.
        transport = DefaultAsyncHttpxClient if kind is AsyncOpenAI else DefaultHttpxClient
        direct = urlsplit(self.address).hostname in LOOPBACK
        return kind(
            base_url=self.address,
            api_key=self._key() or "none",
            timeout=self.timeout,
            max_retries=self.retries,
            http_client=transport(trust_env=not direct),
        )

    def _key(self) -> str:
        return os.environ.get(self.key_variable, "") if self.key_variable else ""

    def _failure(self, error: Exception) -> EngineError:
        import openai

        if isinstance(error, EngineError):
            return error
        if isinstance(error, openai.APIStatusError):
            status = error.status_code
            return EngineError(f"{self._place()}: answered {status}{self._reason(error)}", hint=self._advice(status))
        if isinstance(error, openai.APITimeoutError):
            return EngineError(f"{self._place()}: no answer within {self.timeout:g} s")
        if isinstance(error, openai.APIConnectionError):
            return EngineError(f"{self._place()}: cannot be reached", hint="is the server running at this address?")
        return EngineError(f"{self._place()}: not a chat completion{self._reason(error)}", hint=self._advice(404))

    def _reason(self, error: Exception) -> str:
        body = getattr(error, "body", None)
        words = body.get("message") if isinstance(body, dict) else None
        text = " ".join(str(words or getattr(error, "message", "") or error).split())
        key = self._key()
        text = text.replace(key, "***") if key else text
        return f" ({text[:LONGEST_REASON]})" if text else ""

    def _place(self) -> str:
        parts = urlsplit(self.address)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def _advice(self, status: int) -> str:
        if status in (401, 403):
            name = self.key_variable
            return f"set the environment variable {name} to a key for it" if name else "name the variable with its key"
        return "check the address (it ends in /v1) and the model's name" if status == 404 else ""


def _request(model: str, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
    return {
        "model": model,
        "messages": [message.as_dict() for message in messages],
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "seed": sampling.seed,
    }
