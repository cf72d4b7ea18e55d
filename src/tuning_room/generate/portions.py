"""How many rows go through a flow at once."""

from collections.abc import Iterator
from typing import Any

from tuning_room.generate.config import TeacherConfig

ROUNDS = 4  # of requests in a portion of rows: enough that waiting for its last reply costs little


def portions(rows: list[dict[str, Any]], teacher: TeacherConfig) -> Iterator[list[dict[str, Any]]]:
    """Yield all rows at once or, under a budget, a few at a time.

    A flow takes all its rows through one step before the next: under a budget it would pay for every question and have
    nothing left for the answers.
    """
    size = teacher.concurrency * ROUNDS if teacher.has_budget else max(len(rows), 1)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
