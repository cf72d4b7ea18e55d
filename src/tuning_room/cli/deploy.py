"""`deploy render`: manifests for KServe and Argo CD."""

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.options import opened, recipe_options, show


def command(name: str) -> click.Command:
    """Return the command group."""

    @click.group(name, help=COMMANDS[name].help)
    def deploy() -> None:
        pass

    @deploy.command("render", help="Write the manifests for a run's adapter to its deploy folder.")
    @recipe_options
    def render(recipe: str, runs: str, as_json: bool) -> int:
        loaded, workspace = opened(recipe, runs)
        from tuning_room.recipe import run_stage

        show(run_stage(loaded, workspace, "deploy"), as_json=as_json)
        if not as_json:
            click.echo(f"see {workspace.deploy}/README.md")
        return 0

    return deploy
