"""Judged candidates on disk, so that a dataset of any size fits into memory."""

import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path

from tuning_room.records import Candidate, Rejection


class Spool:
    """Candidates in the order in which they came, each to be had again by its number; 8 bytes of memory a row.

    The file has no name: it is gone when the process ends, however it ends.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as the spool is
        self._starts = array("Q")
        self._end = 0

    def add(self, row: Rejection) -> int:
        """Keep a candidate with the reason against it, '' if there is none yet, and return its number."""
        line = row.model_dump_json().encode() + b"\n"
        self._file.write(line)
        self._starts.append(self._end)
        self._end += len(line)
        return len(self._starts) - 1

    def candidate(self, number: int) -> Candidate:
        """Return one of the candidates."""
        self._file.seek(self._starts[number])
        return Rejection.model_validate_json(self._file.readline()).candidate

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Rejection]:
        position = 0
        while position < self._end:
            # A reader of single candidates may have moved the file meanwhile.
            self._file.seek(position)
            line = self._file.readline()
            position += len(line)
            yield Rejection.model_validate_json(line)

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()
