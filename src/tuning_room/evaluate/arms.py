"""The arms: ways to serve, and proof of what each of them was."""

import hashlib
from typing import NamedTuple

from tuning_room.evaluate.config import Endpoint, EvaluateConfig
from tuning_room.evaluate.gates import Arm

BASE, ADAPTER = "base", "adapter"


class ArmSetup(NamedTuple):
    """Which model answers under which system turn, in this process or at a server."""

    name: str
    model: str
    system: str
    endpoint: Endpoint | None = None

    @property
    def has_adapter(self) -> bool:
        """Whether the run's adapter answers in this process; a server's model may have any name."""
        return self.model == ADAPTER and self.endpoint is None


class Identity(NamedTuple):
    """What an arm was, by digests (sha256): no side of a comparison can be the wrong model unnoticed.

    `rendered` is the digest of a question under the arm's system turn as the model sees it. `adapter_moves` is how far
    the adapter moves the model, in nats a token on neutral texts, which is 0 for one that is not applied; None where
    that was not measured. An arm at a server has its address instead of digests of weights.
    """

    base_model: str
    adapter: str
    system_prompt: str
    system_tokens: int
    rendered: str = ""
    adapter_moves: float | None = None
    endpoint: str = ""


def setup(arm: Arm, config: EvaluateConfig) -> ArmSetup:
    """Return an arm's model and system turn."""
    full = config.full_prompt.read_text(encoding="utf-8").strip()
    models = {"base": BASE, "prompted": BASE, "baked": ADAPTER, "baked_prompted": ADAPTER, "reference": "reference"}
    systems = {"base": "", "baked": config.short_prompt}
    endpoint = config.endpoints.get(arm)
    return ArmSetup(arm, endpoint.model if endpoint else models[arm], systems.get(arm, full), endpoint)


def sha256(text: str) -> str:
    """Return a text's sha256, '' for no text."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""
