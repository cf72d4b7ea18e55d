"""The command line: one file per command; this table is the contents."""

import re
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import NamedTuple

import click

from tuning_room.errors import TuningRoomError
from tuning_room.prerequisites import explained


class Entry(NamedTuple):
    """Where a command is, and its line in the help: nothing is imported to show it."""

    module: str
    help: str


COMMANDS: dict[str, Entry] = {
    "init": Entry("init", "Start a recipe from a prompt: requirements drafted, data and suites to fill in."),
    "requirements": Entry(
        "requirements", "Show what the prompt asks, and where each requirement is taught and tested."
    ),
    "advise": Entry("advise", "Weigh up whether a prompt is worth baking."),
    "bake": Entry("bake", "Run every stage, from documents and prompt to a proven adapter."),
    "convert": Entry("convert", "Convert documents to Markdown and chunks (Docling)."),
    "generate": Entry("generate", "Generate candidate dialogues from rules or a teacher (SDG Hub)."),
    "dataset": Entry("stage", "Check, deduplicate and split the training data."),
    "train": Entry("train", "Train a LoRA adapter (Training Hub)."),
    "evaluate": Entry("evaluate", "Compare four arms on held-out items and reach a verdict (lm-evaluation-harness)."),
    "report": Entry("stage", "Write the report: one HTML page that shows it all."),
    "chat": Entry("chat", "Chat with an arm in the terminal."),
    "serve": Entry("serve", "Serve the base model and adapters over an OpenAI-compatible API."),
    "merge": Entry("merge", "Merge the adapter into its base model, and check that the logits stay the same."),
    "deploy": Entry("deploy", "Render manifests for KServe and Argo CD."),
    "status": Entry("status", "Show what is done in a run folder and what is not."),
}


# Of a terminal: escape codes, marks that turn the direction of writing, and halves of surrogate pairs.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Commands(click.Group):
    """Imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or none if the table does not have it."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"tuning_room.cli.{COMMANDS[cmd_name].module}")
        command: click.Command = module.command(cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tuning-room", message="%(prog)s %(version)s")
def cli() -> None:
    """Bake a system prompt into a model. Prove it worked. Ship it.

    RECIPE is a folder with a recipe.yaml, such as recipes/socratic-tutor.
    Exit codes: 0 success, and the verdict is to ship; 2 an error; 3 the verdict is not to ship.
    """


def main() -> None:
    """Run the command line; an error of ours is one line and exit code 2, never a traceback."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path need not be text
    try:
        with explained(next((word for word in sys.argv[1:] if word in COMMANDS), "")):
            code = cli(standalone_mode=False, prog_name="tuning-room")
    except click.ClickException as error:
        error.show()
        code = 2
    except TuningRoomError as error:
        _complain(str(error))
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("stopped; run the same command again to continue", err=True)
        code = 130
    except BrokenPipeError:
        code = 0
    except OSError as error:
        # A full disk or a read-only folder is no bug of ours, and a traceback would help nobody.
        place = f"{error.filename}: " if error.filename else ""
        _complain(f"{place}{error.strerror or error}")
        code = 2
    except UnicodeEncodeError as error:
        # A path of this system need not be text, and a file holds nothing else.
        shown = error.object[:200].encode(errors="backslashreplace").decode()
        _complain(f"not UTF-8: {shown}; give the file or folder another name")
        code = 2
    except (MemoryError, RuntimeError) as error:
        if not (said := _machine_fault(error)):
            raise
        _complain(said)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


def _complain(text: str) -> None:
    """Print an error; what would move the cursor or change colours comes from somebody's file or server."""
    click.echo(f"{click.style('error:', fg='red')} {CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)}", err=True)


def _machine_fault(error: Exception) -> str:
    """Return in words what no stage could know beforehand, '' for any other error: that would be a bug of ours."""
    if isinstance(error, RecursionError):
        return "something is too deep, or leads back to itself; make it simpler"
    from tuning_room.models import is_out_of_memory

    hint = "end other programs, or use a smaller model or a machine with more memory"
    return f"not enough memory; {hint}" if is_out_of_memory(error) else ""
