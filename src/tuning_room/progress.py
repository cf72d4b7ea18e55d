"""A progress bar with the time remaining, shown only on a terminal so that piped output stays clean."""

import sys
from types import TracebackType
from typing import Self


class ProgressBar:
    """A context manager that counts steps on stderr; `describe` shows beside the bar what is going on."""

    def __init__(self, name: str, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = [TextColumn(name), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False)]
        console = Console(stderr=True)
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console, disable=not sys.stderr.isatty())
        self._task = self._bar.add_task("", total=total)

    def advance(self, steps: int = 1) -> None:
        """Count steps as done."""
        self._bar.advance(self._task, steps)

    def describe(self, text: str, *, done: int | None = None, total: int | None = None) -> None:
        """Show what is going on, and how far it has got."""
        self._bar.update(self._task, description=text, completed=done, total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
