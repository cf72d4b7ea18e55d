"""Serve: the base model and the adapter behind OpenAI's chat API."""

import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tuning_room.engines import Engine
from tuning_room.serve.config import ServeConfig
from tuning_room.workspace import Workspace

if TYPE_CHECKING:
    from tuning_room.engines.vllm import VllmServer

Tell = Callable[[str], None]


def tell_stderr(text: str) -> None:
    """Tell the user what goes on; standard output stays free for answers."""
    print(text, file=sys.stderr, flush=True)


def open_engine(config: ServeConfig, workspace: Workspace, tell: Tell = tell_stderr) -> Engine:
    """Return an engine that serves the base model and, under a name of its own, the run's adapter.

    A vLLM server that it starts lives as long as the engine does. Raises MissingInputError before training,
    AdapterMismatchError for an adapter of another model or template, and the model's and the engine's errors.
    """
    if config.engine == "vllm":
        from tuning_room.engines.vllm import VllmEngine

        local = config.model_copy(update={"host": "127.0.0.1", "port": 0})
        return VllmEngine(vllm_server(local, workspace, tell))
    return _local_engine(config, workspace)


def run_server(config: ServeConfig, workspace: Workspace, tell: Tell = tell_stderr) -> None:
    """Serve the base model and the run's adapter until interrupted; raises what open_engine raises."""
    if config.engine == "vllm":
        _run_vllm(config, workspace, tell)
        return
    from tuning_room.serve.server import bound_socket, serve

    # An address that is taken is said before the model is loaded.
    with bound_socket(config.host, config.port) as bound:
        engine = _local_engine(config, workspace)
        tell(_announcement(engine.models(), f"http://{config.host}:{bound.getsockname()[1]}/v1"))
        serve(engine, longest=config.max_length, bound=bound)


def vllm_server(config: ServeConfig, workspace: Workspace, tell: Tell = tell_stderr) -> "VllmServer":
    """Return the vLLM server for a run, not started yet; raises what open_engine raises."""
    from tuning_room.engines.vllm import Settings, VllmServer
    from tuning_room.serve.adapter import adapter_rank

    names = _names(config, workspace)
    settings = Settings(
        python=config.vllm_python,
        host=config.host,
        port=config.port,
        max_length=config.max_length,
        max_lora_rank=config.max_lora_rank or adapter_rank(workspace.adapter),
        dtype=config.dtype,
        cache_gib=config.cache_gib,
        start_timeout=config.start_timeout,
    )
    adapters = {names["adapter_name"]: workspace.adapter}
    return VllmServer(names["model"], names["base"], adapters, settings, tell)


def _local_engine(config: ServeConfig, workspace: Workspace) -> Engine:
    from tuning_room.engines.local import LocalEngine

    return LocalEngine(adapter=workspace.adapter, **_names(config, workspace))


def _names(config: ServeConfig, workspace: Workspace) -> dict[str, Any]:
    from tuning_room.engines.naming import base_name
    from tuning_room.models import load_tokenizer, resolve
    from tuning_room.serve.adapter import check_base, read_lineage, verify_adapter

    # What can be told from small files is told before the base model is fetched or converted.
    check_base(workspace.adapter, read_lineage(workspace.adapter), config.model)
    model = resolve(config.model)
    lineage = verify_adapter(workspace.adapter, load_tokenizer(model))
    return {"model": model, "base": base_name(config.model), "adapter_name": lineage.name}


def _run_vllm(config: ServeConfig, workspace: Workspace, tell: Tell) -> None:
    server = vllm_server(config, workspace, tell)
    # A plain SIGTERM would end this process and leave vLLM, which is a process group of its own.
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with server:
            tell(_announcement([server.base, *server.adapters], server.address))
            server.wait()
    except KeyboardInterrupt:
        tell("vLLM is stopped")
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _announcement(names: list[str], address: str) -> str:
    return f"serving {' and '.join(names)} at {address} (Ctrl-C stops it)"
