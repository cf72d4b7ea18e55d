"""A chat request as it comes over the wire, and the dialogue that the model reads."""

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tuning_room.records import Message, Role
from tuning_room.serve.asked import MOST_LOGPROBS, ReplyRequest

TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "user",
    "function": "user",
}


class ServedTurn(Message):
    """A turn as a client sends it, which may be empty."""

    content: str = ""


class CalledFunction(BaseModel):
    """The function that an assistant called, and its arguments as JSON."""

    model_config = ConfigDict(extra="ignore")

    name: str
    arguments: str = "{}"


class ToolCall(BaseModel):
    """A call in the history."""

    model_config = ConfigDict(extra="ignore")

    function: CalledFunction

    def as_text(self) -> str:
        """Return the call in the form in which Hermes and Qwen models write it."""
        return f'<tool_call>\n{{"name": "{self.function.name}", "arguments": {self.function.arguments}}}\n</tool_call>'


class ChatMessage(BaseModel):
    """A message whose content is a text, a list of text parts, or nothing beside tool calls."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: CalledFunction | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _joined(cls, content: object) -> object:
        return "".join(_part_text(part) for part in content) if isinstance(content, list) else content

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and self.role != "assistant":
            raise ValueError(f"a message of role '{self.role}' needs a content")
        return self

    def turn(self) -> Message:
        """Return the message in the roles that chat templates have: tools answer in a turn of the user."""
        text = self.content or ""
        if self.role in ("tool", "function"):
            return Message(role=ROLES[self.role], content=f"<tool_response>\n{text}\n</tool_response>")
        if self.role == "assistant":
            calls = [*(self.tool_calls or ()), *([ToolCall(function=self.function_call)] if self.function_call else ())]
            text = "\n".join(filter(None, [text, *(call.as_text() for call in calls)]))
        role = ROLES[self.role]
        return Message(role=role, content=text) if text else ServedTurn(role=role)


class ChatRequest(ReplyRequest):
    """The body of POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=MOST_LOGPROBS)

    @field_validator("top_logprobs")
    @classmethod
    def _beside_logprobs(cls, count: int | None, info: Any) -> int | None:
        if count and not info.data.get("logprobs"):
            raise ValueError("needs logprobs to be true")
        return count

    def limit(self) -> int | None:
        """Return how many tokens a reply may have at most, if the client says so."""
        return self.max_completion_tokens or self.max_tokens

    def top_logprobs_wanted(self) -> int | None:
        """Return of how many of the likeliest tokens the scores are wanted, or None for no scores at all."""
        return (self.top_logprobs or 0) if self.logprobs else None

    def dialogue(self) -> tuple[list[Message], list[str]]:
        """Return what the model reads, and warnings about what was changed.

        Chat templates know one system turn, at the start: several messages there are joined into one.
        """
        turns = [message.turn() for message in self.messages]
        leading = next((n for n, turn in enumerate(turns) if turn.role != "system"), len(turns))
        if leading < 2:
            return _without_doubles(turns), []
        text = "\n\n".join(turn.content for turn in turns[:leading] if turn.content)
        joined = ServedTurn(role="system", content=text)
        return [joined, *_without_doubles(turns[leading:])], [f"{leading} system messages joined into one"]


def _without_doubles(turns: Sequence[Message]) -> list[Message]:
    """Return turns of which the answers of several tools in a row are one: templates want roles to alternate."""
    kept: list[Message] = []
    for turn in turns:
        if kept and turn.content.startswith("<tool_response>") and kept[-1].content.endswith("</tool_response>"):
            kept[-1] = Message(role="user", content=f"{kept[-1].content}\n{turn.content}")
        else:
            kept.append(turn)
    return kept


def _part_text(part: object) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str | None):
        raise ValueError("a part of a content is an object with a type")
    text = part.get(TEXT_PARTS.get(kind or "text", ""))
    if not isinstance(text, str):
        raise ValueError(f"only text parts are supported here, not '{kind}': the model reads no images, audio or files")
    return text
