"""The proof of application by the real command line, from training to a refusal.

Real here: the command line, training, the in-process engine, HTTP. Not real: the model, which is tiny and random. The
complaints by number stand in tests/impostors.py.
"""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from bakery import COMMAND, run

from impostors import write_impostor
from tuning_room.engines.vllm import free_port
from tuning_room.records import Dialogue, Message, write_jsonl
from tuning_room.workspace import Workspace

SHORT = "You are a cook."


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe for the tiny model and a run whose adapter was trained for some steps."""
    root = tmp_path_factory.mktemp("proof")
    (root / "cook" / "documents").mkdir(parents=True)
    (root / "cook" / "prompt.md").write_text("You are a cook. Never name a price.\n")
    (root / "cook" / "items.jsonl").write_text(json.dumps({"id": "i", "prompt": "How long?", "gold": "7"}) + "\n")
    recipe = {
        "name": "cook",
        "model": str(tiny_model),
        "full_prompt": "prompt.md",
        "short_prompt": SHORT,
        "documents": "documents",
        "suites": {"kitchen": "items.jsonl"},
        "train": {"max_steps": 6, "rank": 4, "batch_size": 4, "epochs": 3},
    }
    (root / "cook" / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    workspace = Workspace(root / "runs" / "cook")
    with workspace.locked():
        workspace.train_rows.parent.mkdir()
        write_jsonl(workspace.train_rows, [row(n) for n in range(14)])
        write_jsonl(workspace.valid_rows, [row(n) for n in range(20, 24)])
    done = run("train", "cook", "--json", "--allow-files", str(tiny_model), cwd=root)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["probes"] == 12
    return root


def row(number: int) -> Dialogue:
    said = [("system", SHORT), ("user", f"How long do {number} eggs boil?"), ("assistant", f"Do {number} eggs float?")]
    messages = [Message.model_validate({"role": role, "content": text}) for role, text in said]
    return Dialogue(id=f"row-{number}", source="test", group=f"g{number}", messages=messages)


def prove(root: Path, tiny_model: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return run("serve", "cook", "--prove", "--allow-files", str(tiny_model), *more, cwd=root)


def test_what_was_trained_is_proven(trained: Path, tiny_model: Path) -> None:
    done = prove(trained, tiny_model, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (adapter,) = found["adapters"]
    assert (found["engine"], adapter["state"], adapter["short_prompt"]) == ("local", "proven", SHORT)
    assert adapter["proof"]["from_record"] < adapter["proof"]["bound"] / 10


def test_an_impostor_beside_it_is_refused_and_the_table_says_why(
    trained: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """Complaints 1 and 5."""
    bad = write_impostor("lora_alpha of 1", trained / "runs" / "cook" / "adapter", tiny_model, tmp_path / "adapter")
    done = prove(trained, tiny_model, "--adapter", str(bad))
    assert done.returncode == 3, done.stderr
    head, good, refused, reason = done.stdout.splitlines()
    assert head.split()[:2] == ["adapter", "state"]
    assert (good.split()[1], refused.split()[1]) == ("proven", "refused")
    assert reason.startswith(refused.split()[0]) and "does not answer as it did when it was trained" in reason


def test_a_file_that_is_cut_is_one_line(trained: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Complaint 1: no traceback."""
    bad = write_impostor("a file that is cut", trained / "runs" / "cook" / "adapter", tiny_model, tmp_path / "adapter")
    done = prove(trained, tiny_model, "--adapter", str(bad), "--json")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "cannot be read" in json.loads(done.stdout)["adapters"][1]["reason"]


@pytest.mark.parametrize("option", [["--json"], ["--address", "http://127.0.0.1:9/v1"]])
def test_what_belongs_to_a_proof_needs_one(trained: Path, option: list[str]) -> None:
    done = run("serve", "cook", *option, cwd=trained)
    assert (done.returncode, "need --prove" in done.stderr) == (2, True)


def test_a_server_that_is_not_there_is_one_line(trained: Path, tiny_model: Path) -> None:
    done = prove(trained, tiny_model, "--address", "http://127.0.0.1:9/v1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "lists no models" in done.stderr


def test_the_server_answers_once_it_has_proven_itself(trained: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Complaints 4 and 5: early clients wait, the refused name gives its reason, the good one answers."""
    bad = write_impostor("use_rslora", trained / "runs" / "cook" / "adapter", tiny_model, tmp_path / "adapter")
    port = free_port("127.0.0.1")
    line = ["serve", "cook", "--port", str(port), "--allow-files", str(tiny_model), "--adapter", str(bad)]
    with (
        subprocess.Popen([*COMMAND, *line], cwd=trained, stderr=subprocess.PIPE, text=True) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        seen = until_healthy(client)
        states = {one["state"]: one["name"] for one in client.get("/v1/adapters").json()["data"]}
        answers = {state: ask(client, name) for state, name in states.items()}
        by_alias = ask(client, "cook")
        server.send_signal(signal.SIGINT)
        said = server.communicate(timeout=30)[1]
    assert set(seen) <= {0, 503}  # not listening yet, or proving
    assert (answers["proven"].status_code, answers["refused"].status_code) == (200, 409)
    assert by_alias.json()["model"] == states["proven"]
    assert f"adapter '{states['refused']}' is refused" in said and "Traceback" not in said


def until_healthy(client: httpx.Client) -> list[int]:
    """Ask for a reply until the server is healthy, and return what came before that."""
    seen, end = [], time.monotonic() + 120
    while time.monotonic() < end:
        try:
            if client.get("/health").is_success:
                return seen
            seen.append(ask(client, "cook").status_code)
        except httpx.TransportError:
            seen.append(0)
        time.sleep(0.1)
    raise AssertionError(f"not healthy in time: {seen[-5:]}")


def ask(client: httpx.Client, model: str) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    return client.post("/v1/chat/completions", json=body)
