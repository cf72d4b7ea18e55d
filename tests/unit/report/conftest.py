"""Fixtures of the report tests: a fabricated run folder and its report, made once, and a copy to break."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Under every import mode of pytest: the tests import report_samples by its name.
sys.path.insert(0, str(Path(__file__).parent))

from report_samples import report_config, write_run

from tuning_room.report import ReportConfig, run
from tuning_room.workspace import Workspace


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A run with its report: read only."""
    workspace = write_run(tmp_path_factory.mktemp("run"))
    run(report_config(workspace.root), workspace)
    return workspace


@pytest.fixture(scope="session")
def page(finished: Workspace) -> str:
    return finished.report_html.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def data(finished: Workspace) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(finished.report_json.read_text(encoding="utf-8"))
    return content


@pytest.fixture
def workspace(finished: Workspace, tmp_path: Path) -> Iterator[Workspace]:
    """A run without a report, to be changed by the test."""
    root = tmp_path / "run"
    shutil.copytree(finished.root, root, ignore=shutil.ignore_patterns("report.*", "model_card.md"))
    yield Workspace(root)


@pytest.fixture
def config(workspace: Workspace) -> ReportConfig:
    return report_config(workspace.root)
