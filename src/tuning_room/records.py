"""The plain records that pass between stages, and how they are read and written."""

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import not_
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from tuning_room.errors import DataError, MissingInputError
from tuning_room.files import atomic_writer

Role = Literal["system", "user", "assistant"]


# What an adapter's folder holds: its weights, how they are applied, what it says of itself, and what it was seen to do.
WEIGHTS = "adapter_model.safetensors"
SETTINGS = "adapter_config.json"
LINEAGE = "tuning_room.json"
PROBES = "probes.json"


class Record(BaseModel):
    """A row of a JSONL file; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


R = TypeVar("R", bound=Record)
M = TypeVar("M", bound=BaseModel)


class Message(Record):
    """One turn of a dialogue in OpenAI's chat form."""

    role: Role
    content: str = Field(min_length=1)

    def as_dict(self) -> dict[str, str]:
        """Return the message as an OpenAI chat message."""
        return {"role": self.role, "content": self.content}


class Chunk(Record):
    """A part of a document about one subject: a heading and the text under it.

    `begin` and `end` are its place in the document's markdown file, in bytes; the end is exclusive.
    """

    id: str
    document: str
    headings: list[str]
    text: str
    items: list[str] = []
    page: int | None = None
    begin: int | None = None
    end: int | None = None


class Candidate(Record):
    """A dialogue that may become training data, with what a check needs to judge it.

    `traits` are the columns sampled for it, such as its difficulty; `scores` are a judge's, 0 to 10. `requirements` are
    the ids of what it teaches.
    """

    id: str
    source: str
    group: str
    topic: str = ""
    situation: str = ""
    gold: str | None = None
    messages: list[Message]
    error: str = ""
    # Omitted where empty, so that the rows of recipes without them do not change.
    traits: dict[str, str] = Field({}, exclude_if=not_)
    scores: dict[str, float] = Field({}, exclude_if=not_)
    requirements: list[str] = Field([], exclude_if=not_)


class Rejection(Record):
    """A candidate that was rejected, and why."""

    reason: str
    detail: str
    candidate: Candidate


class Dialogue(Record):
    """A row of training data: chat messages, with the system turn first, and where they came from."""

    id: str
    source: str
    group: str
    topic: str = ""
    situation: str = ""
    messages: list[Message]
    requirements: list[str] = Field([], exclude_if=not_)


class Item(Record):
    """A held-out evaluation item: what the user writes, and what a good reply does or must not do.

    `before` holds the turns before the prompt, `turns` the user's later messages; a good reply has at least one of the
    words in `expects`; `choices` are weighed by their likelihood; `checks` are constraints by name; `fields` are the
    values that a reply in JSON must have. `claim` is the result that the user gives as right, `requirements` has the
    ids of what the item tests. docs/evaluation.md describes which suite uses which.
    """

    id: str
    suite: str = ""
    topic: str = ""
    type: str = ""
    in_syllabus: bool = True
    difficulty: str = ""
    family: str = ""
    prompt: str = Field(min_length=1)
    gold: str = ""
    check: str = ""
    before: list[Message] = []
    turns: list[str] = []
    expects: list[str] = []
    wanted: str = ""
    choices: list[str] = []
    checks: dict[str, dict[str, Any]] = {}
    fields: dict[str, Any] = {}
    claim: str = Field("", exclude_if=not_)
    requirements: list[str] = Field([], exclude_if=not_)

    @property
    def kind(self) -> str:
        """Return the item's kind: its attack family, else what is wanted, else its topic."""
        return self.family or self.wanted or self.topic

    @property
    def said(self) -> str:
        """Return all that the user has written before the first reply, one message per line."""
        return "\n".join([*(turn.content for turn in self.before if turn.role == "user"), self.prompt])


class Tried(Record):
    """One configuration of a sweep: its validation loss in nats per token, and the share of replies passing the checks.

    `steps` and `seconds` are those of its training; `failed` is the reason if there is no result.
    """

    learning_rate: float
    rank: int
    epochs: int
    steps: int
    valid_loss: float | None
    accepted: float | None
    replies: int
    seconds: float
    failed: str = ""


class Sweep(Record):
    """The configurations that `train --sweep` tried, best first, and the digest of the rows that they were tried on."""

    rows: str
    tried: list[Tried]


class TrainingStep(Record):
    """One optimizer step: losses in nats per token, seconds of wall time.

    `valid_loss` is set if a validation followed the step; `tokens` counts all that were computed, padding included.
    """

    step: int
    loss: FiniteFloat
    valid_loss: FiniteFloat | None = None
    learning_rate: float
    rows: int
    tokens: int
    seconds: float


def read_jsonl(path: Path, kind: type[R]) -> Iterator[R]:
    """Yield the records of a JSONL file.

    Raises MissingInputError if there is no such file, DataError with the line's number if a line does not fit.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file", hint="run the stage before this one first")
    # Read as bytes, so that invalid UTF-8 is an error of its own line.
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield parse_row(line.removeprefix(BOM_UTF8), kind, where=f"{path}:{number}")


def parse_row(line: str | bytes, kind: type[R], *, where: str) -> R:
    """Return one line of JSON as a record; DataError names `where` and the field."""
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        place = f"{where}: {field}" if field else where
        raise DataError(f"{place}: {first['msg']}", hint="fix or delete this line") from None


def write_jsonl(path: Path, rows: Iterable[Record]) -> int:
    """Write records as JSONL, all or nothing, and return how many there were."""
    count = 0
    with jsonl_writer(path) as write:
        for row in rows:
            write(row)
            count += 1
    return count


@contextmanager
def jsonl_writer(path: Path) -> Iterator[Callable[[Record], object]]:
    """Open a JSONL file for rows that come one by one; it gets its name when the block ends without an error."""
    with atomic_writer(path) as out:
        yield lambda row: out.write(json.dumps(row.model_dump(mode="json"), ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; MissingInputError or DataError name the file."""
    try:
        return whole(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise MissingInputError(f"{path}: no such file", hint="run the stage before this one first") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error})", hint="delete the file and run the stage again") from None


def whole(value: Any) -> Any:
    """Return what was read from JSON; ValueError for half of a surrogate pair in it, which no file can hold."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair, which is no character") from None
    return value


def read_record(path: Path, kind: type[M]) -> M:
    """Return a JSON file as a record; MissingInputError, or DataError that names file and field."""
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {field}: {first['msg']}", hint="run the stage that writes it again") from None


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, all or nothing."""
    with atomic_writer(path) as out:
        out.write(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n")
