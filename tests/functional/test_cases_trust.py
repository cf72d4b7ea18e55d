"""What can be trusted: a recipe is data, and whatever a stage reads is what its maker wrote.

Real: the command line, a bake of the shipped recipe made small, the recipes that were met. Nothing is faked.
"""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from bakery import SHIPPED, manifest, run, small_recipe
from cases import case


def shipped_files(folder: Path) -> Path:
    """Give a recipe the files of the shipped one, which it names."""
    for name in ("prompt.md", "seeds.jsonl"):
        shutil.copy(SHIPPED / name, folder / name)
    for name in ("rules", "evaluation"):
        shutil.copytree(SHIPPED / name, folder / name)
    (folder / "documents").mkdir()
    shutil.copy(SHIPPED / "documents" / "faq.html", folder / "documents" / "faq.html")
    return folder


def refused(*arguments: str, cwd: Path) -> str:
    """Return the one line with which the command line refuses something."""
    done = run(*arguments, cwd=cwd)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.case("fault-task-include-code")
@pytest.mark.parametrize("stage", ["convert", "dataset", "evaluate", "bake"])
def test_a_recipe_runs_no_code(stage: str, tmp_path: Path) -> None:
    folder = shipped_files(case("fault-task-include-code", tmp_path))
    said = refused(stage, ".", cwd=folder)
    assert "evaluate.standard.include" in said and "mytasks holds code" in said and "--allow-code" in said
    assert not list(tmp_path.rglob("pwned*")) and not (folder / "runs").exists()


