"""Guidance notes in documents, turned into replies by grammar: 'Ask what 3 x 4 is.' becomes 'What is 3 x 4?'"""

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationInfo, field_validator, model_validator

from tuning_room.bounded import OutOfTime, bounded
from tuning_room.checks.numbers import NUMBER
from tuning_room.errors import LimitError
from tuning_room.generate.families import Problem
from tuning_room.generate.rule_files import LookUp, filled, names_in, read_checked
from tuning_room.records import Chunk

_FINITE = ("is", "are", "was", "were", "would", "could", "can", "should", "will")
GROUPS = {"heading": {"number", "title"}, "topic": {"topic"}, "answer_row": {"number", "answer"}}
_WHICH_TO_DO = re.compile(r"^(which .+?|what|how|where) to (\w+.*)$")


def _groups(pattern: str) -> set[str]:
    try:
        return set(re.compile(pattern).groupindex)
    except re.error as error:
        raise ValueError(f"'{pattern}' is not a valid pattern: {error}") from None


class Rule(BaseModel):
    """A pattern with named groups and what to say when a note matches it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    match: str = Field(description="pattern of a note, from its beginning; its named groups may be used in `say`")
    say: list[str] = Field(
        min_length=1, description="replies, one for each note; `{question}` is the group `clause` as a direct question"
    )
    requirements: list[str] = Field([], description="ids of what its replies teach")

    @model_validator(mode="after")
    def _says_what_it_matches(self) -> "Rule":
        known = {"question", *_groups(self.match)}
        if unknown := {name for template in self.say for name in names_in(template)} - known:
            raise ValueError(f"the pattern has no group '{min(unknown)}'")
        return self


class NoteRules(BaseModel):
    """How problems are found in a document's sections, and how their notes become replies."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    heading: str = Field(description="pattern of a section's heading that holds a problem; groups `number`, `title`")
    topic: str = Field(description="pattern of a heading above it that names the topic; group `topic`")
    answer_heading: str | None = Field(None, description="pattern of the heading above the answer key, if there is one")
    answer_row: str | None = Field(None, description="pattern of a line of the key; groups `number`, `answer`")
    label: str = Field(description="pattern of the line that ends the problem's text and begins the notes")
    second_person: dict[str, str] = Field({}, description="words of a note by those of the reply: `their: your`")
    rules: list[Rule] = Field(description="how a note, a list item of the section, becomes a reply; the first fit")

    @field_validator("heading", "topic", "answer_heading", "answer_row", "label")
    @classmethod
    def _has_groups(cls, pattern: str | None, info: ValidationInfo) -> str | None:
        wanted = GROUPS.get(str(info.field_name), set())
        if pattern is not None and (missing := wanted - _groups(pattern)):
            raise ValueError(f"the pattern needs a group '{min(missing)}'")
        return pattern


def load_rules(file: Path, look_up: LookUp | None = None) -> NoteRules:
    """Return the rules of a YAML file; RecipeError names file and field.

    `look_up` is called with the ids of requirements that each one names.
    """
    found = read_checked(file, TypeAdapter(NoteRules), "see docs/recipes.md")
    if look_up:
        for rule in found.rules:
            look_up(rule.requirements, f"{file}: rule '{rule.match}': requirements")
    return found


def problems(chunks: list[Chunk], rules: NoteRules) -> list[tuple[Chunk, list[Problem]]]:
    """Return the sections with a problem, each with the problem once per guidance note, in the documents' order."""
    answers, how, found = answer_key(chunks, rules), rules.model_dump(mode="json"), []
    for chunk in chunks:
        # A section at a time: its patterns may search without end.
        section = bounded(_section, chunk.model_dump(mode="json"), how)
        if section:
            of_chunk = [{**values, "answer": answers.get(number, "")} for number, values in section]
            found.append((chunk, [Problem.model_validate(values) for values in of_chunk]))
    return found


def unmatched(chunks: list[Chunk], rules: NoteRules, file: Path) -> str:
    """Return which key of the rules none of the sections gets past, for documents in which no problem was found."""
    number = len(chunks)
    headed = [chunk for chunk in chunks if chunk.headings and re.match(rules.heading, chunk.headings[-1])]
    if not headed:
        return f"of {number} sections, no heading matches `heading` in {file} ({rules.heading})"
    begin = f"{len(headed)} of {number} sections match `heading` in {file}"
    stated = [chunk for chunk in headed if _statement(chunk, rules)]
    if not stated:
        return f"{begin}, but none has text above the line that matches `label` ({rules.label})"
    notes = sum(len(chunk.items) for chunk in stated)
    return f"{begin}, but none of their {notes} list items matches a rule of `rules`"


