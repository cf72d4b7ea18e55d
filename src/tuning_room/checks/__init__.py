"""Checks and metrics: what can be said of a reply without a judge; datasets and evaluations use the same functions.

A recipe names them. A check takes a reply, what the user has written before it, the gold answer if there is one, and
its own parameters; it returns '' or the reason for the rejection. A metric returns a share between 0 and 1.
"""

from tuning_room.checks.exchange import Check, Exchange
from tuning_room.checks.metrics import METRICS, Case, Metric, find_metric
from tuning_room.checks.registry import CHECKS, files, find, rejected_by, validate

__all__ = [
    "CHECKS",
    "METRICS",
    "Case",
    "Check",
    "Exchange",
    "Metric",
    "files",
    "find",
    "find_metric",
    "rejected_by",
    "validate",
]
