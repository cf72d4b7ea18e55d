"""The arms: which model answers under which system turn."""

from typing import NamedTuple

from tuning_room.evaluate.config import Endpoint, EvaluateConfig
from tuning_room.gates import Arm

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


def setup(arm: Arm, config: EvaluateConfig) -> ArmSetup:
    """Return an arm's model and system turn."""
    full = config.full_prompt.read_text(encoding="utf-8").strip()
    models = {"base": BASE, "prompted": BASE, "baked": ADAPTER, "baked_prompted": ADAPTER, "reference": "reference"}
    systems = {"base": "", "baked": config.short_prompt}
    endpoint = config.endpoints.get(arm)
    return ArmSetup(arm, endpoint.model if endpoint else models[arm], systems.get(arm, full), endpoint)
