"""What a test does whose prerequisite is not there: fail where everything is to be installed, else skip and say why."""

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Fail where CI is set, since everything is installed there; skip with the reason elsewhere."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def missing_for_slow(reason: str, config: pytest.Config) -> NoReturn:
    """Fail where CI has asked for the slow tests; skip elsewhere, also where other tests were asked for."""
    if "slow" in str(config.getoption("markexpr")).replace("not slow", ""):
        missing(reason)
    pytest.skip(reason)
