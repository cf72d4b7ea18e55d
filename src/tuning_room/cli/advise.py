"""`advise`: what a prompt costs, and what speaks for and against baking it."""

from typing import TYPE_CHECKING

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.options import opened, recipe_options

if TYPE_CHECKING:
    from tuning_room.advise import Advice


def command(name: str) -> click.Command:
    """Return the command."""

    @click.command(name, help=COMMANDS[name].help)
    @recipe_options
    def run(recipe: str, runs: str, as_json: bool) -> int:
        loaded, _ = opened(recipe, runs)
        from tuning_room import advise
        from tuning_room.recipe import check_model, check_template

        check_template(loaded)
        check_model(loaded)
        advice = advise.run(loaded.advise)
        if as_json:
            click.echo(advice.model_dump_json())
        else:
            _print(advice)
        return 0

    return run


def _print(advice: "Advice") -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"{advice.messages_per_day:,} messages a day"
    costs = Table("system turn", "tokens a message", "tokens a day", title=title)
    costs.add_row("full prompt", f"{advice.full_tokens:,}", f"{advice.full_tokens_per_day:,}")
    costs.add_row("short prompt", f"{advice.short_tokens:,}", f"{advice.short_tokens_per_day:,}")
    signals = Table("baking", "because", "seen")
    for signal in advice.signals:
        color = "green" if signal.speaks == "for" else "yellow"
        signals.add_row(f"[{color}]{signal.speaks}[/]", signal.what, signal.seen)
    console = Console(highlight=False)
    console.print(costs)
    console.print(signals)
    if advice.estimated:
        click.echo(f"{click.style('estimated:', fg='yellow')} tokens, from characters: {advice.estimated}", err=True)
    if advice.unread:
        click.echo(f"{click.style('not read:', fg='yellow')} {advice.unread}", err=True)
