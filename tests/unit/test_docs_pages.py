"""The pages that name code: their examples run, what they name exists, the list of licences is whole.

Real: the pages, the source, the examples' own documents and models. Nothing is faked.
"""

import ast
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tuning_room.workspace import Workspace

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "tuning_room"
DOCS = ROOT / "docs"
NAMING = [DOCS / "architecture.md", DOCS / "walkthrough.md"]


def examples(kind: str) -> list[str]:
    text = (DOCS / "python-api.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_python_api_run(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    program = "\n".join(examples("python"))
    assert "run_stage(" in program
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\d+ documents, \d+ chunks in ", done.stdout, re.MULTILINE)


def test_the_examples_that_take_minutes_compile_and_import_what_there_is() -> None:
    found = examples("python no-run")
    assert len(found) == 2
    for program in found:
        tree = ast.parse(program)
        tree.body = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        exec(compile(tree, "python-api.md", "exec"), {})


@pytest.mark.parametrize("page", NAMING, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    files = set(re.findall(r"`(?:src/tuning_room/)?([\w/]+\.py)(?::[\w.]+)?`", page.read_text(encoding="utf-8")))
    assert len(files) > 4
    assert sorted(file for file in files if not any((folder / file).is_file() for folder in (PACKAGE, ROOT))) == []


def test_every_function_that_the_walkthrough_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.py):([\w.]+)`", (DOCS / "walkthrough.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    assert [f"{file}:{name}" for file, name in named if name not in defined(PACKAGE / file)] == []


def defined(file: Path) -> set[str]:
    """Return the functions and classes at a file's top, and the methods as Class.method."""
    if not file.is_file():
        return set()
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found |= {node.name, *(f"{node.name}.{inner.name}" for inner in node.body if hasattr(inner, "name"))}
    return found


def test_every_room_is_on_the_page_of_the_architecture() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rooms = [path.name for path in PACKAGE.iterdir() if path.is_dir() and not path.name.startswith("__")]
    assert [room for room in rooms if f"`{room}/`" not in page] == []


def test_the_picture_names_the_run_folders_files_and_all_stages() -> None:
    boxes = {name for name, *_ in runpy.run_path(str(ROOT / "scripts" / "draw_architecture.py"))["BOXES"]}
    space = Workspace(Path("run"))
    folders = (space.train_rows.parent, space.adapter, space.deploy)
    files = (space.chunks, space.candidates, space.results, space.report_html)
    assert {f"{folder.name}/" for folder in folders} | {file.name for file in files} <= boxes
    assert {path.parent.name for path in PACKAGE.glob("*/config.py")} - {"advise"} <= boxes
    assert (DOCS / "images" / "architecture.svg").stat().st_size > 1000


def test_every_pinned_package_is_on_the_list_of_licences() -> None:
    script = ROOT / "scripts" / "write_licences.py"
    checked = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    rows = re.findall(r"^\| ([\w.-]+) \| (\S+) \| (.+) \|$", (DOCS / "third-party.md").read_text(), re.MULTILINE)
    pinned = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert {(name, version) for name, version, _ in rows} >= set(pinned)
