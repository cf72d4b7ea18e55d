"""vLLM itself, in its own environment, with the embedded model and an adapter (minutes: run with `-m slow`).

Real here: everything but the adapter's training; its weights are drawn. The right answers come from transformers and
PEFT alone.
"""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest

from impostors import IMPOSTORS, add_probes, write_impostor
from prerequisites import missing
from tuning_room.engines import Sampling
from tuning_room.engines.endpoint import EndpointEngine
from tuning_room.engines.proving import prove
from tuning_room.engines.vllm import Settings, VllmServer, free_port
from tuning_room.errors import EngineError
from tuning_room.models.lineage import read_lineage
from tuning_room.models.probes import read_probes
from tuning_room.records import Message
from tuning_room.serve import run_server, vllm_server
from tuning_room.serve.config import ServeConfig
from tuning_room.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    """Ask for vLLM's environment."""
    if not PYTHON.is_file():
        missing(f"{PYTHON.relative_to(ROOT)} is missing: run make vllm")


@pytest.fixture(scope="module")
def server(small_run: Path) -> Iterator[VllmServer]:
    """Serve the small run by vLLM, once for all tests."""
    config = ServeConfig(model="embedded:smollm2-135m", recipe="small", port=0, vllm_python=PYTHON)
    prepared = vllm_server(config, Workspace(small_run), tell=print)
    settings = prepared.settings._replace(loadable=3)
    with VllmServer(prepared.model, prepared.base, prepared.adapters, settings, print) as started:
        yield started


@pytest.fixture(scope="module")
def engine(server: VllmServer) -> EndpointEngine:
    """Ask the server as any endpoint is asked."""
    return EndpointEngine(server.address, timeout=300)


def greedy(engine: EndpointEngine, model: str, right: Any) -> str:
    dialogue = [Message.model_validate(turn) for turn in right.question]
    return engine.complete(model, [dialogue], Sampling(max_tokens=right.tokens))[0].text


def test_a_model_that_cannot_be_served_is_an_error_with_the_log(tmp_path: Path) -> None:
    started = time.monotonic()
    settings = Settings(python=PYTHON)
    with pytest.raises(EngineError, match=r"(?s)did not start.*nowhere"):
        VllmServer(tmp_path / "nowhere", "nothing", {}, settings, print).start()
    assert time.monotonic() - started < 300


def test_the_two_models_give_the_answers_that_peft_gives(
    server: VllmServer, engine: EndpointEngine, peft_answers: Any
) -> None:
    adapter = next(iter(server.adapters))
    assert engine.models()[:2] == ["smollm2-135m", adapter]
    assert greedy(engine, server.base, peft_answers) == peft_answers.base
    assert greedy(engine, adapter, peft_answers) == peft_answers.adapter
    assert peft_answers.base != peft_answers.adapter


def test_a_streamed_answer_is_the_whole_one_in_pieces(
    server: VllmServer, engine: EndpointEngine, peft_answers: Any
) -> None:
    dialogue = [Message.model_validate(turn) for turn in peft_answers.question]
    pieces = list(engine.stream(next(iter(server.adapters)), dialogue, Sampling(max_tokens=peft_answers.tokens)))
    assert "".join(pieces).strip() == peft_answers.adapter
    assert len(pieces) > 2


def test_an_adapter_is_loaded_into_the_running_server(
    server: VllmServer, engine: EndpointEngine, small_run: Path, peft_answers: Any
) -> None:
    server.load_adapter("small-again", small_run / "adapter")
    assert greedy(engine, "small-again", peft_answers) == peft_answers.adapter
    with pytest.raises(EngineError, match="was not loaded"):
        server.load_adapter("small-again", small_run / "adapter")


def test_an_adapter_without_effect_is_noticed(server: VllmServer, small_run: Path, tmp_path: Path) -> None:
    """Set every B to zero: the adapter loads, and nothing changes."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(small_run / "adapter", tmp_path / "idle")
    weights = load_file(tmp_path / "idle" / "adapter_model.safetensors")
    idle = {name: tensor * 0 if "lora_B" in name else tensor for name, tensor in weights.items()}
    save_file(idle, tmp_path / "idle" / "adapter_model.safetensors")
    with pytest.raises(EngineError, match="answers like the base model"):
        server.load_adapter("idle", tmp_path / "idle")


@pytest.fixture(scope="module")
def proven(small_run: Path, embedded_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run's adapter with probes."""
    folder = tmp_path_factory.mktemp("proven") / "adapter"
    shutil.copytree(small_run / "adapter", folder)
    add_probes(embedded_model, folder)
    return folder


