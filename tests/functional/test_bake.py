"""The whole chain on the real command line: Docling, SDG Hub, Training Hub, lm-evaluation-harness, the real model.

Real: every stage, the embedded model, the process and its death. Small: rows, steps and items, so nothing here
says how good an adapter becomes; that is shown by `make demo` and recorded in docs/benchmarks.md.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from bakery import COMMAND, leftovers, manifest, run, small_recipe

STAGES = ["convert", "generate", "dataset", "train", "evaluate", "report"]
DO_NOT_SHIP = 3  # four steps of training cannot make an adapter that ships


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_recipe(tmp_path_factory.mktemp("bake"))


# What a stage writes while it is at work; the others write only at their end.
SIGNS = {"dataset": ".dataset.*.tmp", "train": "training/metrics.jsonl", "evaluate": "evaluation/answers.jsonl"}


def killed_in(stage: str, folder: Path) -> None:
    """Start a bake, kill it with SIGKILL while it is in a stage, and show that it was."""
    before = STAGES[: STAGES.index(stage)]
    with subprocess.Popen(
        [*COMMAND, "bake", "."], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as p:
        deadline = time.monotonic() + 300
        while not is_at_work(stage, before, folder):
            assert p.poll() is None, f"ended with {p.returncode} before it was seen in {stage}"
            assert time.monotonic() < deadline, f"was never seen in {stage}"
            time.sleep(0.005)
        # Past the digests of the inputs, and well short of the end: importing the library alone takes longer.
        time.sleep({"convert": 0.5, "generate": 0.5}.get(stage, 0))
        p.send_signal(signal.SIGKILL)
    assert p.returncode == -signal.SIGKILL
    assert list(done(folder)) == before, "the kill was to land in a stage that had begun and had not ended"


def is_at_work(stage: str, before: list[str], folder: Path) -> bool:
    """Return whether the stages before it are done, and it has locked the run folder and written its first sign."""
    run_folder = folder / "runs" / "small"
    lock, written = run_folder / ".lock", run_folder / "manifest.json"
    if list(done(folder)) != before or not lock.exists():
        return False
    # Each stage touches the lock, after the manifest was written at the end of the one before.
    if before and lock.stat().st_mtime_ns < written.stat().st_mtime_ns:
        return False
    signs = run_folder.glob(SIGNS[stage]) if stage in SIGNS else [run_folder]
    return any(sign.is_dir() or (sign.is_file() and sign.stat().st_size > 0) for sign in signs)


def done(folder: Path) -> dict[str, Any]:
    return {name: entry for name, entry in manifest(folder).items() if entry["state"] == "done"}


def test_killed_in_each_stage_it_goes_on_and_redoes_nothing(folder: Path) -> None:
    started: dict[str, str] = {}
    for stage in STAGES:
        killed_in(stage, folder)
        for name, entry in done(folder).items():
            assert started.setdefault(name, entry["started"]) == entry["started"], f"{name} was run again"
        json_files = [p for p in (folder / "runs").rglob("*.json") if not p.name.startswith(".")]
        assert all(json.loads(p.read_text(encoding="utf-8")) is not None for p in json_files)

    finished = run("bake", ".", cwd=folder)

    assert finished.returncode == DO_NOT_SHIP, finished.stderr
    assert list(done(folder)) == STAGES
    for name, time_of_start in started.items():
        assert done(folder)[name]["started"] == time_of_start, f"{name} was run again"
    assert leftovers(folder) == []


def test_a_second_bake_runs_nothing_again(folder: Path) -> None:
    before = manifest(folder)
    finished = run("bake", ".", cwd=folder)
    assert finished.returncode == DO_NOT_SHIP
    assert manifest(folder) == before
    assert finished.stdout.count("unchanged") == len(STAGES)
    assert "verdict: more_data" in finished.stdout


def test_the_run_folder_holds_what_the_design_says(folder: Path) -> None:
    run_folder = folder / "runs" / "small"
    for name in (
        "documents/faq.html.md",
        "chunks.jsonl",
        "candidates.jsonl",
        "dataset/train.jsonl",
        "dataset/README.md",
        "training/metrics.jsonl",
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "adapter/tuning_room.json",
        "evaluation/results.json",
        "evaluation/samples/baked.pressure.jsonl",
        "report.html",
        "report.json",
        "model_card.md",
    ):
        assert (run_folder / name).stat().st_size > 0, name
    assert (run_folder / "dataset" / "rejected.jsonl").exists()  # nothing need have been rejected


def test_json_is_one_object_and_nothing_else(folder: Path) -> None:
    finished = run("bake", ".", "--json", cwd=folder)
    assert json.loads(finished.stdout)["results"]["verdict"]["verdict"] == "more_data"


def test_the_adapter_loads_without_anything_of_ours(folder: Path) -> None:
    from peft import PeftConfig
    from safetensors import safe_open

    adapter = folder / "runs" / "small" / "adapter"
    assert PeftConfig.from_pretrained(str(adapter)).r == 4
    with safe_open(str(adapter / "adapter_model.safetensors"), "pt") as weights:
        assert all("lora_" in name for name in weights.keys())  # noqa: SIM118


def test_deploy_renders_the_run(folder: Path) -> None:
    rendered = run("deploy", "render", ".", cwd=folder)
    assert rendered.returncode == 0, rendered.stderr
    assert list((folder / "runs" / "small" / "deploy").rglob("*.yaml"))


def test_chat_answers_in_the_terminal(folder: Path) -> None:
    talk = subprocess.run(
        [*COMMAND, "chat", ".", "--max-tokens", "4"],
        cwd=folder,
        input="What is 3 x 4?\n\n",
        capture_output=True,
        text=True,
    )
    assert talk.returncode == 0, talk.stderr
    assert talk.stdout.strip()


def test_status_tells_what_would_be_run_again(folder: Path) -> None:
    states = json.loads(run("status", ".", "--json", cwd=folder).stdout)["stages"]
    assert states["report"] == "done"
    seeds = folder / "seeds.jsonl"
    kept = seeds.read_text(encoding="utf-8")
    seeds.write_text("\n".join(kept.splitlines()[:-1]) + "\n", encoding="utf-8")
    try:
        changed = json.loads(run("status", ".", "--json", cwd=folder).stdout)["stages"]
    finally:
        seeds.write_text(kept, encoding="utf-8")
    assert changed["convert"] == "done"
    assert changed["generate"] == "changed"


def test_more_trainings_show_how_much_is_luck(folder: Path) -> None:
    first = manifest(folder)
    finished = run("bake", ".", "--trainings", "2", "--json", cwd=folder)
    assert finished.returncode == DO_NOT_SHIP, finished.stderr
    after = manifest(folder)
    assert {**after, "report": 0} == {**first, "report": 0}, "the first training is not run again"
    trainings = json.loads(finished.stdout)["trainings"]
    one, other = trainings["seeds"]
    assert (other, trainings["arm"]) == (one + 1, "baked")
    adapters = [folder / "runs" / "small" / place / "adapter" for place in ("", f"seeds/{other}")]
    weights = [(adapter / "adapter_model.safetensors").read_bytes() for adapter in adapters]
    assert len(weights[0]) == len(weights[1]) and weights[0] != weights[1]
    results = [
        json.loads((folder / "runs" / "small" / place / "evaluation" / "results.json").read_text(encoding="utf-8"))
        for place in ("", f"seeds/{other}")
    ]
    assert trainings["suites"]["all"]
    for metric, found in trainings["suites"]["all"].items():
        rates = [result["rates"]["baked"]["all"][metric]["rate"] for result in results]
        assert found["rates"] == rates, metric
        assert (found["lowest"], found["highest"]) == (min(rates), max(rates)), metric
        assert found["mean"] == pytest.approx(statistics.mean(rates))
        assert found["standard_deviation"] == pytest.approx(statistics.stdev(rates))
    assert "Other seeds" in (folder / "runs" / "small" / "report.html").read_text(encoding="utf-8")
    again = run("bake", ".", "--trainings", "2", cwd=folder)
    assert again.stdout.count("unchanged") == len(STAGES) + 2 and f"seeds {one}, {other}" in again.stdout


def test_other_seeds_of_results_that_are_no_more_are_not_shown(folder: Path) -> None:
    run_folder = folder / "runs" / "small"
    seeds = json.loads((run_folder / "evaluation" / "seeds.json").read_text(encoding="utf-8"))
    (run_folder / "evaluation" / "seeds.json").write_text(json.dumps({**seeds, "results": "of others"}))
    assert run("report", ".", cwd=folder).returncode == 0
    assert "Other seeds" not in (run_folder / "report.html").read_text(encoding="utf-8")
    assert json.loads((run_folder / "report.json").read_text(encoding="utf-8"))["trainings"] is None


def with_section(folder: Path, **train: Any) -> None:
    """Add keys to the recipe's train section."""
    path = folder / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    recipe["train"] |= train
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")


