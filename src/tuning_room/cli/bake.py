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
    @click.option(
        "--trainings",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Train so many times, each with another seed, and show how much of the result is luck.",
    )
    @recipe_options
    def run(recipe: str, runs: str, as_json: bool, force: bool, trainings: int) -> int:
        loaded, workspace = opened(recipe, runs)
        from tuning_room.recipe import bake, run_stage
        from tuning_room.records import read_json
        from tuning_room.seeds import train_again

        for done in bake(loaded, workspace, force=force):
            if not as_json:
                show(done, as_json=False)
        if trainings > 1:
            for done in train_again(loaded, workspace, trainings):
                if not as_json:
                    show(done, as_json=False)
            run_stage(loaded, workspace, "report")
        results = read_json(workspace.results)
        seeds = read_json(workspace.seeds) if trainings > 1 else None
        if as_json:
            click.echo(json.dumps({"run": str(workspace.root), "results": results, "trainings": seeds}))
        else:
            _print_comparison(results, str(workspace.report_html))
            if seeds:
                _print_seeds(seeds)
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


def _print_seeds(seeds: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    named = ", ".join(map(str, seeds["seeds"]))
    table = Table("suite", "metric", "mean", "deviation", "range", title=f"arm {seeds['arm']}, seeds {named}")
    for suite, metrics in seeds["suites"].items():
        for metric, found in metrics.items():
            spread = [f"{found['standard_deviation']:.1%}", f"{found['lowest']:.1%} - {found['highest']:.1%}"]
            table.add_row(suite, metric, f"{found['mean']:.1%}", *spread)
    Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)