def test_an_adapter_with_probes_is_proven(server: VllmServer, proven: Path) -> None:
    """Complaint 4 of tests/impostors.py; the distances are printed for the decision's table."""
    server.load_adapter("proven-1", proven)
    record = read_probes(proven, read_lineage(proven))
    assert record is not None
    found = prove(server, server.base, {"proven-1": record})["proven-1"]
    print(found)
    assert found.state == "proven"
    server.unload_adapter("proven-1")


@pytest.mark.parametrize("kind", IMPOSTORS)
def test_an_impostor_is_refused(
    kind: str, server: VllmServer, proven: Path, embedded_model: Path, tmp_path: Path
) -> None:
    """Complaint 1: whatever vLLM itself says of it, its name is not served."""
    impostor = write_impostor(kind, proven, embedded_model, tmp_path / "adapter")
    name = f"impostor-{list(IMPOSTORS).index(kind)}"
    with pytest.raises(EngineError, match=r"is refused|was not loaded"):
        server.load_adapter(name, impostor)
    answer = httpx.post(f"{server.address}/completions", json={"model": name, "prompt": "Hi", "max_tokens": 1})
    assert answer.status_code == 404


def test_the_proof_holds_while_clients_ask(server: VllmServer, engine: EndpointEngine, proven: Path) -> None:
    """Complaint 2: asked while others ask, a good adapter is proven."""
    done = Event()

    def busy() -> None:
        while not done.is_set():
            engine.complete(server.base, [[Message(role="user", content="Count to 9.")]] * 4, Sampling(max_tokens=16))

    with ThreadPoolExecutor(1) as pool:
        pool.submit(busy)
        try:
            server.load_adapter("proven-2", proven)
        finally:
            done.set()
    server.unload_adapter("proven-2")


def test_without_an_empty_slot_the_proof_notices_that_the_base_answers_as_the_adapter(
    proven: Path, embedded_model: Path
) -> None:
    """Complaint 2: on a CPU, rows without an adapter are computed with the last slot's weights."""
    started = VllmServer(embedded_model, "smollm2-135m", {"proven-1": proven}, Settings(python=PYTHON), print)
    started._slots = 1
    with pytest.raises(EngineError, match="while others were asked, the base model answers otherwise"):
        started.start()


def test_served_by_the_command_line_it_answers_once_it_is_proven(proven: Path, tmp_path: Path) -> None:
    """Complaints 3 and 4: early clients wait, and nobody loads adapters through the server's address."""
    config = ServeConfig(model="embedded:smollm2-135m", recipe="small", port=0, vllm_python=PYTHON, engine="vllm")
    workspace = Workspace(tmp_path / "run")
    shutil.copytree(proven, workspace.adapter)
    port, seen = free_port("127.0.0.1"), list[int]()

    def ask() -> None:
        body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
            while 200 not in seen and len(seen) < 600:
                time.sleep(1)
                with suppress(httpx.TransportError):
                    seen.append(client.post("/v1/chat/completions", json=body).status_code)
            seen.append(client.post("/v1/load_lora_adapter", json={"lora_name": "x"}).status_code)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = Thread(target=ask)
    thread.start()
    run_server(config.model_copy(update={"port": port}), workspace, tell=print)
    thread.join()
    assert seen[-2:] == [200, 404] and set(seen[:-2]) == {503}


def test_base_and_adapter_asked_at_once_answer_as_each_does_alone(
    server: VllmServer, engine: EndpointEngine, small_run: Path
) -> None:
    """With no slot left empty, rows of the base are computed with the last slot's adapter on a CPU.

    So every slot that may be filled is. The mixed requests come first: what the cache of prefixes holds of a request
    alone would hide part of it.
    """
    adapter = next(iter(server.adapters))
    with pytest.raises(EngineError, match="no slot is free"):
        for n in range(9):
            server.load_adapter(f"small-{n}", small_run / "adapter")
    asked = [(model, f"What is {n} plus {n + 3}?") for n in range(12) for model in (server.base, adapter)]

    def reply(request: tuple[str, str]) -> str:
        model, question = request
        return engine.complete(model, [[Message(role="user", content=question)]], Sampling(max_tokens=16))[0].text

    with ThreadPoolExecutor(len(asked)) as pool:
        at_once = list(pool.map(reply, asked))
    assert at_once == [reply(request) for request in asked]
    assert not set(at_once[::2]) & set(at_once[1::2])
