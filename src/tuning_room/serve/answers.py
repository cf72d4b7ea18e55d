"""The bodies of answers, as OpenAI's API has them."""

import secrets
import time
from collections.abc import Sequence
from typing import NamedTuple

from tuning_room.engines import ScoredToken

UNEXPECTED = "unexpected server error; the server's log says more"
LEAST_LOGPROB = -9999.0  # JSON has no infinity; OpenAI and vLLM write this


class TokenUsage(NamedTuple):
    """How many tokens an answer took."""

    prompt: int
    completion: int

    def body(self) -> dict[str, int]:
        """Return it in OpenAI's words."""
        total = self.prompt + self.completion
        return {"prompt_tokens": self.prompt, "completion_tokens": self.completion, "total_tokens": total}


class ChatAnswer:
    """An answer to one chat request: all its parts have the same id, time and model."""

    prefix, whole, part = "chatcmpl", "chat.completion", "chat.completion.chunk"
    is_bare = True  # without the white space around it, as replies are evaluated

    def __init__(self, model: str, *, wants_usage: bool = False) -> None:
        self.model, self.wants_usage = model, wants_usage
        self._head = {"id": f"{self.prefix}-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}

    def completion(self, choices: Sequence[dict[str, object]], usage: TokenUsage) -> dict[str, object]:
        """Return a whole answer."""
        return {**self._head, "object": self.whole, "choices": [*choices], "usage": usage.body()}

    def choice(
        self, index: int, text: str, finish_reason: str, scored: Sequence[ScoredToken] | None
    ) -> dict[str, object]:
        """Return one of the replies of a whole answer."""
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"index": index, "message": message, "logprobs": chat_scores(scored), "finish_reason": finish_reason}

    def opening(self, index: int) -> dict[str, object] | None:
        """Return what a streamed reply begins with."""
        return self._chunk(index, {"role": "assistant", "content": ""}, None, None)

    def chunk(self, index: int, text: str, scored: Sequence[ScoredToken] | None) -> dict[str, object]:
        """Return a piece of a streamed reply."""
        return self._chunk(index, {"content": text}, scored, None)

    def closing(self, index: int, finish_reason: str) -> dict[str, object]:
        """Return what a streamed reply ends with."""
        return self._chunk(index, {}, None, finish_reason)

    def usage_chunk(self, usage: TokenUsage) -> dict[str, object]:
        """Return the last piece of a streamed answer, which counts its tokens."""
        return {**self._head, "object": self.part, "choices": [], "usage": usage.body()}

    def _chunk(
        self, index: int, delta: dict[str, str], scored: Sequence[ScoredToken] | None, finish_reason: str | None
    ) -> dict[str, object]:
        choice = {"index": index, "delta": delta, "logprobs": chat_scores(scored), "finish_reason": finish_reason}
        return self._part(choice)

    def _part(self, choice: dict[str, object]) -> dict[str, object]:
        usage = {"usage": None} if self.wants_usage else {}
        return {**self._head, "object": self.part, "choices": [choice], **usage}


class TextAnswer(ChatAnswer):
    """An answer to one request for plain completions."""

    prefix, whole, part = "cmpl", "text_completion", "text_completion"
    is_bare = False

    def choice(
        self, index: int, text: str, finish_reason: str, scored: Sequence[ScoredToken] | None
    ) -> dict[str, object]:
        """Return one of the texts of a whole answer."""
        return {"index": index, "text": text, "logprobs": text_scores(scored), "finish_reason": finish_reason}

    def opening(self, index: int) -> dict[str, object] | None:
        """Return nothing: a text has no role to begin with."""
        return None

    def chunk(self, index: int, text: str, scored: Sequence[ScoredToken] | None) -> dict[str, object]:
        """Return a piece of a streamed text."""
        return self._part({"index": index, "text": text, "logprobs": text_scores(scored), "finish_reason": None})

    def closing(self, index: int, finish_reason: str) -> dict[str, object]:
        """Return what a streamed text ends with."""
        return self._part({"index": index, "text": "", "logprobs": None, "finish_reason": finish_reason})


def chat_scores(scored: Sequence[ScoredToken] | None) -> dict[str, object] | None:
    """Return the scores of tokens as chat completions have them."""
    if scored is None:
        return None
    content = [
        {**_score(one.text, one.logprob), "top_logprobs": [_score(text, logprob) for text, logprob in one.likeliest]}
        for one in scored
    ]
    return {"content": content, "refusal": None}


def text_scores(scored: Sequence[ScoredToken] | None) -> dict[str, object] | None:
    """Return the scores of tokens as plain completions have them; offsets count from the beginning of these tokens."""
    if scored is None:
        return None
    lengths = [len(one.text) for one in scored]
    return {
        "tokens": [one.text for one in scored],
        "token_logprobs": [max(one.logprob, LEAST_LOGPROB) for one in scored],
        "top_logprobs": [{text: max(logprob, LEAST_LOGPROB) for text, logprob in one.likeliest} for one in scored],
        "text_offset": [sum(lengths[:n]) for n in range(len(lengths))],
    }


def _score(text: str, logprob: float) -> dict[str, object]:
    return {"token": text, "logprob": max(logprob, LEAST_LOGPROB), "bytes": [*text.encode()]}


def model_entry(name: str, names: Sequence[str], created: int) -> dict[str, object]:
    """Return a model that is served; the first of all names is the base model of the others."""
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "tuning-room",
        "root": names[0],
        "parent": None if name == names[0] else names[0],
    }


def model_list(names: Sequence[str], created: int) -> dict[str, object]:
    """Return the models that are served."""
    return {"object": "list", "data": [model_entry(name, names, created) for name in names]}


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> dict[str, object]:
    """Return an error; `kind` is OpenAI's type, `param` the field of the request that is at fault."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
