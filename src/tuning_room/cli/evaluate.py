"""`evaluate`: the arms on held-out items, the verdict with its reasons, and what changed since another run."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.options import exit_code, opened, recipe_options, show, show_verdict

if TYPE_CHECKING:
    from tuning_room.evaluate.against import Against, Change
    from tuning_room.recipe import Recipe
    from tuning_room.workspace import Workspace


def command(name: str) -> click.Command:
    """Return the command."""

    @click.command(name, help=COMMANDS[name].help)
    @click.option("--all-items", is_flag=True, help="Use every item of every suite, whatever its `size`.")
    @click.option(
        "--against",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder of another run to compare with, on the items that both have.",
    )
    @click.option(
        "--junit",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write the gates and requirements as JUnit XML to this file.",
    )
    @click.option("--force", is_flag=True, help="Ask every question again, even if nothing has changed.")
    @click.option(
        "--export-targets",
        type=click.Path(file_okay=False, path_type=Path),
        help="Write garak and promptfoo configurations for the served arms to this folder, without evaluating.",
    )
    @click.option("--address", help="With --export-targets: the server's address, if it differs from the recipe's.")
    @recipe_options
    def run(
        recipe: str,
        runs: str,
        as_json: bool,
        force: bool,
        all_items: bool,
        against: Path | None,
        junit: Path | None,
        export_targets: Path | None,
        address: str | None,
    ) -> int:
        loaded, workspace = opened(recipe, runs)
        if export_targets:
            return _export(export_targets, loaded, workspace, address, as_json=as_json)
        from dataclasses import asdict

        from tuning_room.evaluate.against import compare, read_run
        from tuning_room.evaluate.junit import write_junit
        from tuning_room.recipe import run_stage
        from tuning_room.results import read_results

        # Read first: a run that cannot be compared is refused at once, and this run's folder is read as it was before.
        other = read_run(against) if against else None
        if all_items:
            every = loaded.evaluate.model_copy(update={"all_items": True})
            loaded = loaded.model_copy(update={"evaluate": every})
        done = run_stage(loaded, workspace, name, force=force)
        results = read_results(workspace.results)
        if junit:
            write_junit(junit, loaded.name, results.verdict, results.requirements)
        found = compare(other, read_run(workspace.root)) if other else None
        show(done, as_json=as_json, more={"against": asdict(found)} if found else {})
        if not as_json:
            show_verdict(results)
            if found:
                _show_against(found)
        return exit_code(results.verdict.verdict)

    return run


def _export(folder: Path, recipe: "Recipe", workspace: "Workspace", address: str | None, *, as_json: bool) -> int:
    from tuning_room.engines.addresses import public
    from tuning_room.evaluate.targets import export_targets

    # An address that stands for every interface is not one to connect to.
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(recipe.serve.host, recipe.serve.host)
    place = address or f"http://{host}:{recipe.serve.port}/v1"
    files = [str(path) for path in export_targets(folder, recipe.name, recipe.evaluate, workspace, place)]
    click.echo(json.dumps({"address": public(place), "files": files}) if as_json else "\n".join(files))
    return 0


def _show_against(against: "Against") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    title = f"{against.second} against {against.first}"
    table = Table(*"suite/metric/before/now/difference [95 % interval]/p (Holm)/worse/better".split("/"), title=title)
    for change in against.changes:
        table.add_row(*map(escape, _cells(change)))  # an item's name may look like markup
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for note in against.notes:
        console.print(escape(f"note: {note}"))


def _cells(change: "Change") -> Iterable[str]:
    points = [f"{value * 100:+.1f}" for value in (change.difference, change.low, change.high)]
    return (
        change.suite,
        change.metric,
        f"{change.first_rate:.1%}",
        f"{change.second_rate:.1%}",
        f"{points[0]} [{points[1]} to {points[2]}]",
        f"{change.p_holm:.3f}",
        _named(change.newly_failing),
        _named(change.newly_passing),
    )


def _named(items: list[str]) -> str:
    return ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")