def _section(section: dict[str, Any], how: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the problem of a section once per note as JSON, each with its number, and without its answer."""
    chunk, rules = Chunk.model_validate(section), NoteRules.model_validate(how)
    heading = _match(rules.heading, chunk.headings[-1]) if chunk.headings else None
    statement = _statement(chunk, rules)
    if heading is None or not statement:
        return []
    said = [(rule, asked) for rule, asked in (_said(note, rules) for note in chunk.items) if rule and asked]
    made = [
        Problem(
            family=f"{chunk.document}:{heading['number']}",
            topic=_topic(chunk, rules),
            problem=heading["title"].lower(),
            answer="",
            wrong="",
            user=statement,
            assistant=asked,
            requirements=rule.requirements,
        )
        for rule, asked in said
    ]
    return [(heading["number"], problem.model_dump(mode="json")) for problem in made]


def _match(pattern: str, text: str) -> re.Match[str] | None:
    try:
        return re.match(pattern, text)
    except OutOfTime as error:
        raise LimitError(f"pattern {pattern} of the notes: {error}") from None


def _topic(chunk: Chunk, rules: NoteRules) -> str:
    matches = (_match(rules.topic, heading) for heading in chunk.headings)
    return next((match["topic"].lower() for match in matches if match), "")


def answer_key(chunks: list[Chunk], rules: NoteRules) -> dict[str, str]:
    """Return the gold answers that the documents' own tables give, by problem number."""
    key: dict[str, str] = {}
    if rules.answer_heading is None or rules.answer_row is None:
        return key
    for chunk in chunks:
        if chunk.headings:
            key |= bounded(_key_rows, rules.answer_heading, rules.answer_row, chunk.headings[-1], chunk.text)
    return key


def _key_rows(heading: str, row: str, title: str, text: str) -> dict[str, str]:
    lines = text.splitlines() if _match(heading, title) else []
    rows = [found for line in lines if (found := _match(row, line.strip()))]
    return {found["number"]: _without_unit(found["answer"].strip()) for found in rows}


def _without_unit(answer: str) -> str:
    match = re.fullmatch(rf"\$?(-?(?:{NUMBER})(?:/\d+)?%?)(?: [a-z ]+)?", answer)
    return match[1] if match else answer


def _statement(chunk: Chunk, rules: NoteRules) -> str:
    lines = []
    for line in chunk.text.splitlines():
        text = line.strip()
        if _match(rules.label, text):
            break
        if text and not text.startswith("#"):
            lines.append(text)
    return " ".join(lines)


def reply(note: str, rules: NoteRules) -> str:
    """Return what the assistant says for a note, by the first rule that matches; '' if none does."""
    return _said(note, rules)[1]


def _said(note: str, rules: NoteRules) -> tuple[Rule | None, str]:
    for rule in rules.rules:
        if match := _match(rule.match, note.strip()):
            parts = {name: _second_person(text, rules) for name, text in match.groupdict("").items()}
            parts["question"] = direct_question(parts.get("clause", ""))
            choice = rule.say[len(note) % len(rule.say)]
            return rule, filled(choice, parts, f"rule '{rule.match}'")
    return None, ""


def _second_person(text: str, rules: NoteRules) -> str:
    for old, new in rules.second_person.items():
        text = re.sub(rf"\b{re.escape(old)}\b", new, text)
    return text


def direct_question(clause: str) -> str:
    """Turn a reported question into a direct one: 'what 3 x 4 is' into 'What is 3 x 4?'"""
    clause = re.sub(r"\bthere (are|is)\b", r"\1 there", clause)
    if to_do := _WHICH_TO_DO.match(clause):
        return _asked(f"{to_do[1]} would you {to_do[2]}")
    if compared := re.match(r"^how (.+) compare$", clause):
        return _asked(f"how do {compared[1]} compare")
    return _asked(_inverted(clause))


def _inverted(clause: str) -> str:
    words = clause.split()
    head = 2 if words[:2] in (["how", "many"], ["how", "much"]) or words[:1] == ["which"] else 1
    places = [i for i, word in enumerate(words) if word in _FINITE]
    if not places or places[0] <= head or words[0] == "which" or words[:2] == ["how", "many"]:
        return clause
    verb = words.pop(places[0])
    return " ".join([*words[:head], verb, *words[head:]])


def _asked(clause: str) -> str:
    return f"{clause[:1].upper()}{clause[1:]}?" if clause else ""
