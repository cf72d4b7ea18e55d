"""Bad input on the real command line: one clear line, exit code 2, no traceback, earlier results untouched.

Real: the command line, the recipe loader, Docling, the hub client (offline here, as on many machines).
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from bakery import manifest, run, small_recipe


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small_recipe(tmp_path_factory.mktemp("bad"))
    assert run("convert", ".", cwd=folder).returncode == 0
    return folder


@pytest.fixture
def folder(converted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(converted, tmp_path / "recipe"))


def no_documents(folder: Path) -> None:
    shutil.rmtree(folder / "documents")


def empty_document(folder: Path) -> None:
    (folder / "documents" / "empty.html").write_text("")


def corrupt_pdf(folder: Path) -> None:
    (folder / "documents" / "broken.pdf").write_bytes(b"%PDF-1.7\nnot really\n")


def change(key: str, value: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "recipe.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), key: value}))

    return edit


def broken_seed(folder: Path) -> None:
    with (folder / "seeds.jsonl").open("a") as seeds:
        seeds.write('{"id": "x", "messages": [\n')


CASES = [
    (no_documents, ["documents"]),
    (empty_document, ["empty.html"]),
    (corrupt_pdf, ["broken.pdf"]),
    (change("shrot_prompt", "x"), ["recipe.yaml", "shrot_prompt", "did you mean 'short_prompt'?"]),
    (change("train", {"lerning_rate": 1}), ["train.lerning_rate", "did you mean 'learning_rate'?"]),
    (change("model", "embedded:nothing"), ["embedded:nothing", "embedded:smollm2-135m"]),
    (change("model", "./no/such/folder"), ["/no/such/folder", "no such folder"]),
    (change("full_prompt", "nowhere.md"), ["nowhere.md", "does not exist"]),
    (broken_seed, ["seeds.jsonl:145"]),
]


@pytest.mark.parametrize(("spoil", "words"), CASES, ids=lambda case: getattr(case, "__name__", ""))
def test_one_line_says_what_and_where(spoil: Callable[[Path], None], words: list[str], folder: Path) -> None:
    before = manifest(folder)["convert"]
    chunks = (folder / "runs" / "small" / "chunks.jsonl").read_bytes()
    spoil(folder)

    result = run("bake", ".", cwd=folder)

    assert result.returncode == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    for word in words:
        assert word in errors[0]
    assert manifest(folder)["convert"] == before
    assert (folder / "runs" / "small" / "chunks.jsonl").read_bytes() == chunks


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    result = run("bake", "nothing-here", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: recipe 'nothing-here'")


def test_a_stage_before_its_input(tmp_path: Path) -> None:
    result = run("train", ".", cwd=small_recipe(tmp_path))
    assert result.returncode == 2
    assert "run the stage before" in result.stderr


def test_colours_are_off_when_piped(folder: Path) -> None:
    assert "\x1b" not in run("convert", ".", cwd=folder).stdout
