"""`serve`: an OpenAI-compatible server with a base model and adapters of it."""

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.options import opened, permission_options

HELP = f"""{COMMANDS["serve"].help}

Further recipes add their adapters of the same base model; the settings of the first apply.
"""


def command(name: str) -> click.Command:
    """Return the command."""

    @click.command(name, help=HELP)
    @click.argument("recipes", nargs=-1, required=True, metavar="RECIPE...")
    @click.option(
        "--engine", type=click.Choice(["local", "vllm"]), help="local: in this process; vllm: for many users."
    )
    @click.option("--host", help="Address to listen on.")
    @click.option("--port", type=int, help="Port to listen on; 0 picks a free one.")
    @permission_options
    @click.option("--runs", default="runs", show_default=True, help="Folder that holds the run folders.")
    def run(recipes: tuple[str, ...], runs: str, **chosen: object) -> int:
        (loaded, workspace), *others = [opened(folder, runs) for folder in recipes]
        from tuning_room.serve import run_server

        given = {key: value for key, value in chosen.items() if value is not None}
        run_server(loaded.serve.model_copy(update=given), workspace, *(other for _, other in others))
        return 0

    return run
