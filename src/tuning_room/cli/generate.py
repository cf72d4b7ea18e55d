"""`generate`: candidates for the training data, or with `--dry-run` what they would cost."""

import json

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.options import clock, opened, recipe_options, show


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
            values: dict[str, object] = found.model_dump() if found else {"requests": 0}
            click.echo(json.dumps(values) if as_json else _estimate_text(values, loaded.generate.teacher.model_dump()))
            return 0
        from tuning_room.recipe import run_stage

        show(run_stage(loaded, workspace, name, force=force), as_json=as_json)
        return 0

    return run


def _estimate_text(values: dict[str, object], teacher: dict[str, object]) -> str:
    if teacher["kind"] == "rules":
        return "requests  none: a teacher of kind rules calls no model"
    seconds = clock(float(str(values["seconds"])))
    how = f"counted by the tokenizer of {values['counted_by']}" if values["counted_by"] else "estimated from the length"
    lines = [
        f"requests  {values['requests']:,} to send, {values['answered']:,} are answered already",
        f"tokens    {values['prompt_tokens']:,} in ({how}), at most {values['reply_tokens']:,} out",
        f"cost      {_money(values['cost'])}",
        f"time      about {seconds}, at {values['speed']:g} tokens a second in all (assumed)",
    ]
    if values["stop"]:
        lines.append("budget    may run out before the end; generation would then stop and keep what it has")
    return "\n".join(lines)


def _money(cost: object) -> str:
    if cost is None:
        return "unknown; set generate.teacher.prompt_price and reply_price"
    return f"at most {cost:.4f}"
