"""Serve: the base model and adapters of it, each once it is proven, behind OpenAI's chat API."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.engines import Engine
from tuning_room.engines.addresses import public
from tuning_room.errors import DataError, EngineError
from tuning_room.records import SETTINGS, read_json
from tuning_room.serve.config import ServeConfig
from tuning_room.workspace import Workspace

if TYPE_CHECKING:
    from socket import socket

    from tuning_room.engines.local import LocalEngine
    from tuning_room.engines.vllm import VllmServer
    from tuning_room.serve.preparing import ServedModels
    from tuning_room.serve.roster import Roster
    from tuning_room.serve.server import ServerSettings

Tell = Callable[[str], None]


class _Serving(NamedTuple):
    """What is served, where, and who hears of it."""

    config: ServeConfig
    settings: "ServerSettings"
    served: "ServedModels"
    bound: "socket"
    address: str
    tell: Tell


def tell_stderr(text: str) -> None:
    """Tell the user what is going on; standard output stays free for answers."""
    print(text, file=sys.stderr, flush=True)


def open_engine(config: ServeConfig, *workspaces: Workspace, tell: Tell = tell_stderr) -> Engine:
    """Return an engine that serves the base model and, under names of their own, the adapters of some runs.

    A vLLM server that it starts lives as long as the engine does. Raises MissingInputError before training,
    AdapterMismatchError for an adapter of another model or template, EngineError for one that its proof refuses, and
    the model's and the engine's errors.
    """
    if config.engine == "vllm":
        from tuning_room.engines.vllm import VllmEngine

        return VllmEngine(vllm_server(config, *workspaces, tell=tell))
    from tuning_room.serve.preparing import prepare

    served = prepare(config, workspaces)
    engine = _local_engine(served, tell)
    roster = _roster(config, served, engine)
    roster.prove_all()
    for adapter in roster.adapters():
        if adapter.state == "refused" or (adapter.state == "unproven" and config.require_proof):
            raise EngineError(f"adapter '{adapter.name}' is {adapter.state}: {adapter.reason}")
        if adapter.state == "unproven":
            tell(f"adapter '{adapter.name}' is unproven: {adapter.reason}")
    return engine


def run_server(
    config: ServeConfig, *workspaces: Workspace, more: Sequence[Path] = (), tell: Tell = tell_stderr
) -> None:
    """Serve the base model and the adapters of some runs and of more folders until interrupted.

    No name answers before its adapter is proven; one that is refused does not keep the others out. Raises what
    open_engine raises where no adapter is left.
    """
    from tuning_room.serve.preparing import prepare
    from tuning_room.serve.server import bound_socket

    # A key that is missing and an address in use are reported before the model is loaded.
    settings = _settings(config)
    with bound_socket(config.host, config.port) as bound:
        host = f"[{config.host}]" if ":" in config.host else config.host
        address = f"http://{host}:{bound.getsockname()[1]}/v1"
        served = prepare(config, workspaces, more, at_least=1)
        run = _Serving(config, settings, served, bound, address, tell)
        (_run_vllm if config.engine == "vllm" else _run_local)(run)


def prove_served(
    config: ServeConfig, *workspaces: Workspace, more: Sequence[Path] = (), tell: Tell = tell_stderr
) -> "Roster":
    """Prove the adapters of some runs and of more folders, and return who may answer; nothing is served.

    Raises the base model's and the engine's errors.
    """
    from tuning_room.serve.preparing import prepare
    from tuning_room.serve.roster import Roster

    served = prepare(config, workspaces, more, at_least=0)
    if not served.adapters:
        return Roster(served.base, served.entries)
    if config.engine == "vllm":
        server = _vllm_server(config, served, tell)
        try:
            server.launch()
            roster = _roster(config, served, server)
            roster.prove_all()
        finally:
            server.stop()
        return roster
    roster = _roster(config, served, _local_engine(served, tell))
    roster.prove_all()
    return roster


def prove_at(address: str, config: ServeConfig, *workspaces: Workspace, more: Sequence[Path] = ()) -> "Roster":
    """Prove the adapters of some runs and of more folders by a vLLM that serves them somewhere under their names.

    `serve.dtype` has to be the number format that it was started with. Raises the base model's errors, and EngineError
    for a server that does not answer; an adapter that it does not list is refused.
    """
    from tuning_room.engines.vllm import VllmScorer, number_format
    from tuning_room.serve.preparing import prepare
    from tuning_room.serve.roster import Roster

    served = prepare(config, workspaces, more, at_least=0)
    scorer = VllmScorer(address, number_format(config.dtype, served.model))
    base, *names = scorer.models() or [served.base]
    entries = [
        entry if entry.state == "refused" or entry.name in names else entry.refused(f"not served at {public(address)}")
        for entry in served.entries
    ]
    roster = Roster(base, entries, scorer, plain=served.plain, require_proof=config.require_proof)
    roster.prove_all()
    return roster


def vllm_server(config: ServeConfig, *workspaces: Workspace, tell: Tell = tell_stderr) -> "VllmServer":
    """Return the vLLM server for some runs, on a port that only this machine reaches, not started yet.

    Raises what open_engine raises.
    """
    from tuning_room.serve.preparing import prepare

    return _vllm_server(config, prepare(config, workspaces), tell)


def _vllm_server(config: ServeConfig, served: "ServedModels", tell: Tell) -> "VllmServer":
    from tuning_room.engines.vllm import Settings, VllmServer

    settings = Settings(
        python=config.vllm_python,
        max_length=config.max_length,
        max_lora_rank=config.max_lora_rank or max(map(adapter_rank, served.adapters.values())),
        dtype=config.dtype,
        cache_gib=config.cache_gib,
        start_timeout=config.start_timeout,
        template=served.template,
    )
    return VllmServer(served.model, served.base, served.adapters, settings, tell)


def _local_engine(served: "ServedModels", tell: Tell, batch_size: int = 64) -> "LocalEngine":
    from tuning_room.engines.local import LocalEngine

    engine = LocalEngine(served.model, base=served.base, adapters=served.adapters, batch_size=batch_size)
    if not engine.is_fast:
        tell(f"{served.base} is {engine.path}")
    return engine


def _roster(config: ServeConfig, served: "ServedModels", scorer: "LocalEngine | VllmServer") -> "Roster":
    from tuning_room.serve.roster import Roster

    return Roster(served.base, served.entries, scorer, plain=served.plain, require_proof=config.require_proof)


def _run_local(run: "_Serving") -> None:
    from tuning_room.serve.server import create_app, run_app

    engine = _local_engine(run.served, run.tell, run.config.concurrency)
    roster, admission = _roster(run.config, run.served, engine), run.settings.admission()
    app = create_app(engine, run.settings, roster=roster, admission=admission)
    # The server listens meanwhile, and says that it is not ready.
    run_app(app, run.bound, admission, lambda: _prove(roster, run), grace=run.settings.grace)


def _run_vllm(run: "_Serving") -> None:
    from tuning_room.serve.front import create_front
    from tuning_room.serve.server import guard, run_app

    server = _vllm_server(run.config, run.served, run.tell)
    roster = _roster(run.config, run.served, server)

    def start() -> None:
        server.launch()
        _prove(roster, run)
        server.wait()

    # A plain SIGTERM would end this process and leave vLLM, which is a process group of its own.
    previous = signal.signal(signal.SIGTERM, _interrupt)
    app = create_front(roster, server.address.removesuffix("/v1"))
    guard(app, run.settings)
    try:
        run_app(app, run.bound, run.settings.admission(), start, grace=run.settings.grace)
        run.tell("vLLM has been stopped")
    finally:
        server.stop()
        signal.signal(signal.SIGTERM, previous)


def _settings(config: ServeConfig) -> "ServerSettings":
    """Return how a server answers; EngineError if it is to ask for keys and has none."""
    from tuning_room.serve.server import ServerSettings

    keys = os.environ.get(config.key_variable, "").split() if config.key_variable else []
    if config.key_variable and not keys:
        raise EngineError(
            f"the environment variable {config.key_variable} holds no key",
            hint="set it to one or several keys with spaces between them",
        )
    return ServerSettings(
        longest=config.max_length,
        places=config.concurrency,
        waiting=config.queue,
        grace=config.grace,
        keys=keys,
        origins=config.cors_origins,
    )


def _prove(roster: "Roster", run: "_Serving") -> None:
    """Prove the adapters, and say who is served now and who is not."""
    run.tell(f"proving {', '.join(adapter.name for adapter in roster.adapters())}")
    roster.prove_all()
    for adapter in roster.adapters():
        if adapter.state != "proven":
            run.tell(f"adapter '{adapter.name}' is {adapter.state}: {adapter.reason}")
    run.tell(f"serving {', '.join(roster.names())} at {run.address} (Ctrl-C stops it)")


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def adapter_rank(folder: Path) -> int:
    """Return the highest rank of an adapter's layers; DataError if its settings name none."""
    settings = read_json(folder / SETTINGS)
    ranks = [settings.get("r"), *(settings.get("rank_pattern") or {}).values()] if isinstance(settings, dict) else []
    if not ranks or not all(isinstance(rank, int) and rank > 0 for rank in ranks):
        raise DataError(f"{folder / SETTINGS}: r: not a rank", hint="train the adapter again")
    return int(max(ranks))
