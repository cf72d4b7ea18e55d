"""`dataset` and `report`: one stage of a recipe."""

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.dataset import DatasetCommand
from tuning_room.cli.options import opened, recipe_options, show


def command(name: str) -> click.Command:
    """Return the command that runs the stage of this name."""

    @click.command(name, cls=DatasetCommand if name == "dataset" else click.Command, help=COMMANDS[name].help)
    @click.option("--force", is_flag=True, help="Run the stage even if nothing has changed.")
    @recipe_options
    def run(recipe: str, runs: str, as_json: bool, force: bool) -> int:
        loaded, workspace = opened(recipe, runs)
        from tuning_room.recipe import run_stage

        show(run_stage(loaded, workspace, name, force=force), as_json=as_json)
        return 0

    return run
