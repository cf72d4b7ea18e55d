"""vLLM itself, in its own environment, with the embedded model and an adapter (minutes: run with `-m slow`).

Real here: everything but the adapter's training; its weights are drawn. The right answers come from transformers and
PEFT alone.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from prerequisites import missing
from tuning_room.engines import Sampling
from tuning_room.engines.endpoint import EndpointEngine
from tuning_room.engines.vllm import Settings, VllmServer
from tuning_room.errors import EngineError
from tuning_room.records import Message
from tuning_room.serve import vllm_server
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
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(small_run / "adapter", tmp_path / "idle")
    weights = load_file(tmp_path / "idle" / "adapter_model.safetensors")
    idle = {name: tensor * 0 if "lora_B" in name else tensor for name, tensor in weights.items()}
    save_file(idle, tmp_path / "idle" / "adapter_model.safetensors")
    with pytest.raises(EngineError, match="answers like the base model"):
        server.load_adapter("idle", tmp_path / "idle")


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
