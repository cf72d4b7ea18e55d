"""The two lists of pinned packages. Real here: the metadata of the packages that are installed."""

import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
# What a package declares and the product's use of it does not need.
UNUSED = {("training-hub", "pytest")}


def pinned(file: str) -> set[str]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(match.group()) for line in lines if (match := re.match(r"[\w.-]+", line))}


def needed(package: str) -> set[str]:
    try:
        declared = [Requirement(text) for text in requires(package) or []]
    except PackageNotFoundError:
        pytest.fail(f"{package} is pinned but not installed: run 'make install'")
    plain = [one for one in declared if one.marker is None or one.marker.evaluate({"extra": ""})]
    return {canonicalize_name(one.name) for one in plain}


def test_the_demo_needs_nothing_that_only_the_tests_install() -> None:
    for_tests = pinned("requirements-dev.txt") - pinned("requirements.txt")
    found = {(package, name) for package in pinned("requirements.txt") for name in needed(package) & for_tests}
    assert found <= UNUSED
