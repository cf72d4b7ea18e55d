"""Every input that failed once has a test of its right outcome, marked `case`: `pytest -m case` runs them all.

Real: the folder of the cases, and the tests as they are written. It does not prove that a test looks at all of a case.
"""

import ast
from pathlib import Path

import pytest
from cases import CASES


def marked() -> set[str]:
    """Return the cases that the tests beside this one are marked with."""
    calls = (
        node
        for path in Path(__file__).parent.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.case"
    )
    return {name.value for call in calls for name in call.args if isinstance(name, ast.Constant)}


def test_every_case_has_a_test() -> None:
    if not CASES.is_dir():
        pytest.skip(f"{CASES} is not there; TUNING_ROOM_CASES names another folder of cases")
    given = {path.name for path in CASES.iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert given - marked() == set()
