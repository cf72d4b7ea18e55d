"""The docs say what the program does: generated parts are up to date, links lead somewhere, commands exist.

Real: the files as they are shipped and the program's own help.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from tuning_room.cli import COMMANDS
from tuning_room.generate.families import ProblemFamily
from tuning_room.generate.situations import Situation

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("recipes/*/README.md"))]


def test_the_generated_parts_are_up_to_date() -> None:
    script = ROOT / "scripts" / "write_docs.py"
    checked = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_section_leads_to_a_heading(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8"))
    assert [f"{file}#{name}" for file, name in links if name not in anchors(page.parent / file if file else page)] == []


def anchors(page: Path) -> set[str]:
    """Return the names by which GitHub links to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("title", "kind"), [("family", ProblemFamily), ("situation", Situation)])
def test_every_key_of_the_rules_has_its_line_in_a_table(title: str, kind: type[BaseModel]) -> None:
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    table = page.split(f"| key of a {title} | meaning |\n")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \| .+ \|$", table, re.MULTILINE)) == set(kind.model_fields)


def test_the_readme_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT).as_posix() for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))]
    assert [page for page in pages if page != "README.md" and f"({page})" not in readme] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_a_page_names_only_commands_and_targets_that_exist(name: str) -> None:
    page = (ROOT / name).read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"^\S*tuning-room ([a-z]+)", page, re.MULTILINE)) <= set(COMMANDS)
    # As code: in a sentence, "make the reader ..." is no target.
    assert set(re.findall(r"(?:^|`|&& )make ([a-z]+)\b", page, re.MULTILINE)) <= set(targets)


def test_the_tree_in_the_readme_names_every_room() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rooms = [p.name for p in (ROOT / "src" / "tuning_room").iterdir() if p.is_dir() and not p.name.startswith("__")]
    assert [room for room in rooms if f"{room}/" not in readme] == []
