"""The engine for any OpenAI-compatible address: many requests at once by aiohttp, streams by the official client."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tuning_room.engines import Engine, OnReply, Reply, Sampling
from tuning_room.engines.addresses import hidden, public, secrets, split
from tuning_room.engines.asking import Asker, Outcome, Request, request, requests
from tuning_room.engines.limits import Budget, Pace
from tuning_room.engines.posting import NO_ANSWER, TOO_SLOW, UNFINISHED, UNREACHABLE, PostAttempt, server_words
from tuning_room.errors import EngineError
from tuning_room.records import Message

if TYPE_CHECKING:
    from ssl import SSLContext

    import httpx
    from openai import OpenAI

LOOPBACK = ("localhost", "127.0.0.1", "::1")
LONGEST_REASON = 300  # characters of a server's own words in an error


class EndpointEngine(Engine):
    """A chat server at an address that ends in `/v1`.

    The key is read from the environment variable `key_variable` when it is needed, and is not stored. A request is
    retried after 408, 409, 429, 5xx, timeouts and dropped connections, up to `retries` times with growing pauses; other
    answers are final. A wait that the server asks for pauses all requests; such a 429 does not count as an attempt if
    the server has answered another request meanwhile. `timeout` is in seconds for a whole attempt, however slowly the
    answer trickles in. Where the server does not count tokens, replies have counts of 0.
    """

    def __init__(
        self,
        address: str,
        *models: str,
        key_variable: str = "",
        concurrency: int = 8,
        timeout: float = 120.0,
        retries: int = 5,
        pace: Pace | None = None,
    ) -> None:
        parts = split(address)
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            raise EngineError(
                f"address '{public(address)}': not an http address", hint="name one like http://localhost:8000/v1"
            )
        self.address = address
        self.key_variable = key_variable
        self.concurrency = concurrency
        self.timeout = timeout
        self.retries = retries
        self.pace = pace or Pace()
        self._models = list(models)

    def models(self) -> list[str]:
        """Return the names that were given or, without any, those that the server lists."""
        if not self._models:
            try:
                with self._client() as client:
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
        """Ask for all replies; the first failure is raised as EngineError, and requests under way are dropped."""
        replies: dict[int, Reply] = {}
        with closing(self.outcomes(model, dialogues, [sampling] * len(dialogues))) as outcomes:
            for index, outcome in outcomes:
                if isinstance(outcome, EngineError):
                    raise outcome
                replies[index] = outcome
                if on_reply:
                    on_reply(index, outcome)
        return [replies[i] for i in range(len(dialogues))]

    def outcomes(
        self,
        model: str,
        dialogues: Sequence[Sequence[Message]],
        samplings: Sequence[Sampling],
        budget: Budget | None = None,
    ) -> Generator[tuple[int, Outcome], None, None]:
        """Yield each dialogue's index and its reply, or the error in its place, as they arrive.

        Requests beyond the budget are not sent and yield BudgetErrors; after a refusal that would meet every
        request, the rest are not sent and yield GivenUpErrors. Closing the generator drops what is under way.
        """
        # Handed over in the caller's thread, so that its own code need not be thread-safe.
        done: Queue[tuple[int, Outcome] | EngineError] = Queue()
        packed = requests(model, dialogues, samplings)
        with background_loop(_nothing) as loop:
            asking = self._ask(packed, budget or Budget(), lambda *found: done.put(found))
            asyncio.run_coroutine_threadsafe(asking, loop).add_done_callback(lambda task: _report(task, done.put))
            for _ in dialogues:
                if isinstance(found := done.get(), EngineError):
                    raise found
                yield found

    def stream(self, model: str, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, None]:
        """Yield a reply's text as the server sends it; token counts are not requested."""
        chunk: Any = None
        try:
            with self._client() as client:
                for chunk in client.chat.completions.create(**request(model, messages, sampling), stream=True):
                    piece = chunk.choices[0].delta.content if chunk.choices else None
                    if piece:
                        yield piece
            if chunk is None:
                raise EngineError(f"{self._place()}: not a streamed chat completion", hint=self._advice(404))
        except Exception as error:
            raise self._failure(error) from None

    async def _ask(self, packed: Iterable[Request], budget: Budget, tell: Callable[[int, Outcome], None]) -> None:
        import aiohttp

        url = f"{self._base()}/chat/completions"
        asker = Asker(url, self.pace, budget, self.retries, self.timeout, self._explained)
        connections = aiohttp.TCPConnector(limit=self.concurrency, ssl=self._trusted())
        # A proxy that the environment names cannot reach a server on this machine.
        async with aiohttp.ClientSession(
            headers=self._headers(),
            connector=connections,
            timeout=aiohttp.ClientTimeout(total=self.timeout),
            trust_env=not self._is_local(),
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as session:
            await asker.ask(session, packed, self.concurrency, tell)

    def _headers(self) -> dict[str, str]:
        common = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        key = self._key()
        return {**common, "Authorization": f"Bearer {key}"} if key else common

    def _base(self) -> str:
        # A key replaces a name and password in the address: both use the same header.
        return (self._place() if self._key() else self.address).rstrip("/")

    def _trusted(self) -> "SSLContext | bool":
        import httpx

        # The certificate authorities that the official client trusts, wherever the system keeps its own.
        return httpx.create_ssl_context() if self.address.startswith("https:") else True

    def _is_local(self) -> bool:
        return urlsplit(self.address).hostname in LOOPBACK

    def _explained(self, attempt: PostAttempt) -> EngineError:
        if attempt.status != NO_ANSWER:
            words = self._shown(server_words(attempt.body))
            return EngineError(f"{self._place()}: answered {attempt.status}{words}", hint=self._advice(attempt.status))
        if attempt.reason in (TOO_SLOW, UNFINISHED):
            return self._late(attempt.reason)
        if attempt.reason == UNREACHABLE:
            return EngineError(f"{self._place()}: cannot be reached", hint="is the server running at this address?")
        advice = self._advice(404) if attempt.reason.startswith("not a chat") else ""
        return EngineError(f"{self._place()}: {self._hidden(attempt.reason)[:LONGEST_REASON]}", hint=advice)

    def _late(self, reason: str) -> EngineError:
        return EngineError(f"{self._place()}: {reason.replace('in time', f'within {self.timeout:g} s')}")

    def _client(self) -> "OpenAI":
        from openai import DefaultHttpxClient, OpenAI

        return OpenAI(
            base_url=self.address,
            api_key=self._key() or "none",
            timeout=self.timeout,
            max_retries=self.retries,
            http_client=DefaultHttpxClient(
                trust_env=not self._is_local(), event_hooks={"response": [_timely(self.timeout)]}
            ),
        )

    def _key(self) -> str:
        return os.environ.get(self.key_variable, "").strip() if self.key_variable else ""

    def _failure(self, error: Exception) -> EngineError:
        import httpx
        import openai

        if isinstance(error, EngineError):
            return error
        if isinstance(error, openai.APIStatusError):
            status = error.status_code
            return EngineError(f"{self._place()}: answered {status}{self._reason(error)}", hint=self._advice(status))
        if isinstance(error, openai.APITimeoutError | httpx.TimeoutException):
            is_begun = UNFINISHED in (str(error), str(error.__cause__))
            return self._late(UNFINISHED if is_begun else TOO_SLOW)
        if isinstance(error, openai.APIConnectionError):
            return EngineError(f"{self._place()}: cannot be reached", hint="is the server running at this address?")
        return EngineError(f"{self._place()}: not a chat completion{self._reason(error)}", hint=self._advice(404))

    def _reason(self, error: Exception) -> str:
        body = getattr(error, "body", None)
        words = body.get("message") if isinstance(body, dict) else None
        return self._shown(" ".join(str(words or getattr(error, "message", "") or error).split()))

    def _shown(self, words: str) -> str:
        return f" ({self._hidden(words)[:LONGEST_REASON]})" if words else ""

    def _hidden(self, words: str) -> str:
        return hidden(words, [self._key(), *secrets(self.address)])

    def _place(self) -> str:
        return public(self.address)

    def _advice(self, status: int) -> str:
        if status in (401, 403):
            name = self.key_variable
            return (
                f"set the environment variable {name} to a key for it"
                if name
                else "set key_variable to the variable that holds its key"
            )
        return "check the address (it ends in /v1) and the model's name" if status == 404 else ""


def _timely(timeout: float) -> "Callable[[httpx.Response], None]":
    """Return a hook for httpx, which bounds only the time of each read, that bounds the time of a whole response."""
    import httpx

    class TimelyStream(httpx.SyncByteStream):
        def __init__(self, stream: httpx.SyncByteStream) -> None:
            self.stream, self.end = stream, time.monotonic() + timeout

        def __iter__(self) -> Iterator[bytes]:
            for part in self.stream:
                if time.monotonic() > self.end:
                    raise httpx.ReadTimeout(UNFINISHED)
                yield part

        def close(self) -> None:
            self.stream.close()

    def bound(response: httpx.Response) -> None:
        if isinstance(response.stream, httpx.SyncByteStream):
            response.stream = TimelyStream(response.stream)

    return bound


def _report(task: Future[None], tell: Callable[[EngineError], None]) -> None:
    # Only a bug of ours ends the task early; whoever waits for outcomes would otherwise wait for ever.
    if not task.cancelled() and (error := task.exception()):
        tell(EngineError(f"asking failed ({type(error).__name__})"))


async def _nothing() -> None:
    """Close nothing: the session closes itself."""


@contextmanager
def background_loop(close: Callable[[], Awaitable[None]]) -> Iterator[asyncio.AbstractEventLoop]:
    """Yield an event loop that runs in a thread of its own, so that asynchronous work can be called from anywhere.

    When the block ends, what is still under way is cancelled, and then `close` runs.
    """
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_end(close), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(close: Callable[[], Awaitable[None]]) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await close()
