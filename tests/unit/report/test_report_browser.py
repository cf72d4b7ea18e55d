"""The page in a browser.

Real: Chromium, headless, on the page that the stage writes. Fabricated: the run behind it.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_samples import missing

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
  const beyond = root.scrollWidth - root.clientWidth;
  const requests = inside.performance.getEntriesByType("resource").length;
  const sections = root.querySelectorAll("section").length;
  document.body.append(`beyond ${{beyond}} requests ${{requests}} sections ${{sections}}`);
}};
</script>"""


@pytest.fixture
def chromium() -> str:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        missing("no chromium on PATH; install it, or set CHROMIUM")
    return str(found)


@pytest.mark.parametrize("width", [375, 1100])
def test_page_fits_its_window_and_requests_nothing(
    chromium: str, finished: Workspace, tmp_path: Path, width: int
) -> None:
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(address=finished.report_html.as_uri(), width=width))
    command = [chromium, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", frame.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    found = re.search(r"beyond (\d+) requests (\d+) sections (\d+)", shown)
    assert found, shown[-300:]
    assert [int(value) for value in found.groups()] == [0, 0, 10]
