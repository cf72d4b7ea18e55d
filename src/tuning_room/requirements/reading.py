"""Reading `requirements.yaml`, and holding each quote to the words of the full prompt."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from tuning_room.errors import RecipeError
from tuning_room.paths import context
from tuning_room.requirements.records import Requirement
from tuning_room.yaml_files import read_yaml

FORM = "write a list of entries with id and quote (docs/requirements.md)"


class Place(NamedTuple):
    """A stretch of a text, by characters; the end is exclusive."""

    begin: int
    end: int


def read_requirements(file: Path, prompt: str | None = None) -> list[Requirement]:
    """Return a file's requirements, each quote found once in the prompt; RecipeError names file, entry and field.

    Without a prompt the quotes are not looked up: a stage reads what the recipe has held to its prompt already.
    """
    found = [
        _requirement(entry, f"{file}: entry {number}", file.parent)
        for number, entry in enumerate(_entries(file), start=1)
    ]
    name, count = Counter(one.id for one in found).most_common(1)[0]
    if count > 1:
        raise RecipeError(f"{file}: {count} requirements have the id '{name}'", hint="give each an id of its own")
    for one in found if prompt is not None else []:
        _check_quote(one, str(prompt), file)
    return found


def _entries(file: Path) -> list[Any]:
    values = read_yaml(file)
    if not isinstance(values, list) or not values:
        raise RecipeError(f"{file}: must be a list of requirements", hint=FORM)
    return values


def _requirement(entry: Any, where: str, folder: Path) -> Requirement:
    try:
        return Requirement.model_validate(entry, context=context(folder))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        named = f"{where} ({entry['id']})" if isinstance(entry, dict) and entry.get("id") else where
        message = first["msg"].removeprefix("Value error, ")
        raise RecipeError(f"{named}: {field}: {message}" if field else f"{named}: {message}", hint=FORM) from None


def _check_quote(one: Requirement, prompt: str, file: Path) -> None:
    count = len(places(prompt, one.quote))
    if count == 0:
        raise RecipeError(
            f"{file}: {one.id}: the quote does not stand in the full prompt: '{one.quote}'",
            hint="copy the words from the prompt as it is now; what was proven of other words does not hold for them",
        )
    if count > 1:
        raise RecipeError(
            f"{file}: {one.id}: the quote stands {count} times in the full prompt: '{one.quote}'",
            hint="quote more of the sentence, so that it stands there once",
        )


def normalized(text: str) -> str:
    """Return a text with each run of white space as one space: line breaks in a prompt mean nothing."""
    return " ".join(text.split())


def places(prompt: str, quote: str) -> list[Place]:
    """Return every place of a quote in a prompt, exact but for white space.

    >>> places("Ask one\\nquestion. Ask one question.", "Ask one question")
    [Place(begin=0, end=16), Place(begin=18, end=34)]
    """
    words = quote.split()
    pattern = r"\s+".join(map(re.escape, words))
    return [Place(*match.span()) for match in re.finditer(pattern, prompt)] if words else []


def check_ids(ids: Iterable[str], known: Sequence[Requirement], where: str) -> None:
    """Raise RecipeError for an id that no requirement has."""
    names = [one.id for one in known]
    for name in ids:
        if name not in names:
            hint = f"known: {', '.join(names)}" if names else "name a file of requirements at the top of the recipe"
            raise RecipeError(f"{where}: there is no requirement '{name}'", hint=hint)
