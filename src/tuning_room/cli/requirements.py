"""`requirements`: what the prompt asks; drafts the file, or shows where each requirement is taught and tested."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.options import opened, recipe_options

if TYPE_CHECKING:
    from tuning_room.recipe import Recipe
    from tuning_room.requirements.coverage import RequirementCoverage
    from tuning_room.requirements.draft import RequirementsDraft
    from tuning_room.workspace import Workspace

WARNED = 1  # the exit code under --strict


def command(name: str) -> click.Command:
    """Return the command."""

    @click.command(name, help=COMMANDS[name].help)
    @click.option("--write", is_flag=True, help="Write the draft to requirements.yaml, and name it in the recipe.")
    @click.option("--teacher", is_flag=True, help="Let the recipe's teacher endpoint draft; its quotes are verified.")
    @click.option("--strict", is_flag=True, help="Exit with 1 if anything is uncovered, untaught or untested.")
    @recipe_options
    def run(recipe: str, runs: str, as_json: bool, write: bool, teacher: bool, strict: bool) -> int:
        loaded, workspace = opened(recipe, runs)
        if loaded.requirements is None:
            return _draft(recipe, loaded, by_model=teacher, write=write, as_json=as_json)
        if write or teacher:
            from tuning_room.errors import OccupiedError

            raise OccupiedError(f"{loaded.requirements}: is there already", hint="edit it, or move it away first")
        return _show(loaded, workspace, as_json=as_json, strict=strict)

    return run


def _draft(place: str, recipe: "Recipe", *, by_model: bool, write: bool, as_json: bool) -> int:
    from tuning_room.recipe import recipe_file
    from tuning_room.requirements.draft import FILE, as_yaml, draft, write_draft

    prompt = recipe.full_prompt.read_text(encoding="utf-8-sig")
    found = _by_model(recipe, prompt) if by_model else draft(prompt)
    text = as_yaml(found, by="a model" if by_model else "rules")
    written = write_draft(text, recipe_file(place)) if write else None
    if as_json:
        _print_json_draft(found, str(written.file) if written else None)
        return 0
    for note in found.notes:
        click.echo(f"{click.style('note:', fg='yellow')} {note}", err=True)
    if written is None:
        click.echo(text, nl=False)
        return 0
    named = "named in recipe.yaml" if written.is_named else f"add the line 'requirements: {FILE}' to recipe.yaml"
    click.echo(f"{written.file}: {len(found.requirements)} requirements drafted; {named}")
    return 0


def _by_model(recipe: "Recipe", prompt: str) -> "RequirementsDraft":
    from tuning_room.engines.endpoint import EndpointEngine
    from tuning_room.errors import RecipeError
    from tuning_room.requirements.model_draft import draft_by_model

    teacher = recipe.generate.teacher
    if teacher.kind != "endpoint" or not teacher.address or not teacher.model:
        raise RecipeError(
            "generate.teacher: --teacher needs one of kind endpoint, with address and model",
            hint="write them into the recipe, or draft by rules",
        )
    engine = EndpointEngine(
        teacher.address,
        teacher.model,
        key_variable=teacher.key_variable,
        timeout=teacher.timeout,
        retries=teacher.retries,
    )
    return draft_by_model(prompt, engine, teacher.model, max_tokens=teacher.max_tokens)


def _print_json_draft(found: "RequirementsDraft", written: str | None) -> None:
    entries = [one.model_dump(mode="json", exclude_defaults=True) for one in found.requirements]
    values = {"requirements": entries, "language": found.language, "notes": found.notes, "written": written}
    click.echo(json.dumps(values, ensure_ascii=False))


def _show(recipe: "Recipe", workspace: "Workspace", *, as_json: bool, strict: bool) -> int:
    from tuning_room.requirements.coverage import contradictions, covered, share_covered, uncovered

    prompt, known = recipe.full_prompt.read_text(encoding="utf-8-sig"), recipe.read_requirements()
    found = covered(known, _rows(workspace), _items(recipe))
    open_words, clashes = uncovered(prompt, known), contradictions(known)
    share = share_covered(prompt, known)
    if as_json:
        values = {
            "requirements": [_plain(one) for one in found],
            "covered": share,
            "uncovered": open_words,
            "contradictions": [clash._asdict() for clash in clashes],
        }
        click.echo(json.dumps(values, ensure_ascii=False))
    else:
        _print_table(found)
        _print_list(f"{share:.0%} of the prompt's words stand in a quote; nothing covers", open_words)
        _print_list("possible contradictions", [f"{first} and {second}: {why}" for first, second, why in clashes])
        _print_list("missing", [f"{one.requirement.id}: {'; '.join(one.missing)}" for one in found if one.missing])
    return WARNED if strict and (open_words or clashes or any(one.missing for one in found)) else 0


def _rows(workspace: "Workspace") -> list[list[str]] | None:
    """Return the ids that each training row names, or each candidate while there is no dataset; None before any."""
    from tuning_room.records import Candidate, Dialogue, read_jsonl

    if workspace.train_rows.is_file():
        return [row.requirements for row in read_jsonl(workspace.train_rows, Dialogue)]
    if workspace.candidates.is_file():
        return [row.requirements for row in read_jsonl(workspace.candidates, Candidate) if not row.error]
    return None


def _items(recipe: "Recipe") -> dict[str, list[list[str]]]:
    """Return the ids that each item tests, by suite."""
    from tuning_room.evaluate.suites import chosen

    every = recipe.evaluate.model_copy(update={"all_items": True, "limit": None})
    return {suite: [item.requirements for item in items] for suite, items in chosen(every).items()}


def _plain(one: "RequirementCoverage") -> dict[str, Any]:
    return {**one.requirement.model_dump(mode="json"), **{k: v for k, v in one._asdict().items() if k != "requirement"}}


def _print_table(found: "Sequence[RequirementCoverage]") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from tuning_room.requirements.coverage import outside
    from tuning_room.requirements.draft import shortened

    table = Table("id", "kind", "quote", "tested by", "rows", "items")
    for one in found:
        asked = one.requirement
        items = ", ".join(f"{count} {suite}" for suite, count in one.items.items())
        tested = outside(asked) or one.tested_by or "nothing"
        color = "yellow" if one.missing else "green"
        rows = "-" if one.rows is None else str(one.rows)
        table.add_row(
            f"[{color}]{asked.id}[/]", asked.kind, escape(shortened(asked.quote)), escape(tested), rows, items or "-"
        )
    # When piped, rich would use 80 columns and break every cell.
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)


def _print_list(title: str, lines: Sequence[str]) -> None:
    click.echo(f"{title}: {'' if lines else 'nothing'}".rstrip())
    for line in lines:
        click.echo(f"  - {line}")
