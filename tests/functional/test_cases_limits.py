"""Hostile and broken input that had no end, or ended in a traceback. Real: the command line, and the case's own files.

The recipe and its finished run are those of `spoilt.py`: a base of two random layers, a few rows, two steps.
"""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest
import yaml
from bakery import run
from cases import case
from spoilt import SPOILS, Spoil, odd, write_recipe

HANGS = 400.0  # seconds after which a command counts as hanging; each of them takes a few
STAGES = ("convert", "generate", "dataset", "train", "evaluate", "report", "merge", "status", "deploy render")


@pytest.fixture(scope="module")
def baked(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with a finished run."""
    folder = write_recipe(tmp_path_factory.mktemp("baked") / "recipe", tiny_model)
    assert run("bake", ".", cwd=folder).returncode in (0, 3)
    return folder


@pytest.fixture
def folder(baked: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(baked, tmp_path / "recipe"))


def refused(folder: Path, *command: str) -> str:
    """Return the one line with which a command refuses what it was given."""
    done = run(*command, cwd=folder, timeout=HANGS)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    return line


@pytest.mark.case("fault-yaml-bomb")
@pytest.mark.parametrize(("name", "said"), [("bomb", "anchors stand for"), ("self", "itself a part of")])
def test_case_yaml_bomb(name: str, said: str, tmp_path: Path) -> None:
    place = case("fault-yaml-bomb", tmp_path)
    for command in ("convert", "generate", "dataset"):
        assert said in refused(place, command, f"{name}.yaml")


@pytest.mark.case("fault-yaml-deep")
def test_case_yaml_deep(tmp_path: Path) -> None:
    assert "within each other" in refused(case("fault-yaml-deep", tmp_path), "status", "recipe.yaml")


@pytest.mark.parametrize("name", ["rules/families/sums.yaml", "rules/situations.yaml", "rules/notes.yaml"])
def test_rules_that_are_deep(name: str, folder: Path) -> None:
    (folder / name).write_text("x: " + "[" * 5000)
    assert f"{name}: not YAML" in refused(folder, "generate", ".")


@pytest.mark.case("fault-redos")
def test_case_redos(folder: Path, tmp_path: Path) -> None:
    file = case("fault-redos", tmp_path) / "recipe.yaml"
    pattern = yaml.safe_load(file.read_text())["dataset"]["checks"]["regular_expression"]
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe["dataset"]["checks"] = {"regular_expression": pattern}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    messages = [("user", "Which words?"), ("assistant", "word " * 40 + "?")]
    row = {"id": "long", "messages": [{"role": role, "content": content} for role, content in messages]}
    with (folder / "seeds.jsonl").open("a", encoding="utf-8") as seeds:
        seeds.write(json.dumps(row) + "\n")
    assert run("generate", ".", cwd=folder).returncode == 0
    line = refused(folder, "dataset", ".")
    assert pattern["must_match"] in line and "takes more than 10 s" in line


@pytest.mark.case("fault-expressions-hang")
def test_case_expressions_hang(folder: Path, tmp_path: Path) -> None:
    shutil.copy(case("fault-expressions-hang", tmp_path) / "a.yaml", folder / "rules" / "families" / "a.yaml")
    assert "family 'f': expression 'expand(" in refused(folder, "generate", ".")


DEEP = {
    "status": ("manifest.json", "not JSON"),
    "report": ("evaluation/results.json", "has been changed since"),
    "deploy render": ("adapter/tuning_room.json", "has been changed since"),
}


@pytest.mark.case("fault-json-deep")
@pytest.mark.parametrize("command", DEEP)
def test_json_that_is_deep(command: str, folder: Path) -> None:
    name, said = DEEP[command]
    (folder / "runs" / "tiny" / name).write_text("[" * 100_000)
    line = refused(folder, *command.split(), ".")
    assert said in line and name.split("/")[0] in line


@pytest.mark.case("fault-non-utf8-name")
def test_a_name_that_is_not_utf8(folder: Path) -> None:
    (folder / "documents" / os.fsdecode(b"bad\xff.md")).write_text("# A page\n\nOf words.\n")
    assert r"bad\xff.md: the name is not UTF-8" in refused(folder, "convert", ".")


def test_a_text_of_150_mb(folder: Path) -> None:
    with (folder / "documents" / "long.txt").open("w") as out:
        out.truncate(150_000_000)
    assert "long.txt: 150.0 MB is over the limit of 10 MB" in refused(folder, "convert", ".")
    with (folder / "prompt.md").open("w") as out:
        out.truncate(150_000_000)
    assert "prompt.md has 150.0 MB" in refused(folder, "status", ".")


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


SPOILT_TRAINING: dict[str, Callable[[Path], object]] = {
    "checkpoint/state.safetensors": cut_in_half,
    "checkpoint/progress.json": lambda path: path.write_text('{"step": 8}'),
    "metrics.jsonl": lambda path: path.write_text("garbage\n"),
}


@pytest.mark.case("fault-checkpoint-spoilt")
@pytest.mark.parametrize(("name", "spoil"), SPOILT_TRAINING.items(), ids=SPOILT_TRAINING)
def test_a_training_whose_state_is_spoilt(name: str, spoil: Callable[[Path], object], folder: Path) -> None:
    spoil(folder / "runs" / "tiny" / "training" / name)
    shutil.rmtree(folder / "runs" / "tiny" / "adapter")
    assert f"training/{name}" in refused(folder, "train", ".")


@pytest.mark.case("fault-weights-cut-evaluate")
@pytest.mark.parametrize("command", ["evaluate", "merge"])
def test_weights_that_are_cut(command: str, folder: Path) -> None:
    cut_in_half(folder / "runs" / "tiny" / "adapter" / "adapter_model.safetensors")
    assert "adapter" in refused(folder, command, ".")


def test_a_base_model_that_is_cut(folder: Path, tiny_model: Path) -> None:
    model = Path(shutil.copytree(tiny_model, folder / tiny_model.name))
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "model": str(model)}))
    cut_in_half(model / "model.safetensors")
    assert "the model cannot be read" in refused(folder, "merge", ".")


@pytest.mark.case("fault-evaluate-no-memory")
def test_too_little_memory_for_a_model(folder: Path) -> None:
    """Asked for is more than any machine has: what a model exceeds differs from one to the next."""
    from tuning_room import cli, models
    from tuning_room.errors import ModelError

    with pytest.raises(ModelError, match="not enough memory for this model"), models._readable(folder, "model"):
        bytearray(1 << 62)
    assert cli._machine_fault(MemoryError()).startswith("not enough memory")
    assert cli._machine_fault(RuntimeError("DefaultCPUAllocator: can't allocate memory")).startswith("not enough")
    assert not cli._machine_fault(RuntimeError("a bug of ours"))


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_a_recipe_with_something_odd_in_it_is_read_or_refused(
    baked: Path, tmp_path_factory: pytest.TempPathFactory, rng: random.Random, times: int
) -> None:
    """Nothing but an error of ours, which the command line gives in one line, comes of a mutated recipe."""
    from tuning_room.errors import TuningRoomError
    from tuning_room.recipe import load_recipe

    file = baked / "mutated.yaml"
    shutil.copy(baked / "recipe.yaml", file)
    for _ in range(times):
        odd(file, rng)
    try:
        load_recipe(str(file))
    except TuningRoomError as error:
        assert str(error).strip()
    finally:
        file.unlink()


@pytest.mark.parametrize("number", range(40))
def test_whatever_is_spoilt_is_said_in_one_line(number: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the recipe or of its run is spoilt at random, and a stage is run: in this process, so that any fits."""
    rng = random.Random(number)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    spoil: Spoil = rng.choice(SPOILS)
    spoil(rng.choice(files), rng)
    code = main(folder, [*rng.choice(STAGES).split(), "."], monkeypatch)
    assert code in (0, 2, 3)


def main(folder: Path, command: list[str], monkeypatch: pytest.MonkeyPatch) -> object:
    """Run the command line in this process and return its exit code; what is no error of ours is raised."""
    from tuning_room import cli

    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["tuning-room", *command])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code
