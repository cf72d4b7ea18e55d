"""What the commands share: their options, and how a finished stage is shown."""

import json
import os
import warnings
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from tuning_room.recipe import Done, Recipe
    from tuning_room.results import Results
    from tuning_room.workspace import Workspace

F = TypeVar("F", bound=Callable[..., int])

SHIP, DO_NOT_SHIP = 0, 3
SHOWN_FAILURES = 3  # reasons in a stage's line; its result has more of them


def permission_options(function: F) -> F:
    """Add what lets a recipe be more than data."""
    for option in (
        click.option(
            "--allow-code", is_flag=True, expose_value=False, callback=_allow_code,
            help="Let the recipe run code that it names: task files of its own, another Python for vLLM.",
        ),
        click.option(
            "--allow-files", multiple=True, expose_value=False, callback=_allow_files, metavar="FOLDER",
            type=click.Path(exists=True, path_type=Path),
            help="Let the recipe read the files below this folder, outside its own.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def _allow_code(_context: click.Context, _parameter: click.Parameter, allowed: bool) -> None:
    from tuning_room.paths import PERMISSIONS

    PERMISSIONS.grant(PERMISSIONS.folders, code=allowed)


def _allow_files(_context: click.Context, _parameter: click.Parameter, folders: tuple[Path, ...]) -> None:
    from tuning_room.paths import PERMISSIONS

    PERMISSIONS.grant(folders, code=PERMISSIONS.code)


def recipe_options(function: F) -> F:
    """Add RECIPE, --runs, --json, and what permits more."""
    function = permission_options(function)
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object."),
        click.option("--runs", default="runs", show_default=True, help="Folder that holds the run folders."),
        click.argument("recipe"),
    ):
        function = option(function)
    return function


def opened(recipe: str, runs: str) -> "tuple[Recipe, Workspace]":
    """Return a recipe and its run folder; quiets what the libraries print by themselves."""
    quiet()
    from tuning_room.recipe import load_recipe
    from tuning_room.workspace import Workspace

    loaded = load_recipe(recipe, lambda text: click.echo(f"{click.style('note:', fg='yellow')} {text}", err=True))
    for what in loaded.unread():
        click.echo(f"{click.style('warning:', fg='yellow')} {what} (docs/languages.md)", err=True)
    return loaded, Workspace(Path(runs) / loaded.name)


def quiet() -> None:
    """Keep libraries from talking to the network or the terminal on their own account."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning)
    from tuning_room.models import limit_threads

    limit_threads()


def show(done: "Done", *, as_json: bool, more: Mapping[str, object] | None = None) -> None:
    """Print a finished stage: a line for people, or an object for machines, with what `more` adds to it."""
    if stopped := _plain(done).get("stopped"):
        advice = "the answers so far are kept; raise the limit under generate.teacher and run the same command again"
        click.echo(f"{click.style('stopped:', fg='yellow')} {stopped}; {advice}", err=True)
    if problem := _plain(done).get("mlflow_error"):
        click.echo(f"{click.style('not tracked:', fg='yellow')} {problem}", err=True)
    if problem := _plain(done).get("probes_error"):
        click.echo(f"{click.style('no probes:', fg='yellow')} {problem}; the adapter cannot prove itself", err=True)
    if path := _plain(done).get("path"):
        click.echo(f"{click.style('note:', fg='yellow')} {path}", err=True)
    for warning in _plain(done).get("warnings", []):
        click.echo(f"{click.style('warning:', fg='yellow')} {warning}", err=True)
    if as_json:
        click.echo(
            json.dumps({"stage": done.stage, "ran": done.ran, "seconds": done.seconds, **_plain(done), **(more or {})})
        )
        return
    state = click.style("done", fg="green") if done.ran else click.style("unchanged", fg="cyan")
    spent = f" in {clock(done.seconds)}" if done.ran else ""
    click.echo(f"{done.stage:<9} {state}{spent}: {summary(done)}")


def _plain(done: "Done") -> dict[str, Any]:
    return done.result.model_dump(mode="json")


def clock(seconds: float) -> str:
    """Return a duration in words."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def summary(done: "Done") -> str:
    """Return what came of a stage in a few words."""
    values = _plain(done)
    templates = {
        "convert": "{documents} documents, {pages} pages, {tables} tables, {chunks} chunks{left_out}",
        "generate": "{candidates} candidates, {errors} rows failed{further}",
        "dataset": "{accepted} accepted ({train} train, {valid} valid), {n_rejected} rejected",
        "train": "{rows} rows, {steps} steps, loss {final_loss:.3f}",
        "evaluate": "verdict {verdict}",
        "report": "{page}",
        "deploy": "release {release}, {n_files} files",
    }
    values["further"], values["left_out"] = _further(values), _left_out(values)
    values["n_rejected"] = sum(values.get("rejected", {}).values()) if done.stage == "dataset" else 0
    values["n_files"] = len(values.get("files", []))
    return templates[done.stage].format(**values)


def _left_out(values: Mapping[str, Any]) -> str:
    files = sum(bool(file.get("left_out")) for file in values.get("files", []) if isinstance(file, dict))
    return f"; left out on purpose in {files} of them: --json says what" if files else ""


def _further(values: Mapping[str, Any]) -> str:
    of = ", ".join(f"{count} of {kind}" for kind, count in values.get("cleaned", {}).items())
    tags = ", ".join(f"{count} with <{tag}>" for tag, count in values.get("unknown_tags", {}).items())
    failures = "; ".join(f"{count}: {why}" for why, count in islice(values.get("failures", {}).items(), SHOWN_FAILURES))
    room, cut_off = values.get("reasoning_tokens", 0), values.get("cut_off", 0)
    used, sections = values.get("sections_used", 0), values.get("sections", 0)
    parts = [
        f" ({failures})" if failures else "",
        f", {used} of {sections} sections of the documents gave rows" if sections else "",
        f", replies cleaned: {of}" if of else "",
        f", tags at the start of replies left in: {tags}" if tags else "",
        f", the teacher reasons: up to {room} tokens more a reply" if room else "",
        f", {cut_off} replies cut off: raise generate.teacher.max_tokens" if cut_off else "",
    ]
    return "".join(parts)


def exit_code(verdict: str) -> int:
    """Return the exit code for a verdict."""
    return SHIP if verdict == "ship" else DO_NOT_SHIP


ANSWERS = {"no": ("no", "green"), "yes": ("yes", "red"), "not_shown": ("not shown", "yellow")}
NOT_MET = ("not met", "red")
STATES = {"failed": "red", "not_shown": "yellow", "untested": "yellow"}


def show_verdict(results: "Results") -> None:
    """Print whether all was learnt and whether anything was lost, each gate, and what to do."""
    from tuning_room.gates import value_in_words

    verdict = results.verdict
    _show_learnt(results)
    answer, color = ANSWERS[verdict.lost]
    click.echo(f"Was anything else lost? {click.style(answer, fg=color)}")
    for held in verdict.gates:
        mark, color = ("met", "green") if held.passed else ("not shown", "yellow") if held.lacks_items else NOT_MET
        click.echo(f"  {click.style(mark, fg=color)}  {held.gate.name}: {value_in_words(held.gate.metric, held.value)}")
    for advice in verdict.advice:
        click.echo(f"  - {advice}")


def _show_learnt(results: "Results") -> None:
    """Print how many requirements were learnt, and each that was not."""
    learnt = results.verdict.learnt
    if learnt is None:
        click.echo("Was all of it learnt? unknown: the recipe names no requirements")
        return
    parts = {"failed": learnt.failed, "not shown": learnt.not_shown, "untested": learnt.untested}
    rest = "".join(f", {count} {state}" for state, count in parts.items() if count)
    outside = f" ({learnt.outside} outside the weights)" if learnt.outside else ""
    click.echo(f"Was all of it learnt? {learnt.learnt} of {learnt.of} learnt{rest}{outside}")
    for one in results.requirements or []:
        if one.state not in ("learnt", "outside"):
            click.echo(f"  {click.style(one.state.replace('_', ' '), fg=STATES[one.state])}  {one.id}: {one.reason}")
