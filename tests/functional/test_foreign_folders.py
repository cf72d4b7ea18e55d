"""The folders of others: no command replaces one that Tuning Room did not make.

Real: the command line, a merge and its proof. Not real: the base is two random layers, the adapter was drawn.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from bakery import leftovers, run

from tuning_room.models.lineage import Merged, read_lineage, write_lineage
from tuning_room.workspace import Workspace


@pytest.fixture
def folder(tiny_model: Path, drawn_adapter: Path, tmp_path: Path) -> Path:
    """A recipe whose run folder holds an adapter."""
    adapter = shutil.copytree(drawn_adapter, tmp_path / "runs" / "tiny" / "adapter")
    write_lineage(adapter, read_lineage(adapter).model_copy(update={"recipe": "tiny"}))
    (tmp_path / "prompt.md").write_text("Ask one question.\n", encoding="utf-8")
    (tmp_path / "items.jsonl").write_text('{"id": "a", "prompt": "Hello"}\n', encoding="utf-8")
    recipe = {
        "name": "tiny", "model": str(tiny_model), "full_prompt": "prompt.md", "short_prompt": "You are a tutor.",
        "suites": {"behaviour": {"items": "items.jsonl", "metrics": ["asks"]}},
        **{section: {} for section in ("convert", "generate", "dataset", "train", "evaluate", "report")},
        "deploy": {"repo_url": "https://git.example.com/tutor.git"},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes | str]:
    """Return what lies below a folder: files with their bytes, links with their targets."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def precious(folder: Path) -> str:
    (folder / "precious" / "sub").mkdir(parents=True)
    (folder / "precious" / "thesis.txt").write_text("years of work")
    (folder / "precious" / "sub" / "a").write_text("a")
    return "precious"


def link_to_precious(folder: Path) -> str:
    (folder / "link").symlink_to(precious(folder))
    return "link"


def another_model(folder: Path) -> str:
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    (folder / "model" / "tuning_room.json").write_text("{}")
    return "model"


def a_file(folder: Path) -> str:
    (folder / "notes").write_text("notes")
    return "notes"


def below_a_file(folder: Path) -> str:
    return f"{a_file(folder)}/merged"


def hidden(folder: Path) -> str:
    (folder / "repository").mkdir()
    (folder / "repository" / ".git").write_text("gitdir: elsewhere")
    return "repository"


def merged_with_notes(folder: Path) -> str:
    """What an earlier merge wrote, and what somebody put there since."""
    place = folder / "earlier"
    place.mkdir()
    lineage = read_lineage(folder / "runs" / "tiny" / "adapter")
    proof = Merged(tokens=1, largest_difference=0.0, adapter_moves=1.0, same_choices=1.0)
    write_lineage(place, lineage.model_copy(update={"merged": proof, "files": ["config.json"]}))
    (place / "config.json").write_text("{}")
    (place / "notes.md").write_text("measured on Friday")
    return "earlier"


def named(name: str) -> Callable[[Path], str]:
    return lambda folder: name


FOREIGN = [
    (precious, "precious"),
    (link_to_precious, "precious"),
    (another_model, "model"),
    (a_file, "notes"),
    (below_a_file, "notes"),
    (hidden, "repository"),
    (merged_with_notes, "earlier"),
    (named("."), "holds files"),
    (named(".."), "holds files"),
    (named("/"), "/: holds files"),
    (named("runs"), "runs"),
    (named("runs/tiny"), "runs/tiny"),
    (named("runs/tiny/adapter"), "runs/tiny/adapter"),
]


@pytest.mark.case("fault-merge-to-existing")
@pytest.mark.parametrize(("place", "word"), FOREIGN, ids=[f"{n}" for n in range(len(FOREIGN))])
def test_what_others_made_is_left_alone(folder: Path, place: Callable[[Path], str], word: str) -> None:
    target = place(folder)
    before = contents(folder)
    done = run("merge", ".", "--to", target, cwd=folder)
    assert done.returncode == 2, done.stdout
    assert word in done.stderr and "Traceback" not in done.stderr
    assert contents(folder) == before and not leftovers(folder)


