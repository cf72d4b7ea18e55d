"""`serve`: an OpenAI-compatible server with a base model and adapters of it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuning_room.cli import COMMANDS
from tuning_room.cli.options import opened, permission_options

if TYPE_CHECKING:
    from tuning_room.engines.proving import Proof
    from tuning_room.serve.roster import Roster

HELP = f"""{COMMANDS["serve"].help}

Further recipes add their adapters of the same base model; the settings of the first apply.

No adapter answers before it is proven: the server has to say to its probes what training recorded. --prove ends with
0 if all adapters are proven, 3 if one is refused, 4 if one has no probes, 2 after an error.
"""
REFUSED, UNPROVEN = 3, 4
# Distances in nats: of the adapter from its record, the most that is allowed, of the base from its record, and between
# the two.
COLUMNS = ["adapter", "state", "from record", "at most", "base from record", "apart"]


def command(name: str) -> click.Command:
    """Return the command."""

    @click.command(name, help=HELP)
    @click.argument("recipes", nargs=-1, required=True, metavar="RECIPE...")
    @click.option(
        "--engine", type=click.Choice(["local", "vllm"]), help="local: in this process; vllm: for many users."
    )
    @click.option("--host", help="Address to listen on.")
    @click.option("--port", type=int, help="Port to listen on; 0 picks a free one.")
    @click.option("--key-variable", help="Environment variable with the keys of which clients have to send one.")
    @click.option(
        "--cors-origin",
        "cors_origins",
        multiple=True,
        help="Origin whose pages may ask from a browser; may be given several times, * is any.",
    )
    @click.option(
        "--adapter",
        "more",
        multiple=True,
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Folder of another adapter of the same base model; may be given several times.",
    )
    @click.option("--prove", is_flag=True, help="Prove the adapters and serve nothing.")
    @click.option("--address", help="With --prove: a vLLM that serves them already, as http://host:8000/v1.")
    @click.option("--json", "as_json", is_flag=True, help="With --prove: print JSON.")
    @permission_options
    @click.option("--runs", default="runs", show_default=True, help="Folder that holds the run folders.")
    def run(
        recipes: tuple[str, ...],
        runs: str,
        more: tuple[Path, ...],
        prove: bool,
        address: str | None,
        as_json: bool,
        **chosen: object,
    ) -> int:
        if (address or as_json) and not prove:
            raise click.UsageError("--address and --json need --prove")
        (loaded, workspace), *others = [opened(folder, runs) for folder in recipes]
        from tuning_room.serve import prove_at, prove_served, run_server

        given = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in chosen.items()
            if value not in (None, ())
        }
        config, workspaces = loaded.serve.model_copy(update=given), [workspace, *(other for _, other in others)]
        if not prove:
            run_server(config, *workspaces, more=more)
            return 0
        if address:
            roster = prove_at(address, config, *workspaces, more=more)
        else:
            roster = prove_served(config, *workspaces, more=more)
        _show(roster, "vllm" if address else config.engine, as_json=as_json)
        return _outcome(roster)

    return run


def _outcome(roster: "Roster") -> int:
    states = {adapter.state for adapter in roster.adapters()}
    return REFUSED if "refused" in states else UNPROVEN if "unproven" in states else 0


def _show(roster: "Roster", engine: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"engine": engine, "base": roster.base, "adapters": roster.status()}))
        return
    rows = [COLUMNS, *([adapter.name, adapter.state, *_figures(adapter.proof)] for adapter in roster.adapters())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    for adapter in roster.adapters():
        if adapter.reason:
            click.echo(f"{adapter.name}: {adapter.reason}")


def _figures(proof: "Proof | None") -> list[str]:
    values = (proof.from_record, proof.bound, proof.base_from_record, proof.apart) if proof else (None,) * 4
    return ["-" if value is None else f"{value:.5f}" for value in values]
