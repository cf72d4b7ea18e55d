"""The rules of the house, read from the source: who imports whom, who knows what, and what stays cheap."""

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "tuning_room"
MODULES = sorted(PACKAGE.rglob("*.py"))
STAGES = {"advise", "convert", "generate", "dataset", "train", "evaluate", "report", "serve", "deploy"}
KNOW_STAGES = {"recipe", "trainings", "cli", ""}
HEAVY = ["torch", "pydantic", "docling", "transformers"]
EXAMPLE = re.compile(r"socratic|tutor|canopy|helpdesk|triage|beacon", re.IGNORECASE)
POINTER = "recipes/socratic-tutor"  # help and hints may point to the recipe that ships, and to nothing in it


def short(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def room(module: Path) -> str:
    """Return the part of the package that a module belongs to; '' for the package's own __init__."""
    first = module.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


def imported(module: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports anywhere, also inside functions, relatively or by import_module."""
    package = ["tuning_room", *module.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and "import_module" in ast.dump(node.func):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant))


def rooms_imported(module: Path) -> set[str]:
    dotted = (name.split(".") for name in imported(module))
    return {parts[1] for parts in dotted if parts[0] == "tuning_room" and len(parts) > 1}


def test_the_stages_are_there() -> None:
    assert {module.parent.name for module in MODULES if module.name == "config.py"} == STAGES


@pytest.mark.parametrize("module", MODULES, ids=short)
def test_only_recipe_and_command_line_know_several_stages(module: Path) -> None:
    if room(module) in KNOW_STAGES:
        return
    others = rooms_imported(module) & (STAGES | {"recipe", "cli"}) - {room(module)}
    assert not others, f"{short(module)} imports {', '.join(sorted(others))}"


def test_the_rules_would_see_an_import() -> None:
    assert {"convert", "deploy", "train"} <= rooms_imported(PACKAGE / "recipe.py")
    assert "serve" in rooms_imported(PACKAGE / "cli" / "chat.py")


def said(module: Path) -> Iterator[str]:
    """Yield a module's names and strings, docstrings too."""
    for node in ast.walk(tree(module)):
        for field in ("id", "attr", "arg", "name", "asname"):
            if isinstance(text := getattr(node, field, None), str):
                yield text
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("module", MODULES, ids=short)
def test_no_module_knows_the_example(module: Path) -> None:
    assert not EXAMPLE.search(short(module))
    found = [text for text in said(module) if EXAMPLE.search(text.replace(POINTER, ""))]
    assert not found


def test_no_template_style_or_flow_knows_the_example() -> None:
    kinds = {".j2", ".css", ".yaml", ".txt", ".md", ".json"}
    data = [path for path in PACKAGE.rglob("*") if path.suffix in kinds]
    assert data
    assert not [short(path) for path in data if EXAMPLE.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("module", MODULES, ids=short)
def test_a_module_says_what_it_is_for(module: Path) -> None:
    assert ast.get_docstring(tree(module))


@pytest.mark.parametrize("module", MODULES, ids=short)
def test_a_module_is_of_a_size_to_be_read(module: Path) -> None:
    # docs/decisions/2026-11-27-cap-of-500-lines.md
    assert len(module.read_text(encoding="utf-8").splitlines()) <= 500
    assert "utils" not in module.stem


def loaded_by(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_help_costs_nothing() -> None:
    assert not loaded_by("import tuning_room.cli") & {*HEAVY, "yaml", "rich", "numpy"}
    assert "tuning_room.recipe" not in loaded_by("import tuning_room")


def test_reading_a_recipe_loads_no_engine() -> None:
    loaded = loaded_by("import tuning_room.recipe")
    assert "pydantic" in loaded
    assert not loaded & {"torch", "transformers", "docling", "sdg_hub", "training_hub", "lm_eval", "peft", "numpy"}


@pytest.mark.parametrize("name", ["Done", "Recipe", "Workspace", "bake", "load_recipe", "run_stage"])
def test_the_package_offers_what_it_names(name: str) -> None:
    import tuning_room

    assert name in tuning_room.__all__
    assert getattr(tuning_room, name).__name__ == name


def test_the_package_offers_nothing_else() -> None:
    import tuning_room

    with pytest.raises(AttributeError, match="'shop'"):
        _ = tuning_room.shop


def test_no_two_test_files_have_one_name() -> None:
    # pytest imports them by their name alone.
    names = Counter(path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py")
    assert not [name for name, count in names.items() if count > 1]


# A small module with one importer in its room, and the reason that it stands alone.
ALONE: dict[str, str] = {}
# Modules on the longest chain of imports: of those at the top, and of those inside functions as well.
DEEPEST = (12, 18)


def test_the_house_stays_simple() -> None:
    line = [sys.executable, str(ROOT / "scripts" / "structure.py"), "--json"]
    measured = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(measured)["tuning_room"]
    assert [module for module in found["small_one_importer"] if module.split()[0] not in ALONE] == []
    assert found["circles"] == found["circles_behind_init"] == []
    assert found["classes_twice"] == {}
    assert found["depth_top"] <= DEEPEST[0] and found["depth"] <= DEEPEST[1]
