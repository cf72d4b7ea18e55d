"""Reading the YAML files of a recipe's rules, and filling in their templates."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from tuning_room.errors import RecipeError
from tuning_room.yaml_files import QUOTE, read_yaml

T = TypeVar("T")
# Raises RecipeError for an id that no requirement has; it is given the ids, and the file and entry that name them.
LookUp = Callable[[Sequence[str], str], None]


def read_checked(file: Path, shape: TypeAdapter[T], hint: str) -> T:
    """Return the content of a YAML file in the shape that it must have; RecipeError names file and field."""
    try:
        return shape.validate_python(read_yaml(file))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        is_word = first["type"] == "string_type" and isinstance(first["input"], bool)
        raise RecipeError(f"{file}: {field}: {first['msg']}", hint=QUOTE if is_word else hint) from None


def names_in(template: str) -> set[str]:
    """Return the names in braces in a template; ValueError for braces that hold anything but a name."""
    names = set()
    for _, name, form, conversion in Formatter().parse(template):
        if name is None:
            continue
        # str.format would also look into a value, {a.b} or {a[0]}, and pad it to any width.
        if not name.isidentifier() or form or conversion:
            raise ValueError("braces hold a name and nothing else")
        names.add(name)
    return names


def filled(template: str, values: Mapping[str, str], owner: str) -> str:
    """Return a template with its names filled in; RecipeError says whose it is and which name is unknown."""
    try:
        unknown = names_in(template) - set(values)
    except ValueError as error:
        raise RecipeError(f"{owner}: template '{template}': {error}", hint="write {name}") from None
    if unknown:
        problem = f"{owner}: template '{template}': no value '{min(unknown)}'"
        raise RecipeError(problem, hint=f"name one of {', '.join(sorted(values))}")
    return template.format(**values)
