"""`dataset export` and `dataset review`, beside the stage itself."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuning_room.cli.options import opened, recipe_options

if TYPE_CHECKING:
    from tuning_room.formats import Format

# As in tuning_room.formats, which is not imported to show the help; a test compares them.
FORMATS = ("messages", "sharegpt", "alpaca", "prompt-completion")


class DatasetCommand(click.Command):
    """The stage's command and its subcommands; the first argument tells them apart."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the context of the command that the words name."""
        if args and args[0] in COMMANDS:
            return COMMANDS[args[0]].make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands."""
        with formatter.section("Further commands"):
            formatter.write_dl([(f"{name} RECIPE", command.help or "") for name, command in COMMANDS.items()])


@click.command("export", help="Write the rows in another format.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="messages", show_default=True, help="Format of a row."
)
@click.option(
    "--split", type=click.Choice(["train", "valid"]), default="train", show_default=True, help="Split to write."
)
@click.option("--to", "target", type=click.Path(dir_okay=False), required=True, help="JSONL file to write.")
@recipe_options
def export(recipe: str, runs: str, as_json: bool, form: "Format", split: str, target: str) -> int:
    """Write the rows of a split, all or nothing."""
    _, workspace = opened(recipe, runs)
    from tuning_room.files import atomic_writer
    from tuning_room.formats import written
    from tuning_room.records import Dialogue, read_jsonl

    rows = workspace.train_rows if split == "train" else workspace.valid_rows
    count = 0
    with atomic_writer(Path(target)) as out:
        for row in read_jsonl(rows, Dialogue):
            labels = row.model_dump(mode="json", exclude={"messages"})
            values = {"id": row.id, **written(row.messages, form, where=f"{rows}: {row.id}"), **labels}
            out.write(json.dumps(values, ensure_ascii=False) + "\n")
            count += 1
    done = {"rows": count, "format": form, "file": target}
    click.echo(json.dumps(done) if as_json else f"{count} rows as {form} in {target}")
    return 0


@click.command("review", help="Go through the rows one by one and keep, drop or edit them.")
@click.option("--all", "again", is_flag=True, help="Include rows that are already decided.")
@recipe_options
def review(recipe: str, runs: str, as_json: bool, again: bool) -> int:
    """Go through the rows, or list the decisions."""
    loaded, workspace = opened(recipe, runs)
    from tuning_room.dataset.review import DatasetRows, Review

    decided = Review(loaded.review)
    if as_json:
        decisions = [decision.model_dump(mode="json") for decision in decided.decisions.values()]
        click.echo(json.dumps({"file": str(loaded.review), "decisions": decisions}))
        return 0
    _needs_terminal()
    from tuning_room.cli.review import Reader

    rows = DatasetRows([workspace.train_rows, workspace.valid_rows], set() if again else decided.settled())
    Reader(rows, decided, loaded.dataset).read()
    return 0


def _needs_terminal() -> None:
    from tuning_room.errors import StageError

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise StageError("a review needs a terminal", hint="list the decisions with --json")


COMMANDS: dict[str, click.Command] = {"export": export, "review": review}
