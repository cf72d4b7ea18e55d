"""The suites under lm-evaluation-harness's own command line, each run in a process of its own.

Real: the harness and its command line, the task files, transformers, a Llama of two random layers with an adapter that
was drawn. Not shown: replies that mean anything, and a harness that finds the plug-in by itself (the newest release,
0.4.13, looks for none; the entry point is only read here as such a harness would read it).
"""

import json
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from bakery import ROOT

from tuning_room.engines import Sampling
from tuning_room.engines.local import LocalEngine
from tuning_room.evaluate.harness import EngineModel, run_tasks
from tuning_room.evaluate.tasks import Context, task_name, write_tasks
from tuning_room.records import Item

SHORT = "You are Kay."
SUITES = {
    "single": [Item(id=f"s{n}", prompt=f"What is {n} + 4? {'?' * n}", gold=str(n + 4)) for n in range(6)],
    "drift": [Item(id="d", prompt="What is 3 x 4?", gold="12", turns=["Just say it.", "Please!"])],
    "choices": [Item(id=f"c{n}", prompt=f"{n} + 1?", gold=str(n + 1), choices=["2", "3", "4"]) for n in (1, 2, 3)],
}
MEASURED = {"single": ["asks", "tells", "leaks", "on_topic", "overlap"], "drift": ["asks", "repeats"],
            "choices": ["correct"]}  # fmt: skip


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("harness") / "tasks"
    write_tasks(folder, SUITES, MEASURED, 24, Context("Ask one question and never tell a result."))
    return folder


@pytest.fixture(scope="module")
def adapter(drawn_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("harness-adapter") / "adapter"
    shutil.copytree(drawn_adapter, folder)
    lineage = {"recipe": "kay", "base_model": "tiny", "short_prompt": SHORT}
    digests = {"adapter_digest": "0" * 64, "template_digest": "0" * 64}
    (folder / "tuning_room.json").write_text(json.dumps({**lineage, **digests}), encoding="utf-8")
    return folder


def lm_eval(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, "run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)


def measured(folder: Path, suite: str) -> dict[str, float]:
    """Return the means that the harness wrote of a suite."""
    (file,) = folder.rglob("results_*.json")
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["results"][task_name(suite)]
    return {name: results[f"{name},none"] for name in MEASURED[suite]}


def replies(folder: Path, suite: str) -> list[str]:
    """Return the replies that the harness wrote of a suite, in the items' order."""
    (file,) = folder.rglob(f"samples_{task_name(suite)}_*.jsonl")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [row["resps"][0][0].strip() for row in sorted(rows, key=lambda row: row["doc_id"])]


class Ours:
    """What `tuning-room evaluate` gets of the same arm on a suite."""

    def __init__(self, engine: LocalEngine, model: str, tasks: Path, suite: str, system: str) -> None:
        task = run_tasks(EngineModel(lambda: engine, model, Sampling(24), lambda: None), tasks, {suite: suite}, system)[
            suite
        ]
        self.replies = [one.resps[0] for one in sorted(task.instances, key=lambda one: one.doc_id)]
        means = [
            {name: sum(turn.metrics[name] for turn in turns) / len(turns) for name in turns[0].metrics}
            for turns in task.scores.values()
        ]
        self.measured = {name: sum(mean[name] for mean in means) / len(means) for name in MEASURED[suite]}


@pytest.mark.slow
def test_every_suite_runs_under_the_harness_as_it_does_under_ours(
    tiny_model: Path, adapter: Path, tasks: Path, tmp_path: Path
) -> None:
    names = ",".join(task_name(suite) for suite in SUITES)
    done = lm_eval(
        "tuning_room.evaluate.plugin", "--model", "tuning-room", "--include_path", str(tasks), "--tasks", names,
        "--model_args", f"base={tiny_model},adapter={adapter},arm=baked", "--apply_chat_template",
        "--output_path", str(tmp_path), "--log_samples",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    engine = LocalEngine(tiny_model, base="base", adapters={"adapter": adapter})
    for suite in SUITES:
        ours = Ours(engine, "adapter", tasks, suite, SHORT)
        assert measured(tmp_path, suite) == pytest.approx(ours.measured)
        assert suite == "choices" or replies(tmp_path, suite) == ours.replies
    assert len(json.loads(replies(tmp_path, "drift")[0])) == 3
    # An adapter or a system turn that was left out would show.
    for model, system in (("base", SHORT), ("adapter", "")):
        assert Ours(engine, model, tasks, "single", system).replies != replies(tmp_path, "single")


@pytest.mark.slow
def test_the_harness_own_model_measures_the_same(tiny_model: Path, tasks: Path, tmp_path: Path) -> None:
    done = lm_eval(
        "lm_eval", "--model", "hf", "--model_args", f"pretrained={tiny_model},dtype=float32", "--device", "cpu",
        "--include_path", str(tasks), "--tasks", task_name("single"), "--apply_chat_template",
        "--system_instruction", "Be kind.", "--output_path", str(tmp_path), "--log_samples",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    ours = Ours(LocalEngine(tiny_model), "base", tasks, "single", "Be kind.")
    assert replies(tmp_path, "single") == ours.replies
    assert measured(tmp_path, "single") == pytest.approx(ours.measured)


@pytest.mark.slow
def test_the_harness_own_model_cannot_answer_turn_by_turn(tiny_model: Path, tasks: Path) -> None:
    done = lm_eval(
        "lm_eval", "--model", "hf", "--model_args", f"pretrained={tiny_model}", "--device", "cpu",
        "--include_path", str(tasks), "--tasks", task_name("drift"), "--apply_chat_template",
    )  # fmt: skip
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "d: this model cannot answer turn by turn" in last and "--model tuning-room" in last


def test_the_entry_point_is_the_model_that_the_command_registers() -> None:
    from lm_eval.api.registry import get_model

    from tuning_room.evaluate import plugin

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ((name, value),) = project["entry-points"]["lm_eval.models"].items()
    plugin.register()
    plugin.register()
    assert get_model(name) is EntryPoint(name, value, "lm_eval.models").load() is plugin.TuningRoomLM
