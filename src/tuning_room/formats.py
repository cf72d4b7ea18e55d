"""Dialogues in the usual formats of training data: chat messages, ShareGPT, Alpaca, prompt and completion."""

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NoReturn, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tuning_room.errors import DataError, MissingInputError
from tuning_room.records import Message, Role, whole
from tuning_room.words import seen

Format = Literal["messages", "sharegpt", "alpaca", "prompt-completion"]
FORMATS: tuple[Format, ...] = get_args(Format)

LONGEST = 4_000_000  # bytes of a row: no model reads a dialogue of a million tokens

THOUGHTS = ("thinking", "redacted_thinking", "reasoning")  # kinds of content parts
BAD_LABELS = ("label", "kto_tag")  # TRL's and LLaMA-Factory's names for whether a reply is a good one

SPEAKERS: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    **dict.fromkeys(("human", "user", "prompter"), "user"),
    **dict.fromkeys(
        ("gpt", "assistant", "model", "chatgpt", "bot", "chatbot", "ai", "bing", "bard", "claude"), "assistant"
    ),
}
SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt"}


def _role(speaker: object) -> object:
    """Return whose turn it is, under whichever name other projects give a side."""
    if not isinstance(speaker, str) or speaker.lower() in SPEAKERS:
        return SPEAKERS[speaker.lower()] if isinstance(speaker, str) else speaker
    raise ValueError(f"a turn of '{speaker[:40]}', which is neither the user nor the assistant")


def _text(content: object) -> object:
    """Return the text of content parts, reasoning left aside; what is no list stays what it is."""
    if not isinstance(content, list):
        return content
    content = [part for part in content if not (isinstance(part, dict) and part.get("type") in THOUGHTS)]
    for part in content:
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            kind = part.get("type", "without a type") if isinstance(part, dict) else "without a type"
            raise ValueError(f"a part that is no text ({kind})")
    return "".join(part["text"] for part in content)


def _nothing(value: object) -> object:
    if value:
        raise ValueError("a row holds no calls of tools, and nothing but text")
    return value


def _shown(text: str) -> str:
    if text and not seen(text):
        raise ValueError("nothing but blanks")
    return text


Side = Annotated[Role, BeforeValidator(_role)]
Words = Annotated[str, Field(min_length=1), AfterValidator(_shown)]
Nothing = Annotated[Any, AfterValidator(_nothing)]


class Weighted(BaseModel):
    """What other projects' files have beside a turn to say whether it is learned."""

    weight: float | None = None
    loss: float | None = None
    train: float | None = None
    masked: bool = False

    def check_learned(self, role: Role) -> None:
        """Raise ValueError for a reply that is not to be learned: here every reply of a row is."""
        for name in ("weight", "loss", "train"):
            if role == "assistant" and (getattr(self, name) == 0 or self.masked):
                said = "masked: true" if self.masked else f"{name}: 0"
                raise ValueError(f"{said}, but every reply of a row is learned; delete the reply, or the row")


class Turn(Weighted):
    """A turn of a ShareGPT dialogue."""

    speaker: Side = Field(alias="from")
    value: Words

    @model_validator(mode="after")
    def _is_learned(self) -> Self:
        self.check_learned(self.speaker)
        return self

    def message(self) -> Message:
        """Return the turn as a chat message."""
        return Message(role=self.speaker, content=self.value)


class ChatTurn(Weighted):
    """A turn in OpenAI's form, with what its fine-tuning files and answers have beside role and content."""

    model_config = ConfigDict(extra="forbid")

    role: Side
    content: Annotated[Words | None, BeforeValidator(_text)]
    name: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    thinking: str | None = None
    tool_calls: Nothing = None
    function_call: Nothing = None
    refusal: Nothing = None
    audio: Nothing = None
    annotations: Nothing = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and self.role != "assistant":
            raise ValueError("content: null, which only an assistant's turn may be")
        self.check_learned(self.role)
        return self

    def messages(self) -> list[Message]:
        """Return the turn as a chat message, or none where the assistant said nothing."""
        return [Message(role=self.role, content=self.content)] if self.content else []


class Messages(BaseModel):
    """A row of chat messages."""

    messages: list[ChatTurn] = Field(min_length=1)

    def dialogue(self) -> list[Message]:
        """Return the row as chat messages."""
        return [message for turn in self.messages for message in turn.messages()]


