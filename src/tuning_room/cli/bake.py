"""`bake`: every stage in order, then the comparison and the verdict."""

import json
import sys
from typing import TYPE_CHECKING

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.options import exit_code, opened, recipe_options, show, show_verdict

if TYPE_CHECKING:
    from rich.console import Console

    from tuning_room.results import Results, Trainings


def command(name: str) -> click.Command:
    """Return the command."""

    @click.command(name, help=COMMANDS[name].help)
    @click.option("--force", is_flag=True, help="Run every stage even if nothing has changed.")
    @click.option(
        "--trainings",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Number of trainings, each with its own random seed, to show how much of the result is luck.",
    )
    @recipe_options
    def run(recipe: str, runs: str, as_json: bool, force: bool, trainings: int) -> int:
        loaded, workspace = opened(recipe, runs)
        from tuning_room.recipe import bake, run_stage
        from tuning_room.records import read_record
        from tuning_room.results import Trainings, read_results
        from tuning_room.trainings import train_again

        for done in bake(loaded, workspace, force=force):
            if not as_json:
                show(done, as_json=False)
        if trainings > 1:
            for done in train_again(loaded, workspace, trainings, force=force):
                if not as_json:
                    show(done, as_json=False)
            run_stage(loaded, workspace, "report")
        results = read_results(workspace.results)
        repeated = read_record(workspace.trainings, Trainings) if trainings > 1 else None
        if as_json:
            plain = repeated.model_dump(mode="json") if repeated else None
            found = {"run": str(workspace.root), "results": results.model_dump(mode="json"), "trainings": plain}
            click.echo(json.dumps(found))
        else:
            _print_comparison(results, str(workspace.report_html))
            if repeated:
                _print_trainings(repeated)
        return exit_code(results.verdict.verdict)

    return run


def _print_comparison(results: "Results", report: str) -> None:
    from rich.table import Table

    from tuning_room.results import ALL

    metrics = list(next(iter(results.rates.values()))[ALL])
    table = Table("arm", *metrics, "prompt tokens", title="held-out items, share of replies [95 % interval]")
    for arm, suites in results.rates.items():
        cells = [f"{rate.rate:.0%} [{rate.low:.0%}-{rate.high:.0%}]" for rate in suites[ALL].values()]
        table.add_row(arm, *cells, f"{results.tokens[arm].prompt:.0f}")
    console = _console()
    console.print(table)
    show_verdict(results)
    verdict = results.verdict.verdict
    color = "green" if verdict == "ship" else "yellow"
    console.print(f"verdict: [bold {color}]{verdict}[/]   report: {report}")


def _print_trainings(trainings: "Trainings") -> None:
    from rich.table import Table

    seeds = ", ".join(map(str, trainings.seeds))
    table = Table("suite", "metric", "mean", "deviation", "range", title=f"arm {trainings.arm}, seeds {seeds}")
    for suite, metrics in trainings.suites.items():
        for metric, spread in metrics.items():
            deviation = "" if spread.standard_deviation is None else f"{spread.standard_deviation:.1%}"
            reach = f"{spread.lowest:.1%} - {spread.highest:.1%}"
            table.add_row(suite, metric, f"{spread.mean:.1%}", deviation, reach)
    _console().print(table)


def _console() -> "Console":
    from rich.console import Console

    # When piped, rich would use 80 columns and truncate the arms' names.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)
