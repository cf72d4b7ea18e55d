"""Writing files and folders all or nothing, never over what is not ours, and telling them apart by digest."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tuning_room.errors import OccupiedError


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[str]]:
    """Open a text file for writing; it takes its name only when the block ends without an error.

    A link stays: the file behind it is replaced. OccupiedError for a device or a pipe, which would be.
    """
    path = path.resolve()
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OccupiedError(f"{path}: not a regular file", hint="name a new file")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


LEFTOVER = re.compile(r"\..+\.\d+\.(tmp|old)")  # .<name>.<process>.<what>
Ours = Callable[[Path], bool]


@contextmanager
def atomic_folder(path: Path, ours: Ours) -> Iterator[Path]:
    """Yield an empty folder that replaces `path` only when the block ends without an error.

    A folder that holds something is replaced only if `ours` recognises it; OccupiedError otherwise, before the block
    and, since somebody may have put something there meanwhile, after it. A link stays: what it points to is replaced.
    """
    path = path.resolve()
    refuse_foreign(path, ours)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        refuse_foreign(path, ours)
        _replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_foreign(path: Path, ours: Ours) -> None:
    """Raise OccupiedError if a folder cannot take this place: something stands there that is not ours to replace."""
    path = path.resolve()
    if not path.exists() or (path.is_dir() and ours(path)):
        return
    reason = ""
    if not path.is_dir():
        reason = "is a file"
    elif any(path.iterdir()):
        reason = "holds files that Tuning Room did not write"
    elif Path.cwd() == path:
        reason = "is the current folder"  # whoever stands in it would not see the new one
    if reason:
        raise OccupiedError(f"{path}: {reason}", hint="name a new or empty folder")


def holding(name: str) -> Ours:
    """Return the test for folders that hold a file which only we write."""
    return lambda folder: (folder / name).is_file()


def of_a_run(folder: Path) -> bool:
    """Take a folder for ours since it lies in a run folder, which the workspace has recognised; except a repository."""
    return not (folder / ".git").exists()


def _replace(new: Path, path: Path) -> None:
    """Put the folder `new` in the place of `path`, by renames only."""
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    new.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Clean up what a killed process left under temporary names in a folder: the old state wins."""
    leftovers = [path for path in folder.rglob(".*") if LEFTOVER.fullmatch(path.name)]
    for old in [path for path in leftovers if path.suffix == ".old"]:
        target = old.with_name(old.name[1:].rsplit(".", 2)[0])
        if not target.exists():
            old.rename(target)
    for leftover in leftovers:
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """Return the sha256 of a file, or of a folder's files and their names; '' if nothing is there."""
    if path.is_file():
        return _file_digest(path)
    if not path.is_dir():
        return ""
    total = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file() and not _is_temporary(p)):
        total.update(f"{file.relative_to(path).as_posix()} {_file_digest(file)}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def _is_temporary(path: Path) -> bool:
    return path.name.endswith(".tmp") or "__pycache__" in path.parts


def _file_digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def text_digest(text: str) -> str:
    """Return the sha256 of a text; '' for no text."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""
