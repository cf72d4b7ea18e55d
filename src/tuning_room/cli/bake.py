"""`bake`: every stage in order, then the comparison and the verdict."""

import json
import sys
from typing import Any

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.evaluate import show_verdict
from tuning_room.cli.options import exit_code, opened, recipe_options, show

PIPED_WIDTH = 120


def command(name: str) -> click.Command:
    """Return the command."""

    @click.command(name, help=COMMANDS[name].help)
    @click.option("--force", is_flag=True, help="Run every stage even if nothing has changed.")
    @recipe_options
    def run(recipe: str, runs: str, as_json: bool, force: bool) -> int:
        loaded, workspace = opened(recipe, runs)
        from tuning_room.recipe import bake
        from tuning_room.records import read_json

        for done in bake(loaded, workspace, force=force):
            if not as_json:
                show(done, as_json=False)
        results = read_json(workspace.results)
        if as_json:
            click.echo(json.dumps({"run": str(workspace.root), "results": results}))
        else:
            _print_comparison(results, str(workspace.report_html))
        return exit_code(results["verdict"]["verdict"])

    return run


def _print_comparison(results: dict[str, Any], report: str) -> None:
    from rich.console import Console
    from rich.table import Table

    metrics = list(next(iter(results["rates"].values()))["all"])
    table = Table("arm", *metrics, "prompt tokens", title="held-out items, share of replies [95 % interval]")
    for arm, suites in results["rates"].items():
        cells = [f"{r['rate']:.0%} [{r['low']:.0%}-{r['high']:.0%}]" for r in suites["all"].values()]
        table.add_row(arm, *cells, f"{results['tokens'][arm]['prompt']:.0f}")
    # Piped, rich would take 80 columns and cut the arms' names.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
    console.print(table)
    show_verdict(results["verdict"])
    color = "green" if results["verdict"]["verdict"] == "ship" else "yellow"
    console.print(f"verdict: [bold {color}]{results['verdict']['verdict']}[/]   report: {report}")
