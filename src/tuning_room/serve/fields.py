"""Which fields of a request are answered, refused or ignored: the table that the server follows and the docs print.

A field that would change the reply, and is not done here, is refused unless it has a value that changes nothing. What
only concerns OpenAI's own accounts and storage is ignored, as is any field that nobody knows; the answer then says so
in a header.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from tuning_room.errors import TuningRoomError

WARNING_HEADER = "X-Tuning-Room-Warning"
LONGEST_WARNING = 500  # characters
Kind = Literal["answered", "refused", "ignored"]
CHAT, COMPLETIONS = "chat/completions", "completions"
BOTH = (CHAT, COMPLETIONS)


class RequestError(TuningRoomError, ValueError):
    """A request that is not answered: the HTTP status, the field at fault, and OpenAI's type and code for it."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        kind: str = "invalid_request_error",
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.kind, self.code, self.retry_after = status, param, kind, code, retry_after


class WireField(NamedTuple):
    """A field of a request: where it occurs, what is done with it, and what values a refused one may have."""

    name: str
    kind: Kind
    note: str = ""
    harmless: tuple[object, ...] = ()
    paths: Sequence[str] = BOTH


FIELDS = (
    WireField("model", "answered", "the base model or an adapter; anything else is 404"),
    WireField("messages", "answered", "see below", paths=[CHAT]),
    WireField("prompt", "answered", "a text or a list of texts; no chat template", paths=[COMPLETIONS]),
    WireField(
        "max_completion_tokens", "answered", "cut to `serve.max_length` and the context, with a warning", (), [CHAT]
    ),
    WireField("max_tokens", "answered", "as `max_completion_tokens`; 16 by default in `completions`"),
    WireField("temperature", "answered", "greedy without it, as the model was evaluated"),
    WireField("top_p", "answered"),
    WireField("n", "answered", "up to 16 choices, computed together"),
    WireField("stop", "answered", "a text or up to 16 texts; usage is counted up to it"),
    WireField("seed", "answered", "the same reply for the same seed, but for rounding in other company"),
    WireField("presence_penalty", "answered"),
    WireField("frequency_penalty", "answered"),
    WireField("logit_bias", "answered"),
    WireField("logprobs", "answered", "from the model's own scores, before penalties and temperature"),
    WireField("top_logprobs", "answered", "up to 20", paths=[CHAT]),
    WireField("stream", "answered"),
    WireField("stream_options", "answered", "`include_usage`"),
    WireField("top_k", "answered", "as in vLLM; the model's own setting without it"),
    WireField("min_p", "answered", "as in vLLM"),
    WireField("repetition_penalty", "answered", "as in vLLM"),
    WireField("stop_token_ids", "answered", "as in vLLM"),
    WireField("tools", "refused", "unless `tool_choice` is `none`", ([],), [CHAT]),
    WireField("tool_choice", "refused", "", ("none", "auto"), [CHAT]),
    WireField("functions", "refused", "", ([],), [CHAT]),
    WireField("function_call", "refused", "", ("none", "auto"), [CHAT]),
    WireField(
        "response_format", "refused", "but for `text`: no library that constrains replies is installed", (), [CHAT]
    ),
    WireField("modalities", "refused", "but for `text`", (["text"],), [CHAT]),
    WireField("audio", "refused", paths=[CHAT]),
    WireField("prediction", "ignored", "only makes OpenAI's replies faster", paths=[CHAT]),
    WireField("web_search_options", "refused", paths=[CHAT]),
    WireField("echo", "refused", "", (False,), [COMPLETIONS]),
    WireField("suffix", "refused", "", ("",), [COMPLETIONS]),
    WireField("best_of", "refused", "", (1,), [COMPLETIONS]),
    WireField("guided_json", "refused", "vLLM's"),
    WireField("guided_regex", "refused", "vLLM's"),
    WireField("guided_choice", "refused", "vLLM's"),
    WireField("guided_grammar", "refused", "vLLM's"),
    WireField("structured_outputs", "refused", "vLLM's"),
    WireField("use_beam_search", "refused", "vLLM's", (False,)),
    WireField("length_penalty", "refused", "vLLM's", (1,)),
    WireField("min_tokens", "refused", "vLLM's", (0,)),
    WireField("ignore_eos", "refused", "vLLM's", (False,)),
    WireField("prompt_logprobs", "refused", "vLLM's", (0,)),
    WireField("bad_words", "refused", "vLLM's", ([],)),
    WireField("add_generation_prompt", "refused", "vLLM's", (True,), [CHAT]),
    WireField("continue_final_message", "refused", "vLLM's", (False,), [CHAT]),
    WireField("chat_template", "refused", "vLLM's; the adapter was trained under its own", (), [CHAT]),
    WireField("documents", "refused", "vLLM's", ([],), [CHAT]),
    WireField("parallel_tool_calls", "ignored", "there are no tool calls", paths=[CHAT]),
    WireField("reasoning_effort", "ignored", "the model does not reason apart", paths=[CHAT]),
    WireField("verbosity", "ignored", paths=[CHAT]),
    WireField("user", "ignored", "without a warning: it never changes a reply"),
    WireField("metadata", "ignored", "without a warning", paths=[CHAT]),
    WireField("store", "ignored", "nothing is stored", (False,), [CHAT]),
    WireField("service_tier", "ignored", paths=[CHAT]),
    WireField("safety_identifier", "ignored", paths=[CHAT]),
    WireField("prompt_cache_key", "ignored", "prefixes are cached anyway", paths=[CHAT]),
)
SILENT = ("user", "metadata")  # sent by many clients with each request, and without effect anywhere


def check_fields(path: str, given: Mapping[str, object]) -> list[str]:
    """Return the names of fields that will be ignored; RequestError for one that is refused."""
    known = {field.name: field for field in FIELDS if path in field.paths}
    ignored = []
    for name, value in given.items():
        field = known.get(name)
        if value is None or name in SILENT or (field and value in field.harmless):
            continue
        if field is None or field.kind == "ignored":
            ignored.append(name)
        elif not _is_harmless(name, value, given):
            why = f" ({field.note})" if field.note else ""
            raise RequestError(f"'{name}' is not supported here{why}", param=name, code="unsupported_parameter")
    return ignored


def _is_harmless(name: str, value: object, given: Mapping[str, object]) -> bool:
    if name == "tools":
        return given.get("tool_choice") == "none"
    return name == "response_format" and isinstance(value, dict) and value.get("type") == "text"


def warning(ignored: Sequence[str], *others: str) -> dict[str, str]:
    """Return the header that says what was not done as asked; none if all was."""
    # Names of fields are whatever the client sent, and a header is one line of ASCII.
    names = [name.encode("ascii", "replace").decode() for name in ignored]
    parts = [*others, *([f"ignored: {', '.join(names)}"] if names else [])]
    text = "".join(char if char.isprintable() else "?" for char in "; ".join(parts))
    return {WARNING_HEADER: text[:LONGEST_WARNING]} if parts else {}


def table() -> str:
    """Return the table of fields for the docs."""
    lines = ["| field | in | what is done | remark |", "| --- | --- | --- | --- |"]
    for kind in ("answered", "refused", "ignored"):
        for field in FIELDS:
            if field.kind == kind:
                values = ", ".join(f"`{value!r}`" for value in field.harmless)
                remark = "; ".join(filter(None, [field.note, f"accepted: {values}" if values else ""]))
                where = ", ".join(f"`{path}`" for path in field.paths)
                lines.append(f"| `{field.name}` | {where} | {kind} | {remark} |")
    return "\n".join(lines)