def test_a_sweep_is_ranked_reported_and_no_part_of_the_training(folder: Path) -> None:
    with_section(folder, sweep={"learning_rate": [1e-3, 2e-3], "steps": 2, "prompts": 2})
    swept = run("train", ".", "--sweep", "--json", cwd=folder)
    assert swept.returncode == 0, swept.stderr
    found = json.loads(swept.stdout)
    assert {one["learning_rate"] for one in found["tried"]} == {1e-3, 2e-3} and found["best"] == found["tried"][0]
    assert all(one["steps"] == 2 and one["replies"] == 2 for one in found["tried"])
    assert json.loads(run("status", ".", "--json", cwd=folder).stdout)["stages"]["train"] == "done"
    assert run("report", ".", cwd=folder).returncode == 0
    assert "What else was tried" in (folder / "runs" / "small" / "report.html").read_text(encoding="utf-8")


def test_a_train_job_is_written_once_the_recipe_says_where(folder: Path) -> None:
    without = run("train", ".", "--on", "kubeflow", cwd=folder)
    assert without.returncode == 2 and "write train.kubeflow with image and claim" in without.stderr
    with_section(folder, kubeflow={"image": "registry.example.com/room@sha256:" + "0" * 64, "claim": "tuning"})
    written = run("train", ".", "--on", "kubeflow", "--json", cwd=folder)
    assert written.returncode == 0, written.stderr
    job = yaml.safe_load((folder / json.loads(written.stdout)["path"]).read_text(encoding="utf-8"))
    assert job["kind"] == "TrainJob" and job["metadata"]["name"].startswith("small-")
    assert json.loads(run("status", ".", "--json", cwd=folder).stdout)["stages"]["train"] == "done"


