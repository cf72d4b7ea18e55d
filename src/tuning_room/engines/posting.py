"""One POST to a chat server, bounded in time and size, and how its answer is read.

With aiohttp rather than the official client, which takes too much CPU time per call for many calls a second.
"""

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from tuning_room.engines import Reply
from tuning_room.errors import EngineError

if TYPE_CHECKING:
    from aiohttp import ClientSession

AGAIN = (408, 409, 425, 429)  # and 5xx: another attempt may be answered
HOPELESS = (401, 402, 404)  # no further request would be answered either; a 403 may be about one prompt's words
SPENT = "insufficient_quota"  # a 429 that waiting does not fix
# What stands beside a message's content, or as a part of it, and is never part of a reply
REASONING = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
THOUGHTS, TEXTS = ("thinking", "reasoning", "redacted_thinking"), ("text", "output_text")
# Why a reply ended, as the servers of OpenAI, Anthropic, Google, Mistral, DeepSeek, Zhipu, SGLang and OpenRouter say it
CUT_OFF = ("length", "max_tokens", "max_output_tokens", "max_length", "model_length", "incomplete")
FILTERED = ("content_filter", "safety", "recitation", "blocklist", "prohibited_content", "spii", "sensitive", "refusal")
CALLS = ("tool_calls", "function_call", "tool_use")
BROKEN_OFF = ("error", "abort", "aborted", "cancelled", "insufficient_system_resource", "network_error", "other")
NO_ANSWER = 0  # in place of a status


class PostAttempt(NamedTuple):
    """The outcome of one POST: a status with the server's bytes, or NO_ANSWER with the reason."""

    status: int
    body: bytes = b""
    reason: str = ""
    wait: float | None = None  # seconds that the server asks to wait, more than 0

    @property
    def is_busy(self) -> bool:
        """Whether the server says that requests come too fast."""
        return self.status == 429 and SPENT.encode() not in self.body

    @property
    def may_be_repeated(self) -> bool:
        """Whether another attempt may be answered."""
        if self.status == 429:
            return self.is_busy
        return self.status in AGAIN or self.status >= 500 or (self.status == NO_ANSWER and self.reason != TOO_LONG)

    @property
    def is_hopeless(self) -> bool:
        """Whether every other request would fail as well."""
        return self.status in HOPELESS or (self.status == 429 and not self.is_busy) or self.reason == UNREACHABLE


TOO_LONG = "the reply is longer than it may be"
TOO_SLOW = "no answer in time"
UNFINISHED = "no whole answer in time"
UNREACHABLE = "cannot be reached"
CUT = "the connection was cut"


async def post(session: "ClientSession", url: str, data: bytes, most_bytes: int) -> PostAttempt:
    """Send a request and read at most `most_bytes` of its answer; nothing is raised."""
    import aiohttp

    late = TOO_SLOW
    try:
        # Following a redirect would carry the key to another place.
        async with session.post(url, data=data, allow_redirects=False) as response:
            late = UNFINISHED
            body = await _bounded(response.content.readany, most_bytes)
            if body is None:
                return PostAttempt(NO_ANSWER, reason=TOO_LONG)
            return PostAttempt(response.status, body, wait=_wait(response.headers))
    except TimeoutError:
        return PostAttempt(NO_ANSWER, reason=late)
    except aiohttp.ClientConnectorError:
        return PostAttempt(NO_ANSWER, reason=UNREACHABLE)
    except (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError):
        return PostAttempt(NO_ANSWER, reason=CUT)


async def _bounded(read: Callable[[], Awaitable[bytes]], most_bytes: int) -> bytes | None:
    parts, size = [], 0
    while part := await read():
        size += len(part)
        if size > most_bytes:
            return None
        parts.append(part)
    return b"".join(parts)


def _wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `retry-after-ms` or `retry-after` (seconds or a date) ask for; None for no time to come.

    Zero, what is past and NaN say nothing about when the server will answer. Infinity stays: it says never.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        return seconds if seconds > 0 else None
    try:
        seconds = parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time()
    except (KeyError, ValueError, OverflowError):
        return None
    return seconds if seconds > 0 else None


def parsed_reply(body: bytes, most_tokens: int = 0) -> Reply:
    """Return the reply in a chat completion; EngineError says briefly what the body is instead.

    A reply of `most_tokens` counts as cut off where the server does not say why it ended.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise EngineError(f"not a chat completion ({server_words(body)})") from None
    if isinstance(answer, dict) and answer.get("error"):
        raise EngineError(f"the server answered with an error ({server_words(body)})")
    choice = _first(answer.get("choices") if isinstance(answer, dict) else None)
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    usage = answer.get("usage") if isinstance(answer, dict) else None
    text, has_reasoned = _text(message.get("content")), _has_reasoned(message, usage)
    if text is None and has_reasoned:
        # All tokens went into reasoning, which this server keeps apart.
        text = ""
    if message.get("tool_calls") or message.get("function_call") or str(choice.get("finish_reason")).lower() in CALLS:
        raise EngineError("the reply calls a tool, and there is none")
    prompt, completion = _counts(usage)
    ended = _ended(choice.get("finish_reason"), bool(most_tokens) and completion >= most_tokens)
    if text is None:
        raise EngineError("not a chat completion with a text")
    # Half of a surrogate pair is not text: it cannot be written to a file.
    text = text.encode("utf-8", errors="replace").decode("utf-8")
    return Reply(text.strip(), ended, prompt, completion, has_reasoned)


def _first(choices: object) -> dict[str, Any]:
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _text(content: object) -> str | None:
    """Return a message's text, also where it comes in parts, of which reasoning is one."""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return content if isinstance(content, str) else None
    texts = [part.get("text") for part in content if part.get("type") in TEXTS]
    return "".join(text for text in texts if isinstance(text, str)) if content else None


def _has_reasoned(message: dict[str, Any], usage: object) -> bool:
    content = message.get("content")
    parts = [part.get("type") for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    hidden = details.get("reasoning_tokens") if isinstance(details, dict) else 0
    beside = any(message.get(name) for name in REASONING) or any(kind in THOUGHTS for kind in parts)
    return beside or (isinstance(hidden, int) and hidden > 0)


def _ended(reason: object, is_full: bool) -> str:
    """Return `stop` or `length`; EngineError for a reply that its server broke off."""
    said = reason.lower().removeprefix("finish_reason_") if isinstance(reason, str) else ""
    if said in FILTERED:
        raise EngineError("the server's content filter stopped the reply")
    if said in BROKEN_OFF:
        raise EngineError(f"the server broke the reply off (finish_reason: {said})")
    return "length" if said in CUT_OFF or (not said and is_full) else "stop"


def _counts(usage: object) -> tuple[int, int]:
    given = usage if isinstance(usage, dict) else {}
    prompt, completion = (given.get(name) for name in ("prompt_tokens", "completion_tokens"))
    return (prompt if isinstance(prompt, int) else 0), (completion if isinstance(completion, int) else 0)


def server_words(body: bytes) -> str:
    """Return a server's own words: the message of an error in JSON, or else the text itself, on one line."""
    text = body.decode("utf-8", errors="replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    for key in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(key):
            value = value[key]
    words = value if isinstance(value, str) else text
    return " ".join(words.split())
