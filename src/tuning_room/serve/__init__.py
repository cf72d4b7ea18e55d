"""Serve: the base model and adapters of it behind OpenAI's chat API."""

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.engines import Engine
from tuning_room.errors import DataError
from tuning_room.models.lineage import trained_lineage, verify_adapter
from tuning_room.records import SETTINGS, read_json
from tuning_room.serve.config import ServeConfig
from tuning_room.workspace import Workspace

if TYPE_CHECKING:
    from tuning_room.engines.vllm import VllmServer

Tell = Callable[[str], None]


class ServedModels(NamedTuple):
    """The base model's folder and name, and the adapters' folders by the names that they are served under.

    `template` is the chat template for a server that encodes messages by itself.
    """

    model: Path
    base: str
    adapters: dict[str, Path]
    template: str


def tell_stderr(text: str) -> None:
    """Tell the user what is going on; standard output stays free for answers."""
    print(text, file=sys.stderr, flush=True)


def open_engine(config: ServeConfig, *workspaces: Workspace, tell: Tell = tell_stderr) -> Engine:
    """Return an engine that serves the base model and, under names of their own, the adapters of some runs.

    A vLLM server that it starts lives as long as the engine does. Raises MissingInputError before training,
    AdapterMismatchError for an adapter of another model or template, and the model's and the engine's errors.
    """
    if config.engine == "vllm":
        from tuning_room.engines.vllm import VllmEngine

        local = config.model_copy(update={"host": "127.0.0.1", "port": 0})
        return VllmEngine(vllm_server(local, *workspaces, tell=tell))
    return _local_engine(config, workspaces, tell)


def run_server(config: ServeConfig, *workspaces: Workspace, tell: Tell = tell_stderr) -> None:
    """Serve the base model and the adapters of some runs until interrupted; raises what open_engine raises."""
    if config.engine == "vllm":
        _run_vllm(config, workspaces, tell)
        return
    from tuning_room.serve.server import bound_socket, serve

    # An address in use is reported before the model is loaded.
    with bound_socket(config.host, config.port) as bound:
        engine = _local_engine(config, workspaces, tell)
        tell(_announcement(engine.models(), f"http://{config.host}:{bound.getsockname()[1]}/v1"))
        serve(engine, longest=config.max_length, bound=bound)


def vllm_server(config: ServeConfig, *workspaces: Workspace, tell: Tell = tell_stderr) -> "VllmServer":
    """Return the vLLM server for some runs, not started yet; raises what open_engine raises."""
    from tuning_room.engines.vllm import Settings, VllmServer

    served = _served(config, workspaces)
    settings = Settings(
        python=config.vllm_python,
        host=config.host,
        port=config.port,
        max_length=config.max_length,
        max_lora_rank=config.max_lora_rank or max(map(adapter_rank, served.adapters.values())),
        dtype=config.dtype,
        cache_gib=config.cache_gib,
        start_timeout=config.start_timeout,
        template=served.template,
    )
    return VllmServer(served.model, served.base, served.adapters, settings, tell)


def _local_engine(config: ServeConfig, workspaces: Sequence[Workspace], tell: Tell) -> Engine:
    from tuning_room.engines.local import LocalEngine

    served = _served(config, workspaces)
    engine = LocalEngine(served.model, base=served.base, adapters=served.adapters)
    if not engine.is_fast:
        tell(f"{served.base} is {engine.path}")
    return engine


def _served(config: ServeConfig, workspaces: Sequence[Workspace]) -> ServedModels:
    from tuning_room.control_tokens import control_texts
    from tuning_room.models import base_name, check_base, load_tokenizer, resolve
    from tuning_room.models.templates import guarded

    # Small files are checked before the base model is fetched or converted.
    folders = [workspace.adapter for workspace in workspaces]
    for workspace in workspaces:
        workspace.hold(workspace.adapter)
    for folder in folders:
        check_base(folder, trained_lineage(folder).base_model, config.model)
    model = resolve(config.model)
    tokenizer = load_tokenizer(model)
    adapters = {verify_adapter(path, tokenizer).name: path for path in folders}
    template = guarded(str(tokenizer.chat_template), control_texts(tokenizer))
    return ServedModels(model, base_name(config.model), adapters, template)


def _run_vllm(config: ServeConfig, workspaces: Sequence[Workspace], tell: Tell) -> None:
    server = vllm_server(config, *workspaces, tell=tell)
    # A plain SIGTERM would end this process and leave vLLM, which is a process group of its own.
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with server:
            tell(_announcement([server.base, *server.adapters], server.address))
            server.wait()
    except KeyboardInterrupt:
        tell("vLLM has been stopped")
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _announcement(names: list[str], address: str) -> str:
    return f"serving {', '.join(names)} at {address} (Ctrl-C stops it)"


def adapter_rank(folder: Path) -> int:
    """Return the highest rank of an adapter's layers; DataError if its settings name none."""
    settings = read_json(folder / SETTINGS)
    ranks = [settings.get("r"), *(settings.get("rank_pattern") or {}).values()] if isinstance(settings, dict) else []
    if not ranks or not all(isinstance(rank, int) and rank > 0 for rank in ranks):
        raise DataError(f"{folder / SETTINGS}: r: not a rank", hint="train the adapter again")
    return int(max(ranks))
