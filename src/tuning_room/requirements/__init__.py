"""Requirements: what the full prompt asks, each traced to its words, taught by rows and proven by items."""

from tuning_room.requirements.reading import check_ids, normalized, places, read_requirements
from tuning_room.requirements.records import STAYS, Kind, Requirement, RequirementGate, RowsTaught, held_to

__all__ = [
    "STAYS",
    "Kind",
    "Requirement",
    "RequirementGate",
    "RowsTaught",
    "check_ids",
    "held_to",
    "normalized",
    "places",
    "read_requirements",
]
