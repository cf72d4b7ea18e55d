"""Example dialogues, by hand or from other projects: what can be mended is mended and counted, the rest is listed."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import dropwhile
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, model_validator

from tuning_room.engines.reasoning import without_reasoning
from tuning_room.errors import DataError, RecipeError
from tuning_room.formats import FileRow, read_dialogue, read_rows
from tuning_room.records import Candidate, Message, Record, parse_row
from tuning_room.requirements import Requirement, check_ids

LABELS = ("id", "topic", "situation", "gold")
OF_ROWS = ("source", "group", "traits")  # what rows of training data have as well: an example is its own source
# A key of another project's is ignored; one that is nearly ours is probably misspelt.
NEARLY = 0.75
SHOWN_LINES, SHOWN_KINDS = 5, 20
SKIP = "generate.on_error: skip"


class ExampleDialogue(Record):
    """A hand-written dialogue without a system turn."""

    id: str
    situation: str = ""
    topic: str = ""
    gold: str | None = None
    messages: list[Message] = Field(min_length=2)
    requirements: list[str] = []

    @model_validator(mode="after")
    def _takes_turns(self) -> "ExampleDialogue":
        roles = [message.role for message in self.messages]
        if roles != ["user", "assistant"] * (len(roles) // 2):
            raise ValueError("user and assistant must take turns; the user begins, and there is no system turn")
        return self


class Examples(NamedTuple):
    """Example dialogues as candidates; what was mended in how many rows, and how many were left out, by reason."""

    candidates: list[Candidate]
    mended: dict[str, int]
    skipped: dict[str, int]


def example_candidates(
    path: Path | None, known: Sequence[Requirement] | None = None, *, skip: bool = False
) -> list[Candidate]:
    """Return a file's dialogues as candidates; see `read_examples`."""
    return read_examples(path, known, skip=skip).candidates


def read_examples(path: Path | None, known: Sequence[Requirement] | None = None, *, skip: bool = False) -> Examples:
    """Return a file's dialogues as candidates, in any of the formats.

    Their requirements are looked up among those that are `known`, or, without these, not at all. Rows that cannot be
    used are left out with `skip`; else DataError names line and field, or lists all of them with counts.
    """
    faults: list[DataError] = []
    mended = Counter[str]()
    examples = list(_examples(path, known, faults, mended)) if path else []
    if faults and not skip:
        raise _alone(faults[0]) if len(faults) == 1 else _all_of(faults, path, len(examples) + len(faults))
    if faults and not examples:
        raise _all_of(faults, path, len(faults))
    name, count = Counter(example.id for example in examples).most_common(1)[0] if examples else ("", 1)
    if count > 1:
        raise DataError(f"{path}: {count} dialogues have the id '{name}'", hint="give each an id of its own")
    # The source is named after the recipe's key.
    made = [Candidate(source=f"seeds:{example.id}", group=example.id, **dict(example)) for example in examples]
    return Examples(made, dict(mended), {kind: len(lines) for kind, lines in _by_kind(faults).items()})


def _examples(
    path: Path, known: Sequence[Requirement] | None, faults: list[DataError], mended: "Counter[str]"
) -> Iterator[ExampleDialogue]:
    for row in read_rows(path, faults.append):
        try:
            example, mends = _example(row, known)
        except DataError as fault:
            faults.append(fault)
        else:
            mended.update(mends)
            yield example


def _by_kind(faults: Sequence[DataError]) -> dict[str, list[str]]:
    """Return the lines of each kind of fault, the most frequent kind first; in which turn it stands makes no kind."""
    kinds = defaultdict[str, list[str]](list)
    for fault in faults:
        place, _, problem = re.split(r"(?<=:)(?=\d+: )", fault.args[0], maxsplit=1)[-1].partition(": ")
        kinds[re.sub(r"\.\d+(?=[.:])", "", problem)].append(place)
    return dict(sorted(kinds.items(), key=lambda kind: -len(kind[1])))


def _alone(fault: DataError) -> DataError:
    return DataError(fault.args[0], hint=f"{fault.hint or 'mend it'}, or leave it out with {SKIP}")


def _all_of(faults: Sequence[DataError], path: Path | None, rows: int) -> DataError:
    """Return one error for all rows that cannot be used, by kind, with the lines of the first ones."""
    said = []
    for kind, lines in _by_kind(faults).items():
        more = ", ..." if len(lines) > SHOWN_LINES else ""
        said.append(f"\n  {len(lines)} x {kind} (line {', '.join(lines[:SHOWN_LINES])}{more})")
    if len(said) > SHOWN_KINDS:
        said[SHOWN_KINDS:] = [f"\n  and {len(said) - SHOWN_KINDS} more kinds"]
    return DataError(
        f"{path}: {len(faults)} of {rows} rows cannot be used{''.join(said)}",
        hint=f"fix or delete them, or leave them out with {SKIP}",
    )


def _example(row: FileRow, known: Sequence[Requirement] | None) -> tuple[ExampleDialogue, list[str]]:
    messages, mends = _in_turn(read_dialogue(row), row.where)
    values = {name: row.values[name] for name in _kept(row)}
    name = values.get("id")
    values |= {"id": f"line-{row.line}" if name is None else str(name)}
    values |= {"messages": [message.as_dict() for message in messages]}
    if isinstance(gold := values.get("gold"), int | float) and not isinstance(gold, bool):
        values["gold"] = str(gold)
    example = parse_row(json.dumps(values), ExampleDialogue, where=row.where)
    if known is not None:
        _check_ids(example, known, row.where)
    return example, mends


def _kept(row: FileRow) -> set[str]:
    """Return the keys of a row that are ours; DataError for one that is only nearly so, in our own format."""
    if "messages" not in row.values:
        return {*LABELS} & row.values.keys()
    ours = {*ExampleDialogue.model_fields, *OF_ROWS}
    for key in row.values.keys() - ours:
        # Not 'id': the ids of others have names like it.
        if close := get_close_matches(key, ours - {"id"}, n=1, cutoff=NEARLY):
            raise DataError(f"{row.where}: {key}: no such field", hint=f"did you mean '{close[0]}'?")
    return (row.values.keys() & ours) - {*OF_ROWS}


def _in_turn(messages: list[Message], where: str) -> tuple[list[Message], list[str]]:
    """Return a dialogue from the user's first message to the last reply, without a system turn, and what was mended.

    The rows get the recipe's own short prompt.
    """
    spoken, mends = list(dropwhile(lambda message: message.role == "system", messages)), dict[str, None]()
    turns: list[Message] = []
    for message in spoken:
        text = message.content
        if message.role == "assistant" and (left := without_reasoning(text)).text.strip() != text.strip():
            if left.fault or not left.text.strip():
                raise DataError(f"{where}: messages: reasoning without a reply", hint="fix or delete this line")
            text, mends["reasoning taken off"] = left.text.strip(), None
        if message.role == "assistant" and not turns:
            mends["greeting before the user's first message left out"] = None
        elif turns and turns[-1].role == message.role:
            turns[-1] = Message(role=message.role, content=f"{turns[-1].content}\n\n{text}")
            mends["turns of one side after another joined"] = None
        else:
            turns.append(Message(role=message.role, content=text))
    if len(turns) > 1 and turns[-1].role == "user":
        turns, mends["last message without a reply left out"] = turns[:-1], None
    return turns, list(mends)


def _check_ids(example: ExampleDialogue, known: Sequence[Requirement], where: str) -> None:
    try:
        check_ids(example.requirements, known, where)
    except RecipeError as error:
        # It stands in a file of data, like every other mistake of a row.
        raise DataError(*error.args, hint=error.hint) from None
