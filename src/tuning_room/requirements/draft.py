"""Drafting requirements from a prompt by rules: which sentences ask for something, and how each could be tested."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tuning_room.errors import OccupiedError
from tuning_room.files import atomic_writer
from tuning_room.requirements.languages import READ, asks_for, language_name, language_of
from tuning_room.requirements.passages import PromptPassage, passages
from tuning_room.requirements.reading import normalized, places
from tuning_room.requirements.records import STAYS, Kind, Requirement
from tuning_room.requirements.suggestions import kind_of, suggested
from tuning_room.yaml_files import parse_yaml

FILE = "requirements.yaml"
OPEN = "# how is it tested?"
_WORDS_OF_AN_ID = 4
_LONGEST_ID = 48
_SMALL = frozenset(
    "a an and any are as at be by do does don for from if in into is it its no not of on only or own that the their "
    "then they this to when with you your reply replies user users der die das den dem und ein eine einen ist du sie "
    "nicht wenn mit auf fur im zu von le la les des et est vous tu ne pas une un du dans pour que qui el los las y es "
    "usted una del por para con en su se lo al como si".split()
)


class RequirementsDraft(NamedTuple):
    """Requirements as first drafted, the prompt's language, and what was left out and why."""

    requirements: list[Requirement]
    language: str
    notes: list[str]

    @property
    def untestable(self) -> list[str]:
        """Return the ids of those for which no test was found."""
        return [one.id for one in self.requirements if one.is_baked and not is_tested(one)]


def is_tested(one: Requirement) -> bool:
    """Return whether a requirement names anything that tests it."""
    return bool(one.metrics or one.checks or one.judge)


class WrittenDraft(NamedTuple):
    """Where a draft was written, and whether the recipe names it now."""

    file: Path
    is_named: bool


def draft(prompt: str) -> RequirementsDraft:
    """Return a draft by rules: each quote stands in the prompt exactly once; any text gives one, if an empty one."""
    language = language_of(prompt)
    found = passages(prompt)
    notes = [] if language in READ else [_unread(language)]
    quotes, left_out = _quotes(prompt, found, language)
    return RequirementsDraft(list(from_quotes(quotes, language)), language, [*notes, *left_out])


def _unread(language: str) -> str:
    known = ", ".join(map(language_name, READ))
    return f"the prompt is in {language_name(language)}; the rules read {known}: each sentence was taken, no test found"


def _quotes(prompt: str, found: Sequence[PromptPassage], language: str) -> tuple[list[str], list[str]]:
    """Return the words of what asks for something, each unique in the prompt, and notes on what is not."""
    quotes, notes, counts, quoted = list[str](), list[str](), dict[str, int](), 0
    for number, passage in enumerate(found):
        # What was lengthened before may hold this one as well.
        if not is_requirement(passage, language) or passage.place.begin < quoted:
            continue
        for begin, end in _stretches(found, number):
            quote = normalized(prompt[begin:end])
            if _count(prompt, quote, counts) == 1:
                quotes.append(quote)
                quoted = end
                break
        else:
            notes.append(f"left out, since it stands more than once: '{shortened(passage.text)}'")
    return quotes, list(dict.fromkeys(notes))


def is_requirement(passage: PromptPassage, language: str) -> bool:
    """Return whether a passage asks for something or holds a fact: list items, and sentences by their words."""
    if not passage.asks or (passage.text.endswith(("?", "？", "؟")) and passage.kind != "item"):
        return False
    return passage.kind == "item" or asks_for(passage.text, language) or kind_of(passage.text, language) in STAYS


def _stretches(found: Sequence[PromptPassage], number: int) -> Iterator[tuple[int, int]]:
    """Yield a passage's place, and longer ones: with the next sentence of its block, with the one before, with both."""
    begin, end = found[number].place
    after = next((p.place.end for p in found[number + 1 : number + 2] if p.block == found[number].block), end)
    before = next((p.place.begin for p in found[number - 1 : number] if p.block == found[number].block), begin)
    yield from ((begin, end), (begin, after), (before, end), (before, after))


