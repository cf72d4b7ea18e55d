"""Checks and metrics: what rules can tell about a reply without a judge, shared by datasets and evaluations.

A recipe names them. A check takes a reply, what the user wrote before it, the gold answer if there is one, and its own
parameters; it returns '' or the reason for a rejection. A metric returns a share between 0 and 1.
"""

from tuning_room.checks.exchange import Check, CheckSettings, Exchange, each
from tuning_room.checks.metrics import CHECK, METRICS, Case, Metric, find_metric
from tuning_room.checks.registry import CHECKS, code, files, find, rejected_by, validate

__all__ = [
    "CHECK",
    "CHECKS",
    "METRICS",
    "Case",
    "Check",
    "CheckSettings",
    "Exchange",
    "Metric",
    "code",
    "each",
    "files",
    "find",
    "find_metric",
    "rejected_by",
    "validate",
]
