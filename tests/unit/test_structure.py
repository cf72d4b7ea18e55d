"""scripts/structure.py against a small package whose figures are known by hand. Real: the script, its command line."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "structure.py"

FILES = {
    "__init__.py": "",
    "top.py": """\
from typing import TYPE_CHECKING, Any

from shop.cellar import wine
from shop.cellar.wine import _cork

if TYPE_CHECKING:
    from shop.cellar import barrel


class Bottle:
    # how many hold a line of their own: this one
    def fill(self, what: "dict[str, Any]") -> None:
        self._drink()  # and this one does not

    def _drink(self) -> None:
        '''
        # nor does a line of a string
        '''
""",
    "cellar/__init__.py": "",
    "cellar/wine.py": """\
def _cork() -> int:
    from . import barrel
    return _twice(1) + _twice(2) + barrel.SIZE


def _twice(n: int) -> int:
    return _twice(n) if n > 2 else 2 * n
""",
    "cellar/barrel.py": "from shop.cellar import hoop\n\nSIZE = hoop.SIZE\n\n\nclass Bottle: ...\n",
    "cellar/hoop.py": "SIZE = 3\n",
    "cellar/config.py": "",
    "cellar/ring_a.py": "from . import ring_b\nfrom . import config\n",
    "cellar/ring_b.py": "def late():\n    from . import ring_a\n",
    "yard/__init__.py": "from importlib import import_module\n\nimport_module('shop.yard.gate')\n",
    "yard/gate.py": "import shop.yard\nimport json\n",
    "cli/__init__.py": "",
    "cli/run.py": "def command(name):\n    return name\n",
    "cli/options.py": "import shop.cli.run\n",
}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / "shop" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "shop"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True)


def figures(folder: Path) -> dict[str, Any]:
    done = run(folder, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)[folder.name]
    return found


def test_sizes(shop: Path) -> None:
    found = figures(shop)
    assert found["files"] == len(FILES)
    assert found["lines"] == sum(text.count("\n") for text in FILES.values())
    # fill 2, _drink 4, _cork 3, _twice 2, late 2, command 2: in order 2 2 2 2 3 4.
    assert found["functions"] == 6
    assert (found["function_lines_median"], found["function_lines_p90"]) == (2, 4)


def test_shares(shop: Path) -> None:
    found = figures(shop)
    assert found["any_percent"] == round(100 / 6, 1)  # in `fill`, as a string
    assert found["comment_percent"] == round(100 / found["lines"], 1)


def test_depth_with_and_without_inner_imports(shop: Path) -> None:
    found = figures(shop)
    # At the top: top, wine; ring_a, ring_b; barrel, hoop. With the inner one: top, wine, barrel, hoop.
    assert (found["depth_top"], found["depth"]) == (2, 4)


def test_private_functions(shop: Path) -> None:
    found = figures(shop)
    # _drink and _cork are used once, the latter in another module; _twice twice, and by itself.
    assert (found["private_functions"], found["private_used_once"]) == (3, 2)


def test_small_modules_with_one_importer_in_their_room(shop: Path) -> None:
    # Not wine (its importer is in another room), barrel (two importers), config.py and the command.
    assert figures(shop)["small_one_importer"] == [
        "cellar/hoop.py (1 lines, for cellar/barrel.py)",
        "cellar/ring_a.py (2 lines, for cellar/ring_b.py)",
        "cellar/ring_b.py (2 lines, for cellar/ring_a.py)",
        "yard/gate.py (2 lines, for yard/__init__.py)",
    ]


def test_circles(shop: Path) -> None:
    found = figures(shop)
    assert found["circles"] == [["shop.cellar.ring_a", "shop.cellar.ring_b"]]
    assert found["circles_behind_init"] == [["shop.yard", "shop.yard.gate"]]


def test_a_circle_that_only_shows_when_the_package_around_a_module_is_run(shop: Path) -> None:
    (shop / "yard" / "post.py").write_text("")
    (shop / "yard" / "gate.py").write_text("import shop.cellar.config\n")
    (shop / "cellar" / "config.py").write_text("import shop.yard.post\n")
    assert figures(shop)["circles_behind_init"] == [["shop.cellar.config", "shop.yard", "shop.yard.gate"]]


def test_class_names_of_two_modules(shop: Path) -> None:
    assert figures(shop)["classes_twice"] == {"Bottle": ["cellar/barrel.py", "top.py"]}


def test_the_table_puts_packages_side_by_side_and_names_what_should_go(shop: Path) -> None:
    done = run(shop, shop.parent / "shop" / "cellar")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["shop", "cellar"]
    assert "  Bottle: cellar/barrel.py, top.py" in done.stdout


def test_a_folder_without_python_is_an_error(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 2
    assert "no Python file in" in done.stderr
