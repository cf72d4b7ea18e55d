"""What a teacher is asked about: one row per query, on a passage of the documents or a part of the full prompt."""

import random
from collections.abc import Iterator
from typing import NamedTuple

from tuning_room.errors import RecipeError
from tuning_room.generate.columns import PUSH, Columns, draw
from tuning_room.generate.config import GenerateConfig
from tuning_room.generate.flow_runner import FlowRow
from tuning_room.records import Chunk

SHORTEST_PART = 4  # words: anything shorter is a heading or a fragment, and nothing to write about
OWN = {"id", "source", "group", "topic", "passage", "focus", "full_prompt", "number", "total", "turns", "traits"}
OWN |= {"situation", "gold", "error", "seed", "row", "messages", "question", "reply", "rubric"}


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
        elif len(text.split()) >= SHORTEST_PART:
            parts.append(PromptPart(text, heading))
    return parts or [PromptPart(prompt.strip(), heading)]


def query_rows(config: GenerateConfig, chunks: list[Chunk], columns: Columns) -> list[FlowRow]:
    """Return the rows for a teacher, each with the columns drawn for it; RecipeError if there is nothing to ask."""
    if reserved := sorted(set(columns) & OWN):
        raise RecipeError(
            f"columns: '{reserved[0]}' is a name that the flow itself uses", hint="give the column another one"
        )
    full_prompt = config.full_prompt.read_text(encoding="utf-8").strip()
    rows = [*_about_chunks(config, chunks), *_about_prompt(config, full_prompt)]
    if not rows and not config.seeds:
        raise RecipeError(
            "generate: there is nothing to ask the teacher about: no documents, and prompt_rows is 0",
            hint="set generate.prompt_rows, or add documents",
        )
    return [{**row, **_drawn(config, columns, row["id"]), "full_prompt": full_prompt, "error": ""} for row in rows]


def _about_chunks(config: GenerateConfig, chunks: list[Chunk]) -> Iterator[FlowRow]:
    for chunk in chunks:
        passage = "\n".join([*chunk.headings, chunk.text])
        topic = chunk.headings[0] if chunk.headings else ""
        for copy in range(config.rows_per_chunk):
            row = _row(f"{chunk.id}-{copy}", f"document:{chunk.id}", chunk.id, topic)
            yield {**row, "passage": passage, **_copy(config, copy, config.rows_per_chunk)}


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


def _row(name: str, source: str, group: str, topic: str) -> FlowRow:
    return {"id": name, "source": source, "group": group, "topic": topic, "passage": "", "focus": "", "gold": None}


def _copy(config: GenerateConfig, copy: int, copies: int) -> FlowRow:
    # Not every server honours the seed, so the prompt also says which row of those on one matter this is.
    return {"number": copy + 1, "total": copies, "seed": config.seed + copy}


def _drawn(config: GenerateConfig, columns: Columns, name: str) -> FlowRow:
    key = f"{config.seed}/{name}"
    drawn = {column: draw(columns, column, key) for column in columns if column != PUSH}
    turns = random.Random(f"turns/{key}").randint(*config.turns)
    traits = {column: choice.name for column, choice in drawn.items()}
    return {**{column: choice.text for column, choice in drawn.items()}, "traits": traits, "turns": turns}
