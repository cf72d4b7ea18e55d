"""`convert`, `dataset`, `train`, `evaluate`, `report`: one stage of a recipe."""

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.dataset import DatasetCommand
from tuning_room.cli.options import exit_code, opened, recipe_options, show


def command(name: str) -> click.Command:
    """Return the command that runs the stage of this name."""

    @click.command(name, cls=DatasetCommand if name == "dataset" else click.Command, help=COMMANDS[name].help)
    @click.option("--force", is_flag=True, help="Run it even if nothing has changed.")
    @recipe_options
    def run(recipe: str, runs: str, as_json: bool, force: bool) -> int:
        loaded, workspace = opened(recipe, runs)
        from tuning_room.recipe import run_stage

        done = run_stage(loaded, workspace, name, force=force)
        show(done, as_json=as_json)
        return exit_code(done.result.model_dump()["verdict"]) if name == "evaluate" else 0

    if name == "convert":
        from tuning_room.cli.explain import with_explain

        return with_explain(run)
    return run
