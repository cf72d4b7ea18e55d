"""The bodies of answers, as OpenAI's API has them."""

import secrets
import time
from collections.abc import Sequence

from tuning_room.engines import Reply

UNEXPECTED = "unexpected server error; the server's log says more"


class ChatAnswer:
    """An answer to one chat request: all its parts have the same id, time and model."""

    def __init__(self, model: str) -> None:
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}

    def completion(self, text: str, finish_reason: str, reply: Reply | None) -> dict[str, object]:
        """Return a whole answer."""
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage(reply)}

    def chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> dict[str, object]:
        """Return a piece of a streamed answer."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def usage_chunk(self, reply: Reply | None) -> dict[str, object]:
        """Return the last piece of a streamed answer, which counts its tokens."""
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage(reply)}


def usage(reply: Reply | None) -> dict[str, int] | None:
    """Return how many tokens a reply took; None where the engine did not count, as for a reply that was cut off."""
    if reply is None:
        return None
    total = reply.prompt_tokens + reply.completion_tokens
    return {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens, "total_tokens": total}


def model_list(names: Sequence[str], created: int) -> dict[str, object]:
    """Return the models that are served; the first is the base model of the others."""
    entries = [
        {
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": "tuning-room",
            "root": names[0],
            "parent": None if name == names[0] else names[0],
        }
        for name in names
    ]
    return {"object": "list", "data": entries}


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> dict[str, object]:
    """Return an error; `kind` is OpenAI's type, `param` the field of the request that is at fault."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