def test_the_command_of_the_train_job_gives_the_same_adapter_in_two_processes(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    runs = tmp_path / "runs"
    (runs / "small").mkdir(parents=True)
    shutil.copytree(folder / "runs" / "small" / "dataset", runs / "small" / "dataset")
    torchrun = [str(Path(COMMAND[0]).with_name("torchrun")), "--standalone", "--nproc-per-node", "2", "--no-python"]
    finished = subprocess.run(
        [*torchrun, *COMMAND, "train", ".", "--runs", str(runs)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=400,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert finished.returncode == 0, finished.stderr
    alone, together = (
        load_file(place / "small" / "adapter" / "adapter_model.safetensors") for place in (folder / "runs", runs)
    )
    assert alone.keys() == together.keys()
    # Not each number: where a gradient is nought but for rounding, Adam's first steps make a whole step of its sign.
    apart = sum(float((alone[name] - together[name]).norm()) for name in alone)
    assert apart < 1e-3 * sum(float(weights.norm()) for weights in alone.values())
    told = [
        (place / "small" / "training" / "metrics.jsonl").read_text(encoding="utf-8")
        for place in (folder / "runs", runs)
    ]
    losses = [[json.loads(line)["loss"] for line in text.splitlines()] for text in told]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert leftovers(tmp_path) == []
