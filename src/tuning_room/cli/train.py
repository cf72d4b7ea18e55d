"""`train`: the stage, and what it will take."""

import json

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.options import clock, opened, recipe_options, show


def command(name: str) -> click.Command:
    """Return the command."""

    @click.command(name, help=COMMANDS[name].help)
    @click.option("--force", is_flag=True, help="Run it even if nothing has changed.")
    @click.option("--plan", "is_plan", is_flag=True, help="Only say what it will take, by trying a few steps.")
    @recipe_options
    def run(recipe: str, runs: str, as_json: bool, force: bool, is_plan: bool) -> int:
        loaded, workspace = opened(recipe, runs)
        if not is_plan:
            from tuning_room.recipe import run_stage

            show(run_stage(loaded, workspace, name, force=force), as_json=as_json)
            return 0
        from tuning_room.train import plan

        found = plan(loaded.train, workspace)
        if as_json:
            click.echo(json.dumps(found._asdict()))
            return 0
        click.echo(f"rows    {found.rows:,}")
        click.echo(f"steps   {found.steps:,}")
        click.echo(f"tokens  {found.tokens:,}, {found.largest_step:,} in the largest step")
        click.echo(f"time    about {clock(found.seconds)}")
        click.echo(f"memory  about {found.peak_bytes / 1e9:.1f} GB at its peak of {found.available_bytes / 1e9:.1f} GB")
        return 0

    return run
