"""The cases of teachers and endpoints, each with its right outcome, on the real command line.

Real: the command line, SDG Hub's flow, HTTP, the checks. Not real: the teachers, which are scripts of the cases.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from bakery import run
from cases import case

WRITTEN_BY_US = {
    "prompt.md": "Ask one question.\n",
    "evaluation/behaviour.jsonl": '{"id": "a", "prompt": "How many?"}\n',
}


@contextmanager
def scripted(script: Path, *arguments: str, port: int) -> Iterator[None]:
    """Run a case's server until the block ends."""
    server = subprocess.Popen([sys.executable, script, *arguments], cwd=script.parent)
    try:
        for _ in range(600):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield
    finally:
        server.kill()
        server.wait()


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def with_teacher(recipe: Path, **knobs: Any) -> None:
    """Change a recipe's teacher."""
    values = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    values["generate"]["teacher"] |= knobs
    recipe.write_text(yaml.safe_dump(values), encoding="utf-8")


MODES = {
    "think": {"reasoning": 8},
    "think-open": {"reasoning": 8},
    "quotes": {"role labels": 4, "quotes": 8},
    "template": {"template tokens": 8},
    "length": {},
    "think-cut": {},
}


@pytest.mark.case("teacher-replies")
@pytest.mark.parametrize(("mode", "cleaned"), MODES.items())
def test_no_unusable_reply_of_a_teacher_becomes_a_row(mode: str, cleaned: dict[str, int], tmp_path: Path) -> None:
    folder, port = case("teacher-replies", tmp_path), free_port()
    with_teacher(folder / mode / "recipe.yaml", address=f"http://127.0.0.1:{port}/v1")
    with scripted(folder / "scripted.py", str(port), mode, port=port):
        assert run("convert", mode, cwd=folder).returncode == 0
        made = run("generate", mode, "--json", cwd=folder)
    if not cleaned:
        assert made.returncode == 2
        assert "the teacher answered none of 4 rows" in made.stderr and "was cut off at" in made.stderr
        assert not list(folder.glob("runs/*/candidates.jsonl"))
        return
    result = json.loads(made.stdout)
    assert (result["errors"], result["cleaned"]) == (0, cleaned)
    assert run("dataset", mode, cwd=folder).returncode == 0
    [rows] = folder.glob("runs/*/dataset/train.jsonl")
    turns = [turn["content"] for line in rows.read_text().splitlines() for turn in json.loads(line)["messages"]]
    assert len(turns) == 4 * 3
    assert not [turn for turn in turns if any(sign in turn for sign in ("think>", "<|", '"', "User:", "result is"))]


@pytest.mark.case("fault-retry-after-0")
@pytest.mark.parametrize("mode", ["retry0", "retrydate", "retrynan", "retrynan429", "retryinf", "trickle"])
def test_a_teacher_that_never_answers_is_an_error_after_its_retries(mode: str, tmp_path: Path) -> None:
    folder, port = case("fault-retry-after-0", tmp_path), free_port()
    for name, text in WRITTEN_BY_US.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "documents").mkdir()
    script = folder / "teacher.py"
    script.write_text(script.read_text(encoding="utf-8").replace("9978", str(port)), encoding="utf-8")
    with_teacher(folder / "recipe.yaml", address=f"http://127.0.0.1:{port}/{mode}/v1", timeout=2)
    with scripted(script, port=port):
        assert run("convert", ".", cwd=folder).returncode == 0
        failed = run("generate", ".", cwd=folder, timeout=240)
    assert failed.returncode == 2
    assert failed.stderr.count("error:") == 1 and "Traceback" not in failed.stderr
    assert ("no whole answer within 2 s" if mode == "trickle" else "answered") in failed.stderr
    asked = [line for line in (folder / "teacher.log").read_text().splitlines() if " POST " in line]
    # Two rows, each asked once and once more
    assert 1 <= len(asked) <= 4
