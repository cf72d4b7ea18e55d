"""What a teacher is asked about: one row per query, on a passage, a requirement, or a line of the full prompt."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import NamedTuple

from tuning_room.errors import RecipeError
from tuning_room.generate.columns import PUSH, Columns, draw
from tuning_room.generate.config import GenerateConfig
from tuning_room.generate.flow_runner import FlowRow
from tuning_room.records import Chunk
from tuning_room.requirements import Requirement, RowsTaught, normalized, places
from tuning_room.requirements.passages import passages
from tuning_room.words import count, words

SHORTEST_PART = 4  # words: anything shorter is a heading or a fragment, and nothing to write about
OWN = {"id", "source", "group", "topic", "passage", "focus", "full_prompt", "number", "total", "turns", "traits"}
OWN |= {"situation", "gold", "error", "seed", "row", "messages", "question", "reply", "rubric"}
OWN |= {"requirements", "grounds"}


class PromptPart(NamedTuple):
    """A line of the full prompt that says something, and the heading above it."""

    text: str
    heading: str


def prompt_parts(prompt: str) -> list[PromptPart]:
    """Return the lines of a prompt that a query can be about; a prompt of a few words is a single part."""
    parts, heading = [], ""
    for line in prompt.splitlines():
        text = line.strip()
        if text.startswith("#"):
            heading = text.lstrip("#").strip()
        elif count(words(text, joined="'", alone="")) >= SHORTEST_PART:
            parts.append(PromptPart(text, heading))
    return parts or [PromptPart(prompt.strip(), heading)]


def in_turn(asked: Sequence[Requirement], taught: RowsTaught, rows: int) -> list[Requirement]:
    """Return which requirement each row is to teach: always the one that the fewest rows teach so far.

    Those of every reply are taught by every row, and only drawn, by turns, where there are no others. Of `a`, `b` and
    `c`, with two rows for `a` and one for `b` to begin with, eight rows go:

        taught {a: 2, b: 1}  ->  c b c a b c a b
    """
    some = [one for one in asked if not one.every_reply] or list(asked)
    count, times, drawn = deepcopy(taught), Counter[str](), list[Requirement]()
    for _ in range(rows if some else 0):
        next_one = min(some, key=lambda one: (count.of(one), times[one.id]))
        count.add([next_one.id])
        times[next_one.id] += 1
        drawn.append(next_one)
    return drawn


def query_rows(
    config: GenerateConfig,
    chunks: list[Chunk],
    columns: Columns,
    known: Sequence[Requirement] = (),
    taught: RowsTaught | None = None,
) -> list[FlowRow]:
    """Return the rows for a teacher, each with the columns drawn for it; RecipeError if there is nothing to ask.

    `taught` counts the rows that there are already.
    """
    if reserved := sorted(set(columns) & OWN):
        raise RecipeError(
            f"columns: '{reserved[0]}' is a name that the flow itself uses", hint="give the column another one"
        )
    full_prompt = config.full_prompt.read_text(encoding="utf-8-sig").strip()
    baked = [one for one in known if one.is_baked]
    drawn = in_turn(baked, taught or RowsTaught(), config.prompt_rows)
    about_prompt = _about_requirements(config, full_prompt, drawn) if baked else _about_prompt(config, full_prompt)
    rows = [*_about_chunks(config, chunks), *about_prompt]
    _check_there_is_enough(config, rows)
    return [{**row, **_drawn(config, columns, row["id"]), "full_prompt": full_prompt, "error": ""} for row in rows]


def _check_there_is_enough(config: GenerateConfig, rows: list[FlowRow]) -> None:
    if not rows and not config.seeds:
        raise RecipeError(
            "generate: there is nothing to ask the teacher about: no documents, and prompt_rows is 0",
            hint="set generate.prompt_rows, or add documents",
        )
    if config.grounded and not any(row["grounds"] for row in rows):
        raise RecipeError(
            "generate.grounded: there is no passage to ground answers in: no documents, or rows_per_chunk is 0",
            hint="name a folder of documents, raise generate.rows_per_chunk, or set grounded to false",
        )


def _about_chunks(config: GenerateConfig, chunks: list[Chunk]) -> Iterator[FlowRow]:
    for chunk in chunks:
        passage = "\n".join([*chunk.headings, chunk.text])
        topic = chunk.headings[0] if chunk.headings else ""
        for copy in range(config.rows_per_chunk):
            row = _row(f"{chunk.id}-{copy}", f"document:{chunk.id}", chunk.id, topic)
            grounds = passage if config.grounded else ""
            yield {**row, "passage": passage, "grounds": grounds, **_copy(config, copy, config.rows_per_chunk)}


def _about_prompt(config: GenerateConfig, full_prompt: str) -> Iterator[FlowRow]:
    parts = prompt_parts(full_prompt)
    for number in range(config.prompt_rows):
        # In turn, so that every part of the prompt gets its share of the rows.
        copy, place = divmod(number, len(parts))
        copies = len(range(place, config.prompt_rows, len(parts)))
        name = f"prompt-{number:05d}"
        # Rows about one part are about different cases: each is a group of its own.
        row = _row(name, f"prompt:{place + 1}", name, parts[place].heading)
        yield {**row, "focus": parts[place].text, **_copy(config, copy, copies)}


def _about_requirements(config: GenerateConfig, full_prompt: str, drawn: Sequence[Requirement]) -> Iterator[FlowRow]:
    copies = Counter(one.id for one in drawn)
    parts = {one.id: _part(full_prompt, one.quote) for one in drawn}
    made = Counter[str]()
    for one in drawn:
        copy, part = made[one.id], parts[one.id]
        made[one.id] += 1
        # Named after its requirement, so that a row stays what it is when another requirement gets more rows.
        name = f"prompt-{one.id}-{copy:05d}"
        row = _row(name, f"prompt:{one.id}", name, part.heading)
        yield {**row, "focus": part.text, "requirements": [one.id], **_copy(config, copy, copies[one.id])}


def _part(full_prompt: str, quote: str) -> PromptPart:
    """Return a quote with the sentence that it stands in, if there is more to it, and the heading above."""
    place = next(iter(places(full_prompt, quote)), None)
    if place is None:
        return PromptPart(quote, "")
    around = [part for part in passages(full_prompt) if part.place.begin < place.end and place.begin < part.place.end]
    sentence = " ".join(normalized(part.text) for part in around)
    heading = around[0].heading if around else ""
    return PromptPart(quote if len(sentence) <= len(quote) else f"{quote}\nIt stands in: {sentence}", heading)


def _row(name: str, source: str, group: str, topic: str) -> FlowRow:
    named = {"id": name, "source": source, "group": group, "topic": topic}
    return {**named, "passage": "", "grounds": "", "focus": "", "gold": None, "requirements": []}


def _copy(config: GenerateConfig, copy: int, copies: int) -> FlowRow:
    # Not every server honours the seed, so the prompt also says which row of those on one matter this is.
    return {"number": copy + 1, "total": copies, "seed": config.seed + copy}


def _drawn(config: GenerateConfig, columns: Columns, name: str) -> FlowRow:
    key = f"{config.seed}/{name}"
    drawn = {column: draw(columns, column, key) for column in columns if column != PUSH}
    turns = random.Random(f"turns/{key}").randint(*config.turns)
    traits = {column: choice.name for column, choice in drawn.items()}
    return {**{column: choice.text for column, choice in drawn.items()}, "traits": traits, "turns": turns}
