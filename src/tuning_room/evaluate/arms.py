"""The arms: four ways to serve, and proof of what each of them was."""

import hashlib
from typing import NamedTuple

from tuning_room.evaluate.config import Arm, EvaluateConfig

BASE, ADAPTER = "base", "adapter"


class ArmSetup(NamedTuple):
    """Which model answers under which system turn."""

    name: str
    model: str
    system: str


class Identity(NamedTuple):
    """What an arm was, by digests (sha256): no side of a comparison can be the wrong model unnoticed."""

    base_model: str
    adapter: str
    system_prompt: str
    system_tokens: int


def setup(arm: Arm, config: EvaluateConfig) -> ArmSetup:
    """Return an arm's model and system turn."""
    full = config.full_prompt.read_text(encoding="utf-8").strip()
    table = {
        "base": ArmSetup("base", BASE, ""),
        "prompted": ArmSetup("prompted", BASE, full),
        "baked": ArmSetup("baked", ADAPTER, config.short_prompt),
        "baked_prompted": ArmSetup("baked_prompted", ADAPTER, full),
    }
    return table[arm]


def identity(arm: ArmSetup, base_digest: str, adapter_digest: str, system_tokens: int) -> Identity:
    """Return the digests of an arm's parts; '' stands for a part that it does not have."""
    prompt = hashlib.sha256(arm.system.encode()).hexdigest() if arm.system else ""
    return Identity(base_digest, adapter_digest if arm.model == ADAPTER else "", prompt, system_tokens)