def test_the_error_says_what_to_do_before_anything_is_computed(folder: Path) -> None:
    (folder / "runs" / "tiny" / "adapter" / "adapter_model.safetensors").unlink()
    done = run("merge", ".", "--to", precious(folder), cwd=folder)
    assert done.stderr.count("\n") == 1
    assert "precious: holds files that Tuning Room did not write; name a new or empty folder" in done.stderr


def test_free_places_are_taken_and_a_merged_model_replaced(folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "disk").mkdir()
    (folder / "link").symlink_to("disk")
    for target, place in (("new/merged", "new/merged"), ("empty", "empty"), ("link", "disk"), ("link", "disk")):
        done = run("merge", ".", "--to", target, "--json", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["folder"] == target
        assert read_lineage(folder / place).merged
    assert (folder / "link").is_symlink()
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []


def test_the_recipes_own_folder_is_no_run_folder(folder: Path) -> None:
    """`--runs recipes` would make the run folder of the folder in which the recipe and its documents lie."""
    recipe = folder / "recipes" / "tiny"
    (recipe / "documents").mkdir(parents=True)
    (recipe / "documents" / "thesis.md").write_text("# Years of work\n\nThe only copy.\n")
    for name in ("recipe.yaml", "prompt.md", "items.jsonl"):
        (folder / name).rename(recipe / name)
    with (recipe / "recipe.yaml").open("a") as out:
        out.write("documents: documents\n")
    before = contents(folder)
    done = run("convert", "recipes/tiny", "--runs", "recipes", cwd=folder)
    assert done.returncode == 2 and "recipes/tiny: not a run folder, it holds 'documents'" in done.stderr
    assert contents(folder) == before


def test_configurations_are_exported_to_no_folder_of_others(folder: Path) -> None:
    (folder / "evals").mkdir()
    (folder / "evals" / "promptfooconfig.yaml").write_text("# mine\n")
    before = contents(folder)
    done = run("evaluate", ".", "--export-targets", "evals", cwd=folder)
    assert done.returncode == 2 and "evals: holds files that Tuning Room did not write" in done.stderr
    assert contents(folder) == before
    for _ in range(2):
        assert run("evaluate", ".", "--export-targets", "new", cwd=folder).returncode == 0


@pytest.mark.parametrize("stage", ["convert", "dataset", "train", "deploy render", "bake"])
def test_a_folder_with_the_names_of_a_run_is_none(folder: Path, stage: str) -> None:
    """Somebody's own rows, adapter and checkpoints under the names that stages use, but no manifest."""
    theirs = folder / "projects" / "tiny"
    for name in ("dataset/mine.csv", "adapter/adapter_model.safetensors", "training/checkpoint-500/model.bin", ".lock"):
        (theirs / name).parent.mkdir(parents=True, exist_ok=True)
        (theirs / name).write_text("precious" if name != ".lock" else "")
    before = contents(folder)
    done = run(*stage.split(), ".", "--runs", "projects", cwd=folder)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "projects/tiny: not a run folder, it holds 'adapter'" in done.stderr and "(--runs)" in done.stderr
    assert contents(folder) == before


@pytest.mark.parametrize("repository", [True, False])
def test_of_a_linked_folder_in_a_run_only_the_link_is_replaced(folder: Path, repository: bool) -> None:
    theirs = folder / "gitops" / "tiny"
    theirs.mkdir(parents=True)
    (theirs / "values.yaml").write_text("precious")
    if repository:
        (folder / "gitops" / ".git").mkdir()
    link = folder / "runs" / "tiny" / "deploy"
    assert run("deploy", "render", ".", cwd=folder).returncode == 0
    shutil.rmtree(link)
    link.symlink_to(theirs)
    done = run("deploy", "render", ".", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert contents(theirs) == {"values.yaml": b"precious"}
    assert not link.is_symlink() and list(link.iterdir()) and not leftovers(folder)


def test_nothing_is_merged_while_another_process_is_at_work_in_the_run(folder: Path) -> None:
    """It would clean up the half-written model, or replace the adapter that is being merged."""
    with Workspace(folder / "runs" / "tiny").locked():
        done = run("merge", ".", cwd=folder)
    assert done.returncode != 0 and "another process is using this run folder" in done.stderr
    assert not (folder / "runs" / "tiny" / "merged").exists()
