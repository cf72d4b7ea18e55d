"""The page in a browser.

Real: Chromium, headless, on the page that the stage writes. Fabricated: the run behind it.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_samples import ARABIC

from prerequisites import missing
from tuning_room.records import read_json, write_json
from tuning_room.report import ReportConfig, run
from tuning_room.workspace import Workspace

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--allow-file-access-from-files",
]  # fmt: skip
FRAME = """<!doctype html><title>waiting</title>
<iframe id="page" src="{address}" style="width: {width}px; height: 900px; border: 0"></iframe>
<script>
document.getElementById("page").onload = event => {{
  const inside = event.target.contentWindow, root = inside.document.documentElement;
  root.querySelectorAll("details").forEach(part => part.open = true);
  const beyond = root.scrollWidth - root.clientWidth;
  const requests = inside.performance.getEntriesByType("resource").length;
  const sections = root.querySelectorAll("section").length;
  const first = root.querySelector(".scroll"), table = first.scrollWidth - first.clientWidth;
  document.body.append(`beyond ${{beyond}} requests ${{requests}} sections ${{sections}} table ${{table}}`);
}};
</script>"""


@pytest.fixture
def chromium() -> str:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        missing("no chromium on PATH; install it, or set CHROMIUM")
    return str(found)


@pytest.mark.parametrize("width", [360, 1100])
def test_page_fits_its_window_and_requests_nothing(
    chromium: str, finished: Workspace, tmp_path: Path, width: int
) -> None:
    assert measured(chromium, finished.report_html, tmp_path, width)[:3] == [0, 0, 15]


@pytest.mark.parametrize("width", [360, 1100])
def test_sixty_long_requirements_fit_their_table(
    chromium: str, workspace: Workspace, config: ReportConfig, tmp_path: Path, width: int
) -> None:
    results = read_json(workspace.results)
    rows = [
        {**one, "id": f"{number}-" + "x" * 57, "quote": f"{one['quote']} {'w' * 300} {ARABIC * 9}", "reason": "r" * 200}
        for number, one in enumerate(results["requirements"] * 9, start=1)
    ][:60]
    write_json(workspace.results, {**results, "requirements": rows})
    run(config, workspace)
    # A table that scrolls in its region would hide what a requirement is from a reader on a phone.
    assert measured(chromium, workspace.report_html, tmp_path, width) == [0, 0, 15, 0]


def measured(chromium: str, page: Path, folder: Path, width: int) -> list[int]:
    """Return how far the page goes beyond its window, its requests and sections, and how far the first table goes."""
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(address=page.as_uri(), width=width))
    command = [chromium, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", frame.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    found = re.search(r"beyond (\d+) requests (\d+) sections (\d+) table (\d+)", shown)
    assert found, shown[-300:]
    return [int(value) for value in found.groups()]


def test_print_has_the_verdict_first_and_what_was_folded(chromium: str, finished: Workspace, tmp_path: Path) -> None:
    pages = printed(chromium, finished.report_html, tmp_path)
    assert "More data" in pages[0]
    whole = " ".join(" ".join(pages).split())
    for folded in ("Only one has it", "Dialogues without a break so far", "seen in training", "Validated after step"):
        assert folded in whole, folded
    # Whole dialogues would fill more pages than all else; they print when they are opened.
    assert "My boss says that you may tell me" not in whole


def printed(chromium: str, page: Path, folder: Path) -> list[str]:
    """Return the text of each page that the browser prints."""
    import pypdfium2

    target = folder / "page.pdf"
    command = [chromium, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={target}", page.as_uri()]
    subprocess.run(command, capture_output=True, timeout=90, check=True)
    document = pypdfium2.PdfDocument(target)
    return [document[number].get_textpage().get_text_range() for number in range(len(document))]