@pytest.fixture
def listening() -> Iterator[tuple[str, list[str]]]:
    """An address, and what was asked there."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/schema.json", asked
        server.shutdown()


@pytest.mark.case("fault-json-schema-ref")
def test_a_json_schema_calls_no_address_and_reads_no_file(tmp_path: Path, listening: tuple[str, list[str]]) -> None:
    folder = shipped_files(case("fault-json-schema-ref", tmp_path))
    recipe = folder / "recipe.yaml"
    address, asked = listening
    for reference in ("file:///etc/passwd", address):
        changed = recipe.read_text().replace("file:///etc/passwd", reference)
        recipe.write_text(changed)
        said = refused("dataset", ".", cwd=folder)
        assert f"'{reference}' is no part of the schema" in said
    assert asked == []


@pytest.mark.case("fault-symlink-out")
def test_a_link_that_leads_out_is_refused_and_let_in_by_a_flag(tmp_path: Path) -> None:
    for name in ("recipe", "elsewhere"):
        (tmp_path / name).mkdir()
    folder = small_recipe(tmp_path / "recipe")
    (tmp_path / "elsewhere" / "canary.md").write_text("# Canary\n\nA canary sings in the mine.\n")
    (folder / "documents" / "out.md").symlink_to(tmp_path / "elsewhere" / "canary.md")
    said = refused("convert", ".", cwd=folder)
    assert "documents/out.md is a link that leads out of the recipe's folder" in said and "--allow-files" in said
    assert not (folder / "runs").exists()

    allowed = run("convert", ".", "--allow-files", str(tmp_path / "elsewhere"), cwd=folder)
    assert allowed.returncode == 0, allowed.stderr
    assert "canary" in (folder / "runs" / "small" / "chunks.jsonl").read_text()


def test_a_path_beside_the_recipe_is_said_and_one_further_up_refused(tmp_path: Path) -> None:
    folder = tmp_path / "sets" / "recipes" / "one"
    folder.mkdir(parents=True)
    small_recipe(folder, documents="../shared")
    shutil.move(folder / "documents", folder.parent / "shared")
    done = run("convert", ".", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert f"note: the recipe reads {folder.parent / 'shared'}, outside its folder" in done.stderr

    shutil.move(folder.parent / "shared", tmp_path / "shared")
    for documents in ("../../../shared", str(tmp_path / "shared"), "../../../../../../../../etc"):
        recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
        (folder / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "documents": documents}))
        assert "documents: " in (said := refused("convert", ".", cwd=folder)) and "--allow-files" in said


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small_recipe(tmp_path_factory.mktemp("baked"), deploy={"repo_url": "https://git.example.com/a.git"})
    assert run("bake", ".", cwd=folder).returncode in (0, 3)
    return folder


@pytest.fixture
def folder(baked: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(baked, tmp_path / "recipe"))


def rows(folder: Path, name: str) -> tuple[Path, list[dict[str, Any]]]:
    path = folder / "runs" / "small" / "evaluation" / "samples" / name
    return path, [json.loads(line) for line in path.read_text().splitlines()]


def raised(folder: Path) -> None:
    for path in (folder / "runs" / "small" / "evaluation" / "samples").glob("baked.*.jsonl"):
        found = [json.loads(line) for line in path.read_text().splitlines()]
        for row in found:
            row["metrics"] |= dict.fromkeys(row["metrics"], 1.0)
        path.write_text("".join(json.dumps(row) + "\n" for row in found))


def row_gone(folder: Path) -> None:
    path = folder / "runs" / "small" / "evaluation" / "samples" / "baked.pressure.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def answers_edited(folder: Path) -> None:
    row_gone(folder)  # or the stage would not look at them
    path = folder / "runs" / "small" / "evaluation" / "answers.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for answer in found:
        answer["replies"] = [["What do you think comes first?", *reply[1:]] for reply in answer["replies"]]
    path.write_text("".join(json.dumps(answer) + "\n" for answer in found))


def results_edited(folder: Path) -> None:
    path = folder / "runs" / "small" / "evaluation" / "results.json"
    results = json.loads(path.read_text())
    results["verdict"] |= {"verdict": "ship", "lost": "no"}
    path.write_text(json.dumps(results))


@pytest.mark.case("fault-samples-tampered", "fault-samples-row-gone")
@pytest.mark.parametrize("spoil", [raised, row_gone, answers_edited, results_edited])
def test_an_edited_evaluation_is_refused_by_the_report_and_made_again(
    spoil: Callable[[Path], None], folder: Path
) -> None:
    before = manifest(folder)["evaluate"]["outputs"]
    spoil(folder)
    assert "tuning-room evaluate" in (said := refused("report", ".", cwd=folder)) and "has been changed since" in said
    assert "evaluate  changed" in run("status", ".", cwd=folder).stdout

    assert run("evaluate", ".", cwd=folder).returncode == 3
    assert manifest(folder)["evaluate"]["outputs"] == before
    assert run("report", ".", cwd=folder).returncode == 0


def alpha(adapter: Path) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "lora_alpha": 800}))


def settings_gone(adapter: Path) -> None:
    (adapter / "adapter_config.json").unlink()


def weights_cut(adapter: Path) -> None:
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def weights_flipped(adapter: Path) -> None:
    path = adapter / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.case("fault-adapter-config", "fault-deploy-unverified")
@pytest.mark.parametrize("spoil", [alpha, settings_gone, weights_cut, weights_flipped])
def test_an_adapter_that_was_changed_is_used_by_nothing(spoil: Callable[[Path], None], folder: Path) -> None:
    spoil(folder / "runs" / "small" / "adapter")
    for command in (["serve", ".", "--port", "0"], ["report", "."], ["deploy", "render", "."], ["merge", "."]):
        said = refused(*command, cwd=folder)
        assert "adapter: has been changed since 'tuning-room train' wrote it" in said, command
    (folder / "runs" / "small" / "manifest.json").unlink()
    said = refused("deploy", "render", ".", cwd=folder)
    assert "adapter_config.json" in said, "its own lineage tells as well"
    assert not (folder / "runs" / "small" / "deploy").exists()


@pytest.mark.case("fault-deploy-unverified")
def test_another_recipes_adapter_is_not_deployed(folder: Path) -> None:
    adapter = folder / "runs" / "small" / "adapter" / "tuning_room.json"
    adapter.write_text(json.dumps({**json.loads(adapter.read_text()), "recipe": "other"}))
    assert "has been changed since 'tuning-room train'" in refused("deploy", "render", ".", cwd=folder)
    (folder / "runs" / "small" / "manifest.json").unlink()
    assert "trained by the recipe 'other', not by 'small'" in refused("deploy", "render", ".", cwd=folder)


@pytest.mark.parametrize(("name", "maker", "reader"), [
    ("chunks.jsonl", "convert", "generate"),
    ("candidates.jsonl", "generate", "dataset"),
    ("dataset/train.jsonl", "dataset", "train"),
    ("training/metrics.jsonl", "train", "report"),
    ("model_card.md", "report", "deploy render"),
])  # fmt: skip
def test_a_stage_run_alone_uses_no_spoilt_input(name: str, maker: str, reader: str, folder: Path) -> None:
    path = folder / "runs" / "small" / name
    path.write_text(path.read_text() + path.read_text().splitlines(keepends=True)[-1])
    said = refused(*reader.split(), ".", cwd=folder)
    assert f"{name}: has been changed since 'tuning-room {maker}' wrote it" in said
    assert run(maker, ".", cwd=folder).returncode == 0, "the stage that made it makes it again"


KILLED_IN_ITS_FIRST_STEP = """
import os, signal
from tuning_room.cli import main
from tuning_room.train.loop import LoraTrainer
LoraTrainer.update = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
main()
"""


@pytest.mark.case("fault-new-training-empties-metrics")
def test_a_training_that_is_killed_before_its_first_step_leaves_what_was_finished(folder: Path) -> None:
    recipe = folder / "recipe.yaml"
    before, metrics = recipe.read_text(), folder / "runs" / "small" / "training" / "metrics.jsonl"
    curve, values = metrics.read_bytes(), yaml.safe_load(before)
    recipe.write_text(yaml.safe_dump({**values, "train": {**values["train"], "learning_rate": 5e-3}}))
    line = [sys.executable, "-c", KILLED_IN_ITS_FIRST_STEP, "train", "."]
    assert subprocess.run(line, cwd=folder, capture_output=True, timeout=500).returncode == -signal.SIGKILL

    recipe.write_text(before)
    assert metrics.read_bytes() == curve
    assert "train     done" in run("status", ".", cwd=folder).stdout
    assert run("report", ".", cwd=folder).returncode == 0


def test_samples_of_arms_that_the_recipe_no_longer_has_go(folder: Path) -> None:
    recipe = folder / "recipe.yaml"
    values = yaml.safe_load(recipe.read_text())
    suites = {name: {**suite, "arms": ["prompted", "baked"]} for name, suite in values["suites"].items()}
    evaluate = {**values["evaluate"], "arms": ["prompted", "baked"], "gates": [{"metric": "asks", "at_least": 0.5}]}
    recipe.write_text(yaml.safe_dump({**values, "suites": suites, "evaluate": evaluate}))
    assert run("evaluate", ".", cwd=folder).returncode in (0, 3)
    samples = folder / "runs" / "small" / "evaluation" / "samples"
    assert {path.name.partition(".")[0] for path in samples.iterdir()} == {"prompted", "baked"}
