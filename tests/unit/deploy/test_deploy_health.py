"""Argo CD's health rule for LLMInferenceService.

Real: the rule, run by a Lua interpreter over objects in the form in which KServe reports them. Not Argo CD's own
interpreter: its sandbox has fewer libraries, and the rule uses only `ipairs` and `string.find`.
"""

from typing import Any

import pytest

from prerequisites import missing
from tuning_room.deploy.texts import HEALTH_RULE


def health(obj: dict[str, Any]) -> tuple[str, str]:
    try:
        from lupa.lua54 import LuaRuntime  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        missing("no lupa; pip install lupa==2.8")
    lua = LuaRuntime(unpack_returned_tuples=True, register_eval=False)
    lua.globals()["obj"] = lua.table_from(obj, recursive=True)
    result = lua.execute(HEALTH_RULE)
    return result["status"], result["message"]


def service(status: str, reason: str = "", message: str = "", seen: int = 2) -> dict[str, Any]:
    ready = {"type": "Ready", "status": status, "reason": reason, "message": message}
    other = {"type": "PresetsCombined", "status": "True"}
    return {"metadata": {"generation": 2}, "status": {"observedGeneration": seen, "conditions": [other, ready]}}


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        ({"metadata": {"generation": 1}}, "Progressing"),
        ({"metadata": {"generation": 1}, "status": {}}, "Progressing"),
        (service("True"), "Healthy"),
        (service("True", seen=1), "Progressing"),
        (service("Unknown"), "Progressing"),
        (service("False", "MinimumReplicasUnavailable"), "Progressing"),
        (service("False", "GatewaysNotReady"), "Progressing"),
        (service("False", "ProgressDeadlineExceeded"), "Degraded"),
        (service("False", "ReconcileSingleNodeWorkloadError"), "Degraded"),
        (service("False", "ConfigNotFound"), "Degraded"),
        (service("False", "RefsInvalid"), "Degraded"),
        (service("False", "InvalidRenderedConfig"), "Degraded"),
        (service("False", "Stopped"), "Suspended"),
    ],
)
def test_status(obj: dict[str, Any], expected: str) -> None:
    assert health(obj)[0] == expected


def test_message_is_kserves_own() -> None:
    assert health(service("False", "CombineBaseError", "no such preset")) == ("Degraded", "no such preset")
