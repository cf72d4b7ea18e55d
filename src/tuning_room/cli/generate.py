"""`generate`: candidates for the training data, or with `--dry-run` what they would cost."""

import json
from typing import TYPE_CHECKING

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.options import clock, opened, recipe_options, show

if TYPE_CHECKING:
    from tuning_room.generate.estimate import Estimate


def command(name: str) -> click.Command:
    """Return the command."""

    @click.command(name, help=COMMANDS[name].help)
    @click.option("--dry-run", is_flag=True, help="Estimate requests, tokens, cost and time without calling a model.")
    @click.option("--force", is_flag=True, help="Run the stage even if nothing has changed.")
    @recipe_options
    def run(recipe: str, runs: str, as_json: bool, force: bool, dry_run: bool) -> int:
        loaded, workspace = opened(recipe, runs)
        if dry_run:
            from tuning_room.generate.estimate import estimate

            found = estimate(loaded.generate, workspace)
            values = found.model_dump() if found else {"requests": 0}
            click.echo(json.dumps(values) if as_json else _estimate_text(found))
            return 0
        from tuning_room.recipe import run_stage

        show(run_stage(loaded, workspace, name, force=force), as_json=as_json)
        return 0

    return run


def _estimate_text(found: "Estimate | None") -> str:
    if found is None:
        return "requests  none: a teacher of kind rules calls no model"
    how = f"counted by the tokenizer of {found.counted_by}" if found.counted_by else "estimated from the length"
    price = "unknown; set generate.teacher.prompt_price and reply_price"
    lines = [
        f"requests  {found.requests:,} to send, {found.answered:,} already answered",
        f"tokens    {found.prompt_tokens:,} in ({how}), at most {found.reply_tokens:,} out",
        f"cost      {price if found.cost is None else f'at most {found.cost:.4f}'}",
        f"time      about {clock(found.seconds)}, at {found.speed:g} tokens a second in all (assumed)",
    ]
    if found.stop:
        lines.append("budget    may run out before the end; generation would then stop and keep what it has")
    return "\n".join(lines)