def _count(prompt: str, quote: str, counts: dict[str, int]) -> int:
    # A prompt of thousands of equal lines would be searched for each of them.
    if quote not in counts:
        counts[quote] = len(places(prompt, quote))
    return counts[quote]


def from_quotes(quotes: Iterable[str], language: str, kinds: dict[str, Kind] | None = None) -> Iterator[Requirement]:
    """Yield a requirement for each quote, with an id, a kind unless given, and the tests that its words suggest."""
    taken: set[str] = set()
    for number, quote in enumerate(quotes, start=1):
        name = _id(quote, number, taken)
        taken.add(name)
        kind = (kinds or {}).get(quote) or kind_of(quote, language)
        tests: dict[str, Any] = {}
        if kind in ("behaviour", "style"):
            tests = {key: value for key, value in suggested(quote, language)._asdict().items() if value}
        yield Requirement(id=name, quote=quote, kind=kind, **tests)


def _id(quote: str, number: int, taken: set[str]) -> str:
    """Return a name of a few key words, `requirement-<number>` for words in another script."""
    plain = unicodedata.normalize("NFKD", quote).encode("ascii", "ignore").decode().lower()
    words = [word for word in re.findall(r"[a-z0-9]+", plain.replace("'", "")) if word not in _SMALL]
    is_foreign = len(plain) < len(quote) / 2 or not any(map(str.isalpha, "".join(words)))
    slug = "-".join(words[:_WORDS_OF_AN_ID])[:_LONGEST_ID].strip("-")
    name = f"requirement-{number}" if is_foreign or not slug else slug
    return name if name not in taken else next(n for i in range(2, 10**6) if (n := f"{name}-{i}") not in taken)


def shortened(text: str, most: int = 60) -> str:
    """Return a text on one line, cut to a length."""
    line = normalized(text)
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def as_yaml(found: RequirementsDraft, *, by: str = "rules") -> str:
    """Return the file of a draft, with a remark where a test is still to be chosen."""
    head = [
        f"# What the prompt asks, drafted by {by}: read it against the prompt, and correct it. Each quote is copied",
        "# from the prompt: a changed prompt cannot keep an old proof. docs/requirements.md explains the keys.",
        *(f"# {note}" for note in found.notes),
    ]
    return "\n".join([*head, "", *(_entry(one, one.id in found.untestable) for one in found.requirements)]) + "\n"


def _entry(one: Requirement, is_open: bool) -> str:
    values = one.model_dump(mode="json", exclude_defaults=True)
    lines = "\n".join(f"  {line}" for key, value in values.items() for line in _line(key, value).splitlines())
    return f"-{lines[1:]}\n  {OPEN}" if is_open else f"-{lines[1:]}"


def _line(key: str, value: Any) -> str:
    # Values on the key's own line, so that an entry is read at a glance.
    style: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 10**6}
    if isinstance(value, list | dict):
        return f"{key}: {yaml.safe_dump(value, default_flow_style=True, **style).strip()}"
    return str(yaml.safe_dump({key: value}, default_flow_style=False, **style)).rstrip("\n")


def write_draft(text: str, recipe: Path) -> WrittenDraft:
    """Write a draft beside a recipe, and name it there if nothing else changes by that; never over an older file."""
    file = recipe.parent / FILE
    if file.exists():
        raise OccupiedError(
            f"{file}: is there already", hint=f"name it in the recipe ('requirements: {FILE}'), or move it"
        )
    with atomic_writer(file) as out:
        out.write(text)
    return WrittenDraft(file, _name_in(recipe))


def _name_in(recipe: Path) -> bool:
    """Put the file's name under that of the prompt, and return whether the recipe is otherwise as before."""
    before = recipe.read_text(encoding="utf-8")
    after = re.sub(r"(?m)^(full_prompt:.*)$", rf"\g<1>\nrequirements: {FILE}", before, count=1)
    try:
        is_safe = after != before and parse_yaml(after) == {**parse_yaml(before), "requirements": FILE}
    except (yaml.YAMLError, ValueError):
        is_safe = False
    if is_safe:
        with atomic_writer(recipe) as out:
            out.write(after)
    return is_safe
