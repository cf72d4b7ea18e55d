"""`serve`: an OpenAI-compatible server with base and adapter."""

from typing import Any

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.options import opened


def command(name: str) -> click.Command:
    """Return the command."""

    @click.command(name, help=COMMANDS[name].help)
    @click.argument("recipe")
    @click.option("--engine", type=click.Choice(["local", "vllm"]), help="local: in this process; vllm: for load.")
    @click.option("--host", help="Address to listen at.")
    @click.option("--port", type=int, help="Port to listen at; 0 takes a free one.")
    @click.option("--runs", default="runs", show_default=True, help="Folder that holds the run folders.")
    def run(recipe: str, runs: str, **chosen: Any) -> int:
        loaded, workspace = opened(recipe, runs)
        from tuning_room.serve import run_server

        given = {key: value for key, value in chosen.items() if value is not None}
        run_server(loaded.serve.model_copy(update=given), workspace)
        return 0

    return run
