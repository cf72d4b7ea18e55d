"""`chat`: a conversation with an arm in the terminal."""

import sys
from typing import TYPE_CHECKING

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.options import opened, permission_options

if TYPE_CHECKING:
    from tuning_room.engines import Engine, Sampling

ARMS = ("base", "prompted", "baked", "baked_prompted")


def command(name: str) -> click.Command:
    """Return the command."""

    @click.command(name, help=COMMANDS[name].help)
    @click.argument("recipe")
    @click.option("--arm", type=click.Choice(ARMS), default="baked", show_default=True, help="Arm to chat with.")
    @click.option("--runs", default="runs", show_default=True, help="Folder that holds the run folders.")
    @permission_options
    @click.option(
        "--max-tokens", type=click.IntRange(min=1), default=128, show_default=True, help="Longest reply in tokens."
    )
    def run(recipe: str, arm: str, runs: str, max_tokens: int) -> int:
        loaded, workspace = opened(recipe, runs)
        from tuning_room.engines import Sampling
        from tuning_room.serve import open_engine

        prompts = {"base": "", "baked": loaded.short_prompt}
        system = prompts.get(arm, loaded.full_prompt.read_text(encoding="utf-8-sig").strip())
        engine = open_engine(loaded.serve, workspace)
        model = engine.models()[1 if arm.startswith("baked") else 0]
        click.echo(f"{arm}: {model}. An empty line, Ctrl-D or Ctrl-C ends the chat.", err=True)
        _chat(engine, model, system, Sampling(max_tokens))
        return 0

    return run


def _chat(engine: "Engine", model: str, system: str, sampling: "Sampling") -> None:
    from tuning_room.records import Message
    from tuning_room.rendering import with_system

    messages: list[Message] = []
    while question := _line():
        messages.append(Message(role="user", content=question))
        reply = ""
        for piece in engine.stream(model, with_system(system, messages), sampling):
            reply += piece
            click.echo(piece, nl=False)
        click.echo()
        messages.append(Message(role="assistant", content=reply.strip() or "..."))


def _line() -> str:
    if sys.stdin.isatty():
        click.echo("> ", nl=False)
    return sys.stdin.readline().strip()
