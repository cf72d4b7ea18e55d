"""Starting, watching and stopping a vLLM server.

Real here: the process, its log, its workers, HTTP. Not real: vLLM, whose place a short script takes that is handed the
same command line and answers with the same shapes; tests/functional/test_vllm.py starts vLLM itself.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from drawn_adapters import write_stated_adapter
from impostors import seal
from tuning_room.engines.proving import Forced
from tuning_room.engines.vllm import Settings, VllmEngine, VllmServer, allowed_rank, free_port
from tuning_room.errors import EngineError, MissingPrerequisiteError
from tuning_room.models.lineage import read_lineage
from tuning_room.models.probes import ProbeRecord, RecordedProbe, read_probes
from tuning_room.serve import prove_at
from tuning_room.serve.config import ServeConfig
from tuning_room.serve.preparing import ServedModels
from tuning_room.serve.roster import ServedAdapter

SERVER = """
import json, os, subprocess, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

folder, arguments = Path(sys.argv[1]), sys.argv[2:]
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
names = ("VLLM_CPU_KVCACHE_SPACE", "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "HF_HUB_OFFLINE", "PYTHONPATH", "VLLM_API_KEY")
seen = {"arguments": arguments, "environment": {name: os.environ.get(name) for name in names}}
(folder / "seen.json").write_text(json.dumps({**seen, "processes": [os.getpid(), worker.pid]}))
print("loading weights", flush=True)
if (folder / "broken").exists():
    sys.exit("ValueError: no kernel for this CPU")

class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path == "/v1/models":
            names = {"wrong-1": "tiny", "tiny": None, "tutor-1": "tiny"}
            return self.answer(200, {"data": [{"id": name, "parent": parent} for name, parent in names.items()]})
        self.answer(503 if (folder / "slow").exists() else 200, {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with open(folder / "asked.jsonl", "a") as asked:
            asked.write(json.dumps([self.path, body]) + "\\n")
        if self.path == "/v1/load_lora_adapter":
            known = body["lora_name"] in arguments
            return self.answer(400 if known else 200, "already loaded" if known else "Success")
        if self.path == "/v1/unload_lora_adapter":
            return self.answer(200, "Success")
        if self.path == "/v1/completions":
            if body["model"].startswith("mute"):
                return self.answer(404, {"error": {"message": "no such model"}})
            value = {"tutor": -1.0, "wrong": -1.4}.get(body["model"].partition("-")[0], -2.0)
            scored = [None, *({str(token): {"logprob": value - token / 100}} for token in body["prompt"][1:])]
            return self.answer(200, {"choices": [{"prompt_logprobs": scored}]})
        shift = 0.1 if body["model"].startswith("tutor") else 0.0
        top = [{"token": "What", "logprob": -1.0 - shift}, {"token": "The", "logprob": -2.0}]
        self.answer(200, {"choices": [{"logprobs": {"content": [{"top_logprobs": top}]}}]})

    def answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

ThreadingHTTPServer(("127.0.0.1", int(arguments[arguments.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An executable that takes the place of the python of vLLM's environment."""
    (tmp_path / "server.py").write_text(SERVER)
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/server.py {tmp_path} "$@"\n')
    script.chmod(0o755)
    return script


def server(python: Path, *adapters: str, **settings: Any) -> VllmServer:
    chosen = Settings(python=python, start_timeout=20)._replace(**settings)
    return VllmServer(Path("/model"), "tiny", {name: Path("/adapter") for name in adapters}, chosen, notes.append)


notes: list[str] = []


def seen(python: Path) -> Any:
    return json.loads((python.parent / "seen.json").read_text())


def running(pids: list[int]) -> list[int]:
    deadline = time.monotonic() + 5
    while left := [pid for pid in pids if is_running(pid)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_is_started_with_the_adapter_and_stopped_with_its_workers(
    python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "src")
    monkeypatch.setenv("VLLM_API_KEY", "a-key-of-ours")
    with server(python, "tutor-01234567", max_lora_rank=12) as started:
        line = " ".join(seen(python)["arguments"])
        assert started.address == f"http://127.0.0.1:{started.port}/v1"
    assert line.startswith("-m vllm.entrypoints.openai.api_server --model /model --served-model-name tiny ")
    assert "--dtype float32 --max-model-len 2048 " in line
    assert "--enable-lora --max-lora-rank 16 --max-loras 2" in line
    assert line.endswith("--lora-modules tutor-01234567=/adapter")
    assert seen(python)["environment"] == {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "False",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": None,
        "VLLM_API_KEY": None,
    }
    assert running(seen(python)["processes"]) == []


def test_an_adapter_is_loaded_at_runtime_under_a_new_name_only(python: Path, tmp_path: Path) -> None:
    with server(python, "tutor-1", loadable=3) as started:
        started.load_adapter("tutor-2", tmp_path)
        assert list(started.adapters) == ["tutor-1", "tutor-2"]
        started.adapters["tutor-1=/adapter"] = tmp_path
        with pytest.raises(EngineError, match=r"'tutor-1=/adapter' was not loaded.*already loaded"):
            started.load_adapter("tutor-1=/adapter", tmp_path)


def recorded(folder: Path, content: bytes = b"weights") -> Path:
    """Write an adapter whose probes say what the script says of `tutor`, and of the base model."""
    write_stated_adapter(folder, content)
    probe = RecordedProbe(kind="row", prompt=[7, 8], answer=[2, 3], base=[-2.02, -2.03], adapter=[-1.02, -1.03])
    seal(folder, ProbeRecord(adapter_digest="0" * 64, probes=[probe]))
    return folder


def asked(python: Path, path: str) -> list[Any]:
    lines = (python.parent / "asked.jsonl").read_text().splitlines()
    return [body for where, body in map(json.loads, lines) if where == path]


def test_it_scores_forced_tokens_by_the_prompts_own(python: Path) -> None:
    with server(python, "tutor-1") as started:
        texts = [Forced(model, [7, 8], [2, 3]) for model in ("tutor-1", "tiny")]
        assert started.forced_scores(texts) == [[-1.02, -1.03], [-2.02, -2.03]]
        with pytest.raises(EngineError, match=r"'mute-1' does not score its prompt .*no such model"):
            started.forced_scores([Forced("mute-1", [7], [2])])
    bodies = asked(python, "/v1/completions")
    assert bodies[0] == {"model": bodies[0]["model"], "prompt": [7, 8, 2, 3], "max_tokens": 1, "temperature": 0,
                         "prompt_logprobs": 1}  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "config", "expected"),
    [("float32", {}, "fp32"), ("bfloat16", {}, "bf16"), ("half", {}, "fp16"), ("auto", {"dtype": "float16"}, "fp16"),
     ("auto", {"torch_dtype": "bfloat16"}, "bf16"), ("auto", {"dtype": "float32"}, "bf16")],
)  # fmt: skip
def test_the_number_format_is_known(tmp_path: Path, dtype: str, config: dict[str, str], expected: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    chosen = VllmServer(tmp_path, "tiny", {}, Settings(dtype=dtype), notes.append)
    assert chosen.format == expected


def test_an_adapter_with_probes_is_proven_when_it_is_loaded(python: Path, tmp_path: Path) -> None:
    """Complaint 4 of tests/impostors.py: a load is a success once the adapter has answered."""
    with server(python, loadable=2) as started:
        started.load_adapter("tutor-1", recorded(tmp_path / "one"))
        assert list(started.adapters) == ["tutor-1"]
    assert len(asked(python, "/v1/completions")) == 6  # base and adapter: alone, together, and the other way round


def test_what_the_proof_refuses_is_unloaded_again(python: Path, tmp_path: Path) -> None:
    """Complaint 1: its name does not answer."""
    with server(python, loadable=2) as started:
        with pytest.raises(EngineError, match=r"'wrong-1' is refused: .*does not answer as it did"):
            started.load_adapter("wrong-1", recorded(tmp_path / "one"))
        with pytest.raises(EngineError, match=r"'idle-1' is refused: .*served but not applied"):
            started.load_adapter("idle-1", recorded(tmp_path / "two"))
        assert started.adapters == {}
    assert [body["lora_name"] for body in asked(python, "/v1/unload_lora_adapter")] == ["wrong-1", "idle-1"]


def test_a_name_is_never_used_again_for_other_weights(python: Path, tmp_path: Path) -> None:
    """Complaint 3: not even once the adapter is unloaded, since the cache of prefixes may remember it."""
    with server(python, loadable=2) as started:
        started.load_adapter("tutor-1", recorded(tmp_path / "one"))
        started.unload_adapter("tutor-1")
        with pytest.raises(EngineError, match="the name 'tutor-1' stands for other weights"):
            started.load_adapter("tutor-1", recorded(tmp_path / "two", b"others"))
        started.load_adapter("tutor-1", tmp_path / "one")
    assert len(asked(python, "/v1/load_lora_adapter")) == 2


def test_a_start_with_an_adapter_that_is_refused_is_an_error(python: Path, tmp_path: Path) -> None:
    """Complaint 1."""
    chosen = Settings(python=python, start_timeout=20)
    with pytest.raises(EngineError, match="'wrong-1' is refused"):
        VllmServer(Path("/model"), "tiny", {"wrong-1": recorded(tmp_path / "one")}, chosen, notes.append).start()
    assert running(seen(python)["processes"]) == []


@pytest.mark.parametrize(("adapters", "loadable", "slots"), [(0, 0, 1), (1, 0, 2), (3, 0, 4), (1, 2, 4)])
def test_one_slot_more_than_adapters_is_never_filled(adapters: int, loadable: int, slots: int) -> None:
    line = server(Path("python"), *(f"tutor-{n}" for n in range(adapters)), loadable=loadable).command()
    assert line[line.index("--max-loras") + 1] == str(slots)


def test_no_adapter_is_loaded_into_the_slot_that_stays_empty(python: Path, tmp_path: Path) -> None:
    with server(python, "tutor-1", loadable=1) as started:
        started.load_adapter("tutor-2", tmp_path)
        with pytest.raises(EngineError, match="no slot is free for adapter 'tutor-3'"):
            started.load_adapter("tutor-3", tmp_path)
        assert list(started.adapters) == ["tutor-1", "tutor-2"]


def test_an_adapter_that_changes_nothing_is_an_error(python: Path) -> None:
    with pytest.raises(EngineError, match="'idle-1' is served but answers like the base model"):
        server(python, "idle-1").start()
    assert running(seen(python)["processes"]) == []


def test_a_server_that_dies_shows_its_last_words(python: Path) -> None:
    (python.parent / "broken").touch()
    with pytest.raises(EngineError, match=r"(?s)did not start.*loading weights.*no kernel for this CPU"):
        server(python).start()
    assert running(seen(python)["processes"]) == []


def test_a_server_that_is_not_ready_in_time_is_stopped(python: Path) -> None:
    (python.parent / "slow").touch()
    with pytest.raises(EngineError, match=r"(?s)not ready after 1 s.*loading weights"):
        server(python, start_timeout=1.0).start()
    assert running(seen(python)["processes"]) == []


def test_an_error_in_the_block_stops_the_server(python: Path) -> None:
    with pytest.raises(KeyError), server(python):
        raise KeyError
    assert running(seen(python)["processes"]) == []


def test_the_server_ends_with_its_engine(python: Path) -> None:
    engine = VllmEngine(server(python, "tutor-1"))
    assert engine.models() == ["tiny", "tutor-1"]
    assert is_running(seen(python)["processes"][0])
    del engine
    assert running(seen(python)["processes"]) == []


def test_without_the_environment_the_way_to_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingPrerequisiteError, match="make vllm"):
        server(tmp_path / "bin" / "python").start()


@pytest.mark.parametrize(("rank", "allowed"), [(1, 8), (8, 8), (9, 16), (65, 128), (257, 320), (512, 512)])
def test_ranks_are_rounded_up_to_what_vllm_allows(rank: int, allowed: int) -> None:
    assert allowed_rank(rank) == allowed


def test_a_rank_above_all_is_refused() -> None:
    with pytest.raises(EngineError, match="up to 512"):
        allowed_rank(513)


@pytest.mark.parametrize(
    ("host", "address"),
    [("0.0.0.0", "http://127.0.0.1:81/v1"), ("::", "http://[::1]:81/v1"), ("ada", "http://ada:81/v1")],
)
def test_the_address_is_one_that_can_be_asked(tmp_path: Path, host: str, address: str) -> None:
    assert server(tmp_path, host=host, port=81).address == address


def test_a_free_port_is_one(tmp_path: Path) -> None:
    assert 1024 < free_port("127.0.0.1") < 65536


def test_a_server_that_runs_elsewhere_is_proven_from_outside(
    python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Complaints 1 and 4: each name that it lists is held to its record, and one that it does not list is refused."""
    entries = []
    for number, name in enumerate(("tutor-1", "wrong-1", "absent-1")):
        folder = recorded(tmp_path / name, str(number).encode())
        record = read_probes(folder, read_lineage(folder))
        entries.append(ServedAdapter(name, digest=str(number) * 64, folder=folder, record=record))
    served = ServedModels(tmp_path, "smollm", entries, "", [])
    monkeypatch.setattr("tuning_room.serve.preparing.prepare", lambda *_args, **_more: served)
    config = ServeConfig(model="embedded:tiny", recipe="tutor")
    with server(python) as started:
        roster = prove_at(started.address, config)
    assert roster.base == "tiny"
    assert [(one.name, one.state) for one in roster.adapters()] == [
        ("tutor-1", "proven"), ("wrong-1", "refused"), ("absent-1", "refused"),
    ]  # fmt: skip
    assert roster.adapters()[2].reason.startswith("not served at http://127.0.0.1:")
    with pytest.raises(EngineError, match="lists no models"):
        prove_at("http://127.0.0.1:9/v1", config)
