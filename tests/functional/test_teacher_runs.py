"""A teacher at an endpoint on the real command line: killed, over budget, refused, and only estimated.

Real: the command line, documents by Docling, SDG Hub's flow, HTTP, SIGKILL. Not real: the teacher, a server on a
socket of this machine that counts what it is asked and answers by a script.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from bakery import COMMAND, run, small_recipe, terse_model

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "generate"))
from scripted_teacher import ScriptedTeacher, completion, refusal

SECTIONS = 12


@pytest.fixture
def server() -> Iterator[ScriptedTeacher]:
    with ScriptedTeacher() as server:
        # Two steps of a flow never ask alike: what is asked twice was asked for again.
        server.script = lambda words, attempt: completion(f"What about {abs(hash(words)) % 10**9}?", (100, 10))
        yield server


@pytest.fixture
def folder(server: ScriptedTeacher, tmp_path: Path) -> Path:
    made = small_recipe(tmp_path)
    sections = "".join(f"<h1>Tide {n}</h1><p>On day {n} the sea rises by {n + 2} feet.</p>" for n in range(SECTIONS))
    (made / "documents" / "faq.html").write_text(sections)
    change(made, kind="endpoint", model="m", address=server.address, concurrency=4, max_tokens=20, retries=0)
    assert run("convert", ".", cwd=made).returncode == 0
    return made


def change(folder: Path, **teacher: Any) -> None:
    path = folder / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text())
    known = recipe["generate"].get("teacher", {})
    recipe["generate"] = {"teacher": {**known, **teacher}, "rows_per_chunk": 1}
    path.write_text(yaml.safe_dump(recipe))


def answers(folder: Path) -> list[dict[str, Any]]:
    path = folder / "runs" / "small" / "generation" / "answers.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else [""]
    return [json.loads(line) for line in lines[:-1]]


def wanted(body: dict[str, Any]) -> str:
    return json.dumps([body["messages"], body["seed"]])


def test_killed_again_and_again_no_finished_call_is_sent_twice(server: ScriptedTeacher, folder: Path) -> None:
    server.delay = 0.3
    for kept in (3, 9, 15):
        process = subprocess.Popen([*COMMAND, "generate", "."], cwd=folder, start_new_session=True)
        while len(answers(folder)) < kept:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    finished = run("generate", ".", "--json", cwd=folder)
    assert finished.returncode == 0, finished.stderr
    result = json.loads(finished.stdout)
    assert result["errors"] == 0
    calls = Counter(wanted(body) for body in server.bodies)
    # A kill loses at most what was under way; every call that was written down was sent once.
    assert sum(calls.values()) - len(calls) <= 3 * 4
    assert result["requests"] == len(calls) == len(answers(folder))
    assert len({entry["key"] for entry in answers(folder)}) == len(calls)


def test_a_dry_run_asks_nothing(server: ScriptedTeacher, folder: Path) -> None:
    change(folder, prompt_price=1, reply_price=2, max_requests=5)
    told = run("generate", ".", "--dry-run", cwd=folder)
    assert told.returncode == 0, told.stderr
    assert "estimated from the length" in told.stdout
    assert "cost      at most 0.0" in told.stdout
    assert "budget    may run out" in told.stdout
    found = json.loads(run("generate", ".", "--dry-run", "--json", cwd=folder).stdout)
    assert server.asked == []
    assert not (folder / "runs" / "small" / "candidates.jsonl").exists()
    change(folder, max_requests=None)
    assert run("generate", ".", cwd=folder).returncode == 0
    assert found["requests"] == len(server.asked)
    assert found["reply_tokens"] == 20 * len(server.asked)
    after = json.loads(run("generate", ".", "--dry-run", "--json", cwd=folder).stdout)
    assert (after["requests"], after["answered"]) == (0, found["requests"])


def test_a_budget_keeps_what_is_there_and_says_how_to_go_on(server: ScriptedTeacher, folder: Path) -> None:
    whole = json.loads(run("generate", ".", "--dry-run", "--json", cwd=folder).stdout)["requests"]
    change(folder, max_requests=whole - 6, concurrency=1)
    stopped = run("generate", ".", "--json", cwd=folder)
    assert stopped.returncode == 0, stopped.stderr
    assert "stopped: the budget is used up" in stopped.stderr
    assert "raise the limit under generate.teacher and run the same command again" in stopped.stderr
    result = json.loads(stopped.stdout)
    assert result["errors"] > 0
    assert result["requests"] == len(server.asked) == whole - 6
    rows = (folder / "runs" / "small" / "candidates.jsonl").read_text().splitlines()
    done = [row for row in map(json.loads, rows) if row["source"].startswith("document") and not row["error"]]
    assert done, "under a budget rows are finished before others are begun"
    change(folder, max_requests=None)
    assert json.loads(run("generate", ".", "--json", cwd=folder).stdout)["errors"] == 0
    assert len(server.asked) == whole


def test_a_key_that_is_refused_is_one_line(server: ScriptedTeacher, folder: Path) -> None:
    server.script = lambda words, attempt: refusal(401, "bad key")
    failed = run("generate", ".", cwd=folder)
    assert failed.returncode == 2
    assert "Traceback" not in failed.stderr
    assert failed.stderr.count("error:") == 1
    assert "answered 401 (bad key); set the environment variable OPENAI_API_KEY" in failed.stderr
    assert len(server.asked) <= 4


def test_the_local_engine_teaches_with_the_recipes_model(folder: Path, embedded_model: Path) -> None:
    (folder / "documents" / "faq.html").write_text("<h1>Tides</h1><p>High tide comes twice a day.</p>")
    assert run("convert", ".", cwd=folder).returncode == 0
    change(folder, kind="local", model="", max_tokens=8, temperature=0)
    told = run("generate", ".", "--dry-run", cwd=folder)
    assert "counted by the tokenizer of embedded:smollm2-135m" in told.stdout
    cut = run("generate", ".", cwd=folder)
    assert cut.returncode == 2
    assert "cut off at 8 tokens: raise generate.teacher.max_tokens" in cut.stderr

    (folder / "terse").mkdir()
    change(folder, max_tokens=60, model=str(terse_model(embedded_model, folder / "terse")))
    made = run("generate", ".", "--json", cwd=folder)
    assert made.returncode == 0, made.stderr
    result = json.loads(made.stdout)
    assert (result["errors"], result["sources"]["document"]) == (0, 1)
