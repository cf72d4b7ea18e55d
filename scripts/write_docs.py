"""Write the generated parts of the docs: the knobs of a recipe, the commands, and the forms of the result files.

`--check` writes nothing and exits with 1 if a file is out of date.
"""

import json
import sys
from collections.abc import Iterator
from inspect import formatannotation
from pathlib import Path
from typing import Any, get_args

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tuning_room.cli import COMMANDS, cli
from tuning_room.evaluate.config import Suite
from tuning_room.generate.notes import NoteRules, Rule
from tuning_room.recipe import SECTIONS, Recipe, handed_down
from tuning_room.report.content import Report
from tuning_room.requirements import Requirement, RequirementGate
from tuning_room.results import Results
from tuning_room.serve.fields import table as request_fields

WIDTH = 100  # of the help, whatever the terminal
DOCS = Path(__file__).parents[1] / "docs"


def knobs() -> str:
    """Return a table of knobs for each section of a recipe."""
    parts = []
    for section, config in SECTIONS.items():
        rows = list(_rows(config, skip=handed_down(section)))
        if rows:
            parts.append("\n".join([f"## `{section}`", "| knob | default | effect |", "| --- | --- | --- |", *rows]))
    return "\n\n".join(parts)


def keys() -> str:
    """Return a table of the keys at the top of a recipe, and one of those of a suite."""
    return f"{table('key', Recipe)}\n\n{table('key of a suite', Suite)}"


def recipes() -> str:
    """Return the page about recipes, with the tables of its keys, its knobs, and the rules for notes."""
    notes = f"{table('key of `notes.yaml`', NoteRules)}\n\n{table('key of a rule', Rule)}"
    page = read(DOCS / "recipes.md")
    for marker, text in (("keys", keys()), ("knobs", knobs()), ("notes", notes)):
        page = _between(page, marker, text)
    return page


def table(title: str, kind: type[BaseModel]) -> str:
    """Return the fields of a class that people write in YAML, with type, default and meaning."""
    head = [f"| {title} | type | default | meaning |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *(_key(name, field) for name, field in kind.model_fields.items())])


def _key(name: str, field: FieldInfo) -> str:
    if field.annotation is SECTIONS.get(name):
        has_knobs = set(SECTIONS[name].model_fields) - handed_down(name)
        return (
            f"| `{name}` | keys | as below | settings of `{name}`{': see below' if has_knobs else ', all from here'} |"
        )
    default = "required" if field.is_required() else _in_words(field.get_default(call_default_factory=True))
    return f"| `{name}` | {_kind(field.annotation)} | {default} | {field.description or ''} |"


def _in_words(default: Any) -> str:
    if isinstance(default, BaseModel):
        return f"`{json.dumps(default.model_dump(mode='json'))}`"
    return "none" if default in (None, "", [], {}) else f"`{default}`"


def _kind(annotation: Any) -> str:
    """Return a type as a person who writes YAML thinks of it."""
    kinds = {"Path": "path", "bool": "true or false", "int": "number", "float": "number", "str": "text"}
    text = formatannotation(annotation)
    if "dict" in text or "Gate" in text or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "keys"
    if "list" in text:
        has_keys = any(isinstance(part, type) and issubclass(part, BaseModel) for part in get_args(annotation))
        return "list of keys" if has_keys else "list of text"
    return next((words for name, words in kinds.items() if name in text), "text")


def _rows(config: Any, skip: set[str], prefix: str = "") -> Iterator[str]:
    for name, field in config.model_fields.items():
        if name in skip:
            continue
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _rows(inner, set(), f"{prefix}{name}.")
            continue
        default = "required" if field.is_required() else f"`{_shown(field.get_default(call_default_factory=True))}`"
        yield f"| `{prefix}{name}` | {default} | {field.description or ''} |"


def _shown(default: Any) -> Any:
    # A file of the package lies elsewhere on every machine.
    return "builtin" if isinstance(default, Path) and default.is_absolute() else default


def commands() -> str:
    """Return the help of every command."""
    texts = []
    for name in COMMANDS:
        context = click.Context(cli, info_name="tuning-room", terminal_width=WIDTH)
        command = cli.get_command(context, name)
        assert command is not None
        help_text = command.get_help(click.Context(command, info_name=name, parent=context, terminal_width=WIDTH))
        texts.append(f"## {name}\n```\n{help_text}\n```")
    return "\n\n".join(texts)


def fields(kind: type[BaseModel]) -> str:
    """Return the fields of a JSON file and of its parts, from the class that writes and reads it."""
    schema = kind.model_json_schema()
    top = [f"| `{name}` | {field.get('description', '')} |" for name, field in schema["properties"].items()]
    parts = []
    for name, part in sorted(schema["$defs"].items()):
        if "properties" in part:
            words = " ".join(part.get("description", "").split()).replace("|", "\\|")
            names = ", ".join(f"`{field}`" for field in part["properties"])
            parts.append(f"| `{name}` | {words} | {names} |")
    return "\n".join(
        [
            "| field | holds |",
            "| --- | --- |",
            *top,
            "",
            "| part | what it is | fields |",
            "| --- | --- | --- |",
            *parts,
        ]
    )


def published(kind: type[BaseModel]) -> str:
    """Return a class as a JSON Schema (2020-12)."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **kind.model_json_schema(mode="serialization")}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def read(page: Path) -> str:
    """Return a page's text."""
    return page.read_text(encoding="utf-8")


def _between(page: str, marker: str, text: str) -> str:
    """Return a page with a generated part put between its markers."""
    before, rest = page.split(f"<!-- {marker}: written by scripts/write_docs.py -->\n")
    after = rest.split(f"<!-- end of {marker} -->")[1]
    return f"{before}<!-- {marker}: written by scripts/write_docs.py -->\n{text}\n<!-- end of {marker} -->{after}"


def pages() -> dict[Path, str]:
    """Return the generated pages as they should be."""
    return {
        DOCS / "recipes.md": recipes(),
        DOCS / "requirements.md": _between(
            read(DOCS / "requirements.md"),
            "requirement",
            f"{table('key', Requirement)}\n\n{table('key of a gate', RequirementGate)}",
        ),
        DOCS / "evaluation.md": _between(read(DOCS / "evaluation.md"), "results", fields(Results)),
        DOCS / "report.md": _between(read(DOCS / "report.md"), "report", fields(Report)),
        DOCS / "serving.md": _between(read(DOCS / "serving.md"), "fields", request_fields()),
        DOCS / "schemas" / "results.schema.json": published(Results),
        DOCS / "schemas" / "report.schema.json": published(Report),
        DOCS / "commands.md": f"# Commands\nWritten by `make docs` from the program's own help.\n\n{commands()}\n",
    }


def main() -> int:
    """Write the pages, or say which are out of date."""
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if "--check" in sys.argv:
            print(f"{path.name} is out of date; run 'make docs'", file=sys.stderr)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(pages()[path], encoding="utf-8")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