class Conversations(BaseModel):
    """A row of chat messages under ShareGPT's name for them."""

    conversations: list[ChatTurn] = Field(min_length=1)
    system: str | None = None

    def dialogue(self) -> list[Message]:
        """Return the row as chat messages."""
        return [*_system(self.system), *(message for turn in self.conversations for message in turn.messages())]


class ShareGpt(BaseModel):
    """A row of ShareGPT: turns from human and gpt, with the system prompt as a turn or as a field of its own."""

    conversations: list[Turn] = Field(min_length=1)
    system: str | None = None

    def dialogue(self) -> list[Message]:
        """Return the row as chat messages."""
        return [*_system(self.system), *(turn.message() for turn in self.conversations)]


class Alpaca(BaseModel):
    """A row of Alpaca, with LLaMA-Factory's `system` and `history` (pairs of instruction and reply)."""

    instruction: Words
    input: str | None = None
    output: Words
    system: str | None = None
    history: list[tuple[str, str]] | None = None

    def dialogue(self) -> list[Message]:
        """Return the row as chat messages; `input` follows the instruction."""
        prompt = f"{self.instruction}\n\n{self.input}" if self.input else self.instruction
        return [*_system(self.system), *_pairs([*(self.history or []), (prompt, self.output)])]


class Completion(BaseModel):
    """A row of TRL's prompt and completion, as texts."""

    prompt: Words
    completion: Words

    def dialogue(self) -> list[Message]:
        """Return the row as chat messages."""
        return _pairs([(self.prompt, self.completion)])


class ChatCompletion(BaseModel):
    """A row of TRL's prompt and completion, as chat messages."""

    prompt: list[ChatTurn] = Field(min_length=1)
    completion: list[ChatTurn] = Field(min_length=1)

    def dialogue(self) -> list[Message]:
        """Return the row as chat messages."""
        return [message for turn in [*self.prompt, *self.completion] for message in turn.messages()]


Form = type[Messages] | type[Conversations] | type[ShareGpt] | type[Alpaca] | type[Completion] | type[ChatCompletion]


def _system(prompt: str | None) -> list[Message]:
    return [Message(role="system", content=prompt)] if prompt else []


def _pairs(pairs: Sequence[tuple[str, str]]) -> list[Message]:
    messages: list[Message] = []
    for user, reply in pairs:
        messages += [Message(role="user", content=user), Message(role="assistant", content=reply)]
    return messages


class FileRow(NamedTuple):
    """A row of a file, unconverted; `where` is its file and line, for error messages."""

    where: str
    line: int
    values: dict[str, Any]


OnFault = Callable[[DataError], object]


def stop(fault: DataError) -> NoReturn:
    """Raise a fault."""
    raise fault


