"""`init`: starts a recipe from a prompt, and says what is left to fill in."""

from pathlib import Path
from typing import Literal

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.options import quiet


def command(name: str) -> click.Command:
    """Return the command."""

    @click.command(name, help=COMMANDS[name].help)
    @click.argument("name")
    @click.option("--prompt", required=True, type=click.Path(path_type=Path), help="File with the full prompt.")
    @click.option(
        "--documents", type=click.Path(path_type=Path), help="Folder with documents, which stays where it is."
    )
    @click.option(
        "--teacher",
        type=click.Choice(["rules", "endpoint"]),
        default="rules",
        show_default=True,
        help="Who writes dialogues besides your own.",
    )
    @click.option("--model", default="embedded:smollm2-135m", show_default=True, help="Base model to bake into.")
    def run(name: str, prompt: Path, documents: Path | None, teacher: Literal["rules", "endpoint"], model: str) -> int:
        quiet()
        from tuning_room.errors import RecipeError
        from tuning_room.scaffold import NewRecipe, read_prompt, write_scaffold

        if documents and not documents.is_dir():
            raise RecipeError(f"{documents}: no such folder", hint="name the folder with your documents")
        folder = _place(name)
        found = write_scaffold(folder, NewRecipe(folder.name, read_prompt(prompt), model, teacher, documents))
        flag = _flag_needed(folder, documents)
        for note in found.notes:
            click.echo(f"{click.style('note:', fg='yellow')} {note}", err=True)
        _print_next(f"{folder}{flag}", folder, len(found.requirements), len(found.untestable))
        return 0

    return run


def _place(name: str) -> Path:
    """Return the folder of a new recipe: the path that was given, or a name below ./recipes where there is one."""
    path = Path(name)
    return Path("recipes") / path if len(path.parts) == 1 and Path("recipes").is_dir() else path


def _flag_needed(folder: Path, documents: Path | None) -> str:
    """Return the flag without which the new recipe may not read its documents; RecipeError where it cannot be read."""
    from tuning_room.errors import RecipeError
    from tuning_room.paths import ALLOW_FILES, PERMISSIONS
    from tuning_room.recipe import load_recipe

    try:
        load_recipe(str(folder))
    except RecipeError:
        if documents is None:
            raise
        PERMISSIONS.grant([documents])
        load_recipe(str(folder))
        return f" {ALLOW_FILES} {documents}"
    return ""


def _print_next(recipe: str, folder: Path, drafted: int, untestable: int) -> None:
    from tuning_room.scaffold import MARK

    click.echo(
        f"{folder}: a recipe with {drafted} requirements drafted from the prompt, {untestable} without a test yet"
    )
    click.echo(f"  1. read {folder / 'requirements.yaml'} against the prompt" if drafted else "  1. write requirements")
    click.echo(f"  2. in {folder / 'seeds.jsonl'} and {folder / 'evaluation'}: replace each {MARK}, or delete its line")
    click.echo(f"  3. tuning-room requirements {recipe}   # what is not taught or tested yet")
    click.echo(f"  4. tuning-room bake {recipe}")
