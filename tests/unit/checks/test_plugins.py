"""Checks and metrics of other packages. Real: a package that pip installs, found by its entry point."""

import json
import subprocess
import sys
from importlib import metadata
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from tuning_room.checks import Case, Exchange, Metric, find_metric, metrics, plugins, registry, rejected_by, validate
from tuning_room.errors import RecipeError

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "dataset.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """Return the file of this name that the docs show."""
    return PAGE.split(f"`{name}`:\n```")[1].split("\n", 1)[1].split("```")[0]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip has installed the package of the docs."""
    source, target = tmp_path_factory.mktemp("polite"), tmp_path_factory.mktemp("site")
    for name in ("polite.py", "pyproject.toml"):
        (source / name).write_text(example(name), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", target, source], check=True, capture_output=True)
    return target


PROGRAM = """
import json, sys
from tuning_room.checks import CHECKS, Exchange, rejected_by, validate
checks = {"polite": {"word": "please"}}
validate(checks)
print(json.dumps([rejected_by(checks, Exchange(reply, "Hi")) for reply in ("Add 3.", "Add 3, please.")]))
print("polite" in CHECKS)
"""


def test_the_package_of_the_docs_offers_its_check(installed: Path) -> None:
    paths = f"{installed}:{ROOT / 'src'}"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env={"PYTHONPATH": paths}
    )
    rejections, known = done.stdout.splitlines()
    assert json.loads(rejections) == [["polite", "does not say 'please'"], ["", ""]]
    assert known == "False"


def test_the_example_is_as_short_as_it_should_be() -> None:
    assert len(example("polite.py").splitlines()) + len(example("pyproject.toml").splitlines()) <= 16


def offer(monkeypatch: pytest.MonkeyPatch, *values: str, name: str = "odd", kind: str = "check") -> None:
    """Let packages offer a check or a metric; the entry points are real, no package is installed."""
    group = f"tuning_room.{kind}s"
    entries = [metadata.EntryPoint(name, value, group) for value in values]

    def asked(group: str, name: str = "") -> list[metadata.EntryPoint]:
        return [entry for entry in entries if entry.group == group and name in ("", entry.name)]

    monkeypatch.setattr(plugins, "entry_points", asked)
    _clear()


def _clear() -> None:
    registry._plugin.cache_clear()
    metrics._plugin.cache_clear()


@pytest.fixture(autouse=True)
def _forget() -> Any:
    yield
    _clear()


def raises(exchange: Exchange, *, kind: str = "") -> str:
    raise KeyError("gone")


def gives_a_number(exchange: Exchange) -> int:
    return 3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["no_such_package:check"], "cannot be loaded: No module named 'no_such_package'"),
        (["json:no_such"], "cannot be loaded"),
        ([f"{__name__}:raises"], "KeyError: 'gone'"),
        ([f"{__name__}:gives_a_number"], "returned 3"),
        (["json:dumps", "json:loads"], "several packages offer it \\(json:dumps, json:loads\\)"),
    ],
)
def test_a_plug_in_that_cannot_be_used_is_named(values: list[str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, *values)
    with pytest.raises(RecipeError, match=words) as caught:
        validate({"odd": {}})
    assert "'odd'" in str(caught.value) and caught.value.hint


def test_a_check_of_ours_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, f"{__name__}:raises", name="length")
    assert rejected_by({"length": {}}, Exchange("What is 3 x 4?", "3 x 4")) == ("", "")


def reads(exchange: Exchange, *, words: Path, least: int = 1) -> str:
    return ""


def test_the_parameters_of_a_plug_in_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # A recipe's paths are resolved by the annotations of the check that takes them.
    offer(monkeypatch, f"{__name__}:reads")
    parameters = signature(registry.find("odd")).parameters
    assert {name: given.annotation for name, given in parameters.items()} == {
        "exchange": Exchange,
        "words": Path,
        "least": int,
    }


def test_a_misspelt_check_is_told_what_plug_ins_offer(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, f"{__name__}:raises")
    with pytest.raises(RecipeError, match=r"choose from .*odd"):
        validate({"od": {}})


POLITE = Metric(lambda reply, case: float("please" in reply), True, "Is polite", "is polite", "is curt")
TWO = Metric(lambda reply, case: 2.0, True, "Two", "two", "not two")
NATS = Metric(lambda reply, case: 1.0, True, "Nats", "far", "near", is_share=False)
BROKEN = Metric(lambda reply, case: 1 / 0, True, "Broken", "broken", "whole")


def test_a_package_can_offer_a_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, f"{__name__}:POLITE", name="polite", kind="metric")
    metric = find_metric("polite")
    assert metric.score is not None and metric.higher_is_better and metric.title == "Is polite"
    assert [metric.score(reply, Case("")) for reply in ("Add 3, please.", "Add 3.")] == [1, 0]
    assert Path(__file__) in plugins.source_files("metric", ["polite", "asks"])
    with pytest.raises(RecipeError, match=r"choose from .*polite"):
        find_metric("pollite")


def test_the_sources_of_a_plug_in_without_a_module_file_are_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder without __init__.py is a package without a file.
    (tmp_path / "folder_alone").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    offer(monkeypatch, "folder_alone:check")
    assert plugins.source_files("check", ["odd"]) == [tmp_path / "folder_alone"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raises", "not a tuning_room.checks.Metric"),
        ("TWO", "returned 2.0, not a share between 0 and 1"),
        ("BROKEN", "ZeroDivisionError"),
        ("NATS", "is_share is false"),
    ],
)
def test_a_metric_that_cannot_be_used_is_named(name: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, f"{__name__}:{name}", kind="metric")
    with pytest.raises(RecipeError, match=words) as caught:
        metric = find_metric("odd")
        assert metric.score is not None
        metric.score("Hello", Case(""))
    assert "metric 'odd'" in str(caught.value) and caught.value.hint


def test_a_metric_of_ours_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, f"{__name__}:BROKEN", name="asks", kind="metric")
    assert find_metric("asks") is metrics.METRICS["asks"]


def test_the_code_of_a_plug_in_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "no_such_package.sub:metric", kind="metric")
    with pytest.raises(RecipeError, match="metric 'odd' of the plug-in no_such_package"):
        plugins.source_files("metric", ["odd"])


def test_the_example_of_the_docs_is_a_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    program = page.split("## Metrics of your own")[1].split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(compile(program, "docs", "exec"), names)
    score = names["says_please"].score
    assert [score(reply, Case("")) for reply in ("Add 3, please.", "Add 3.")] == [1, 0]