def read_rows(path: Path, on_fault: OnFault = stop) -> Iterator[FileRow]:
    """Yield the rows of a JSONL file, or of a JSON file that is one list.

    Raises MissingInputError, and DataError with file and line for what is not a JSON object in UTF-8, unless `on_fault`
    takes it; a list that is broken cannot be read on.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file", hint="correct its name")
    with path.open("rb") as lines:
        if b"\0" in lines.read(200):
            raise DataError(f"{path}: not UTF-8 (UTF-16, or no text at all)", hint="save it as UTF-8")
        lines.seek(0)
        is_list = next((line for line in lines if line.strip()), b"").removeprefix(BOM_UTF8).lstrip().startswith(b"[")
    for line, values in _listed(path) if is_list else _lines(path, on_fault):
        where = f"{path}:{line}"
        if isinstance(values, dict):
            yield FileRow(where, line, values)
        else:
            on_fault(DataError(f"{where}: not a JSON object", hint="a row is {...}; fix or delete it"))


def _lines(path: Path, on_fault: OnFault) -> Iterator[tuple[int, Any]]:
    # Read as bytes, so that invalid UTF-8 is an error of its own line.
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if len(line) > LONGEST:
                on_fault(_too_long(f"{path}:{number}", len(line)))
            elif line.removeprefix(BOM_UTF8).strip():
                try:
                    # As text: of bytes, the package guesses the encoding.
                    values = whole(json.loads(line.removeprefix(BOM_UTF8).decode(), parse_constant=_refuse))
                except (ValueError, RecursionError) as error:
                    on_fault(_unreadable(f"{path}:{number}", error))
                else:
                    yield number, values


def _listed(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable(f"{path}:{path.read_bytes()[: error.start].count(10) + 1}", error) from None
    decoder, place, line = json.JSONDecoder(parse_constant=_refuse), text.index("[") + 1, 1
    counted = 0
    while True:
        while text[place : place + 1] in tuple(" \t\r\n,"):
            place += 1
        line, counted = line + text.count("\n", counted, place), place
        if text[place : place + 1] == "]":
            if more := text[place + 1 :].lstrip():
                line = text.count("\n", 0, len(text) - len(more)) + 1
                raise DataError(f"{path}:{line}: the list has ended above", hint="put every row into the one list")
            return
        try:
            values, end = decoder.raw_decode(text, place)
            whole(values)
        except (ValueError, RecursionError) as error:
            at = line + text.count("\n", place, error.pos) if isinstance(error, json.JSONDecodeError) else line
            raise _unreadable(f"{path}:{at}", error) from None
        if end - place > LONGEST:
            raise _too_long(f"{path}:{line}", end - place)
        place = end
        yield line, values


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _too_long(where: str, size: int) -> DataError:
    return DataError(f"{where}: a row of {size / 1e6:.1f} MB, more than {LONGEST / 1e6:.0f}", hint="split or delete it")


def _unreadable(where: str, error: Exception) -> DataError:
    reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    return DataError(f"{where}: not JSON in UTF-8 ({reason})", hint="fix or delete this line")


def read_dialogue(row: FileRow) -> list[Message]:
    """Return a row's dialogue, whichever format it has; DataError names file, line and field."""
    if bad := next((name for name in BAD_LABELS if row.values.get(name) is False), ""):
        raise DataError(f"{row.where}: {bad}: false, a reply that is not to be learned", hint="delete this line")
    try:
        return _form(row).model_validate(row.values).dialogue()
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        problem = first["msg"].removeprefix("Value error, ")
        raise DataError(f"{row.where}: {field}: {problem}", hint="fix or delete this line") from None


def _form(row: FileRow) -> Form:
    keys = row.values.keys()
    if "messages" in keys:
        return Messages
    if "conversations" in keys:
        turns = row.values["conversations"]
        is_chat = isinstance(turns, list) and turns and isinstance(turns[0], dict) and "role" in turns[0]
        return Conversations if is_chat else ShareGpt
    if "instruction" in keys:
        return Alpaca
    if "prompt" in keys:
        return ChatCompletion if isinstance(row.values["prompt"], list) else Completion
    raise DataError(
        f"{row.where}: none of the fields messages, conversations, instruction, prompt",
        hint="a row is chat messages, ShareGPT, Alpaca, or prompt and completion",
    )


def written(messages: Sequence[Message], form: Format, *, where: str) -> dict[str, Any]:
    """Return a dialogue in a format.

    In Alpaca and in prompt and completion it must end with a reply; in Alpaca, user and assistant must also take turns.
    Raises DataError, which names `where`, for a dialogue that does not fit.
    """
    turns = [message.as_dict() for message in messages]
    if form == "messages":
        return {"messages": turns}
    if form == "sharegpt":
        return {"conversations": [{"from": SHAREGPT[turn["role"]], "value": turn["content"]} for turn in turns]}
    if not turns or turns[-1]["role"] != "assistant" or len(turns) < 2:
        raise DataError(f"{where}: the dialogue does not end with a reply", hint="export it as messages or sharegpt")
    if form == "prompt-completion":
        return {"prompt": turns[:-1], "completion": turns[-1:]}
    return _alpaca(turns, where)


def _alpaca(turns: list[dict[str, str]], where: str) -> dict[str, Any]:
    has_system = turns[0]["role"] == "system"
    spoken = turns[1:] if has_system else turns
    if [turn["role"] for turn in spoken] != ["user", "assistant"] * (len(spoken) // 2):
        raise DataError(f"{where}: user and assistant do not take turns", hint="export it as messages or sharegpt")
    texts = [turn["content"] for turn in spoken]
    return {
        "instruction": texts[-2],
        "input": "",
        "output": texts[-1],
        "system": turns[0]["content"] if has_system else "",
        "history": [list(pair) for pair in zip(texts[:-2:2], texts[1:-2:2], strict=True)],
    }
