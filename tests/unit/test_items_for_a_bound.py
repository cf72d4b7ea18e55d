"""How many items show a bound: the script, and what the docs have of it.

Real: both. Checked against Wilson's formula and the binomial sums, written out here.
"""

import json
import runpy
import subprocess
import sys
from math import comb, sqrt
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "items_for_a_bound.py"
Z = 1.959964


@pytest.fixture(scope="module")
def ours() -> dict[str, object]:
    return runpy.run_path(str(SCRIPT))


def low(right: int, items: int) -> float:
    rate, share = right / items, Z**2 / items
    return (rate + share / 2 - Z * sqrt(rate * (1 - rate) / items + share / (4 * items))) / (1 + share)


def chance(least: int, items: int, rate: float) -> float:
    return sum(comb(items, n) * rate**n * (1 - rate) ** (items - n) for n in range(least, items + 1))


@pytest.mark.parametrize(
    ("bound", "rate", "items"), [(0.8, 0.9, 112), (0.9, 0.97, 113), (0.95, 0.99, 173), (0.95, 0.97, 68)]
)
def test_a_chance_is_the_binomial_one_beyond_the_first_rate_that_shows_the_bound(
    ours: dict[str, object], bound: float, rate: float, items: int
) -> None:
    least = next((n for n in range(items + 1) if low(n, items) >= bound), items + 1)
    assert ours["fewest_right"](bound, items) == least  # type: ignore[operator]
    assert ours["shown"](bound, rate, items) == pytest.approx(chance(least, items, rate))  # type: ignore[operator]


def test_a_rate_alone_passes_by_luck(ours: dict[str, object]) -> None:
    assert ours["passes"](0.95, 0.93, 68) == pytest.approx(chance(65, 68, 0.93))  # type: ignore[operator]
    assert round(chance(65, 68, 0.93), 2) == 0.29


def test_the_number_needed_is_enough_and_one_fewer_is_not(ours: dict[str, object]) -> None:
    needed = ours["items_needed"](0.9, 0.97)  # type: ignore[operator]
    assert needed == 113
    assert ours["shown"](0.9, 0.97, needed) >= 0.8 > ours["shown"](0.9, 0.97, needed - 1)  # type: ignore[operator]
    assert ours["items_needed"](0.9, 0.9) is None  # type: ignore[operator]
    assert ours["items_needed"](0.9, 0.901) is None  # type: ignore[operator]


def test_the_docs_have_the_tables_that_the_script_prints() -> None:
    printed = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=True).stdout
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert all(table in page for table in printed.strip().split("\n\n"))
    values = json.loads(subprocess.run([sys.executable, str(SCRIPT), "--json"], capture_output=True, check=True).stdout)
    assert values["needed"]["1.0"] == {"0.8": 16, "0.9": 35, "0.95": 73}
