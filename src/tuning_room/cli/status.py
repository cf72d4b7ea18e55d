"""`status`: what is done in a run folder and what is not."""

import json

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.options import opened, recipe_options


def command(name: str) -> click.Command:
    """Return the command."""

    @click.command(name, help=COMMANDS[name].help)
    @recipe_options
    def run(recipe: str, runs: str, as_json: bool) -> int:
        loaded, workspace = opened(recipe, runs)
        from tuning_room.recipe import ALL_STAGES

        states = {stage: workspace.state(ALL_STAGES[stage], loaded.config(stage)) for stage in ALL_STAGES}
        if as_json:
            click.echo(json.dumps({"run": str(workspace.root), "stages": states}))
            return 0
        for stage, state in states.items():
            click.echo(f"{stage:<9} {state}")
        return 0

    return run
