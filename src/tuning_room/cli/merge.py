"""`merge`: the adapter merged into its base model, for servers that take no adapters."""

import json
from pathlib import Path

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.options import opened, recipe_options


def command(name: str) -> click.Command:
    """Return the command."""

    @click.command(name, help=COMMANDS[name].help)
    @click.option(
        "--to",
        type=click.Path(file_okay=False, path_type=Path),
        help="New or empty folder, or that of an earlier merge; by default `merged` in the run folder.",
    )
    @click.option("--bound", type=float, help="Largest difference of a logit to accept.")
    @recipe_options
    def run(recipe: str, runs: str, as_json: bool, to: Path | None, bound: float | None) -> int:
        loaded, workspace = opened(recipe, runs)
        from tuning_room.models.merging import BOUND, check_merge, merge

        folder = to or workspace.root / "merged"
        # What is refused should leave no trace, not even a lock.
        workspace.hold(workspace.adapter)
        check_merge(loaded.model, workspace.adapter, folder)
        with workspace.locked():
            found = merge(
                loaded.model, workspace.adapter, folder,
                system=loaded.short_prompt, bound=BOUND if bound is None else bound,
            )  # fmt: skip
        if as_json:
            click.echo(json.dumps({"folder": str(folder), **found.model_dump()}))
            return 0
        click.echo(f"merged into {folder}")
        click.echo(
            f"read back and compared over {found.tokens} tokens: logits differ by at most "
            f"{found.largest_difference:.2g}, while the adapter moves them by up to {found.adapter_moves:.3g}; "
            f"{found.same_choices:.1%} of the greedy choices are the same"
        )
        return 0

    return run
