"""`convert --explain`: which way each file takes, as a table or JSON, without converting any."""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from tuning_room.cli.options import opened

if TYPE_CHECKING:
    from tuning_room.convert.routes import Route

PIPED_WIDTH = 160


def with_explain(command: click.Command) -> click.Command:
    """Return the convert command with `--explain`, under which nothing is converted."""
    convert = command.callback
    assert convert is not None

    def run(explain: bool, **given: Any) -> int:
        if not explain:
            code: int = convert(**given)
            return code
        show_routes(given["recipe"], given["runs"], as_json=given["as_json"])
        return 0

    command.callback = run
    text = "Say which way each file takes and why, and convert nothing."
    command.params.insert(0, click.Option(["--explain"], is_flag=True, help=text))
    return command


def show_routes(recipe: str, runs: str, *, as_json: bool) -> None:
    """Print the way of each document of a recipe."""
    loaded, workspace = opened(recipe, runs)
    from tuning_room.convert.routes import explain

    routes = explain(loaded.convert, workspace)
    if as_json:
        click.echo(json.dumps({"documents": [route.model_dump(mode="json") for route in routes]}))
    else:
        _print(routes)


def _print(routes: "list[Route]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("file", "route", "pages", "why")
    for route in routes:
        kept = "; converted before, not read again" if route.converted else ""
        # As text: a file's name may look like markup.
        table.add_row(*map(_plain, (route.name, route.route, str(route.pages or ""), route.reason + kept)))
    Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
