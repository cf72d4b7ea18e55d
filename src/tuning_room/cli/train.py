"""`train`: the stage, an estimate of what it takes, a sweep, and the same on a cluster."""

import json
from typing import TYPE_CHECKING

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.options import clock, opened, recipe_options, show

if TYPE_CHECKING:
    from tuning_room.recipe import Recipe
    from tuning_room.records import Tried
    from tuning_room.workspace import Workspace


def command(name: str) -> click.Command:
    """Return the command."""

    @click.command(name, help=COMMANDS[name].help)
    @click.option("--force", is_flag=True, help="Run the stage even if nothing has changed.")
    @click.option(
        "--plan", "is_plan", is_flag=True, help="Estimate time and memory from a few trial steps, and train nothing."
    )
    @click.option(
        "--sweep", "is_sweep", is_flag=True, help="Try learning rates, LoRA ranks and epochs, and list the best first."
    )
    @click.option("--on", "place", type=click.Choice(["here", "kubeflow"]), default="here", help="Where to train.")
    @click.option("--submit", is_flag=True, help="With --on kubeflow: also submit the job to the cluster.")
    @recipe_options
    def run(
        recipe: str, runs: str, as_json: bool, force: bool, is_plan: bool, is_sweep: bool, place: str, submit: bool
    ) -> int:
        loaded, workspace = opened(recipe, runs)
        from tuning_room.recipe import check_model

        if submit and place == "here":
            raise click.UsageError("--submit goes with --on kubeflow")
        if is_plan or is_sweep:
            _check_trial(loaded)
            check_model(loaded)
        if is_plan:
            return _plan(loaded, workspace, as_json)
        if is_sweep:
            return _sweep(loaded, workspace, as_json)
        if place == "kubeflow":
            return _job(loaded, workspace, as_json, submit)
        return _train(loaded, workspace, as_json, force)

    return run


def _check_trial(loaded: "Recipe") -> None:
    """Raise a usage error where steps cannot be tried."""
    from tuning_room.train.team import rank_and_size

    if loaded.train.backend != "tuning-room-cpu":
        raise click.UsageError(f"--plan and --sweep need the backend tuning-room-cpu, not {loaded.train.backend}")
    if rank_and_size()[1] > 1:
        raise click.UsageError("--plan and --sweep run in one process, not under torchrun")


def _train(loaded: "Recipe", workspace: "Workspace", as_json: bool, force: bool) -> int:
    from tuning_room import train
    from tuning_room.recipe import run_stage
    from tuning_room.train.team import rank_and_size

    if rank_and_size()[0]:
        # Only the first process of a team writes; the others would find the run folder locked.
        if force or workspace.state(train.STAGE, loaded.train) != "done":
            train.assist(loaded.train, workspace)
        return 0
    show(run_stage(loaded, workspace, "train", force=force), as_json=as_json)
    return 0


def _plan(loaded: "Recipe", workspace: "Workspace", as_json: bool) -> int:
    from tuning_room.train import plan

    found = plan(loaded.train, workspace)
    if as_json:
        click.echo(json.dumps(found._asdict()))
        return 0
    click.echo(f"rows    {found.rows:,}")
    click.echo(f"steps   {found.steps:,}")
    click.echo(f"tokens  {found.tokens:,}, {found.largest_step:,} in the largest step")
    click.echo(f"time    about {clock(found.seconds)}")
    click.echo(f"memory  about {found.peak_bytes / 1e9:.1f} GB at its peak of {found.available_bytes / 1e9:.1f} GB")
    return 0


def _sweep(loaded: "Recipe", workspace: "Workspace", as_json: bool) -> int:
    from tuning_room.records import read_json
    from tuning_room.train import sweep

    for tried in sweep(loaded.train, workspace):
        if not as_json:
            click.echo(_trial_text(tried))
    found = read_json(workspace.sweep)["tried"]
    if as_json:
        click.echo(json.dumps({"best": found[0], "tried": found}))
        return 0
    best = found[0]
    click.echo("best, for the recipe's train section:")
    alpha = max(1, round(loaded.train.alpha * best["rank"] / loaded.train.rank))
    for name, value in {**{name: best[name] for name in ("learning_rate", "rank", "epochs")}, "alpha": alpha}.items():
        click.echo(f"  {name}: {value:g}")
    return 0


def _trial_text(tried: "Tried") -> str:
    named = f"learning rate {tried.learning_rate:g}, rank {tried.rank}, epochs {tried.epochs}"
    if tried.failed:
        return f"{named}: {tried.failed}"
    loss = f"{tried.valid_loss:.3f}" if tried.valid_loss is not None else "not measured"
    accepted = f"{tried.accepted:.0%} of {tried.replies}" if tried.accepted is not None else "no checks"
    return f"{named}: validation loss {loss}, accepted replies {accepted}, {clock(tried.seconds)}"


def _job(loaded: "Recipe", workspace: "Workspace", as_json: bool, is_submitted: bool) -> int:
    from tuning_room.train.kubeflow import submit, write_job

    path, name = write_job(loaded.train, workspace)
    answer = submit(path.read_text(encoding="utf-8")) if is_submitted else ""
    if as_json:
        click.echo(json.dumps({"job": name, "path": str(path), "submitted": is_submitted}))
        return 0
    click.echo(f"{name}: {path}")
    click.echo(answer or f"kubectl apply --server-side -f {path}")
    return 0
