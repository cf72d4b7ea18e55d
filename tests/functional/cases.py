"""Small inputs that failed once, each with what is right; they are kept beside the project, not in it."""

import os
import shutil
from pathlib import Path

import pytest

CASES = Path(os.environ.get("TUNING_ROOM_CASES", Path(__file__).parents[3] / "shared" / "cases"))


def case(name: str, folder: Path) -> Path:
    """Return a copy of a case in an empty folder, with the rules that its recipe names; skip where there is none."""
    if not (CASES / name).is_dir():
        pytest.skip(f"{CASES / name} is not there; TUNING_ROOM_CASES names another folder of cases")
    shutil.copytree(CASES / name, folder / name, symlinks=True)
    shutil.copytree(CASES / "_rules", folder / "_rules", dirs_exist_ok=True)
    return folder / name
