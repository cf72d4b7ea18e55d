"""Write the generated parts of the docs: the knobs of a recipe, from the config classes; the commands, from the help.

`--check` writes nothing and exits with 1 if a file is out of date.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from tuning_room.cli import COMMANDS, cli
from tuning_room.recipe import SECTIONS, handed_down

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


def pages() -> dict[Path, str]:
    """Return the generated pages as they should be."""
    recipes = DOCS / "recipes.md"
    before, rest = recipes.read_text(encoding="utf-8").split("<!-- knobs: written by scripts/write_docs.py -->\n")
    after = rest.split("<!-- end of knobs -->")[1]
    start, end = "<!-- knobs: written by scripts/write_docs.py -->\n", "<!-- end of knobs -->"
    return {
        recipes: f"{before}{start}{knobs()}\n{end}{after}",
        DOCS / "commands.md": f"# Commands\nWritten by `make docs` from the program's own help.\n\n{commands()}\n",
    }


def main() -> int:
    """Write the pages, or say which are out of date."""
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if "--check" in sys.argv:
            print(f"{path.name} is out of date; run 'make docs'", file=sys.stderr)
        else:
            path.write_text(pages()[path], encoding="utf-8")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
