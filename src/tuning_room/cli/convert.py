"""`convert`: the stage, or with `--explain` how each file would be converted."""

import json
import sys
from typing import TYPE_CHECKING

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.options import opened, recipe_options, show

if TYPE_CHECKING:
    from tuning_room.convert.routes import Route

PIPED_WIDTH = 160


def command(name: str) -> click.Command:
    """Return the command."""

    @click.command(name, help=COMMANDS[name].help)
    @click.option("--explain", is_flag=True, help="Show how each file would be converted and why; convert nothing.")
    @click.option("--force", is_flag=True, help="Run the stage even if nothing has changed.")
    @recipe_options
    def run(recipe: str, runs: str, as_json: bool, force: bool, explain: bool) -> int:
        loaded, workspace = opened(recipe, runs)
        if explain:
            from tuning_room.convert.routes import explain as routes_of

            _show_routes(routes_of(loaded.convert, workspace), as_json=as_json)
            return 0
        from tuning_room.recipe import run_stage

        show(run_stage(loaded, workspace, name, force=force), as_json=as_json)
        return 0

    return run


def _show_routes(routes: "list[Route]", *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"documents": [route.model_dump(mode="json") for route in routes]}))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("file", "route", "pages", "why")
    for route in routes:
        kept = "; already converted, not read again" if route.converted else ""
        # As text: a file's name may look like markup.
        table.add_row(*map(Text, (route.name, route.route, str(route.pages or ""), route.reason + kept)))
    Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)
