"""Writing files and folders so that they are whole or absent, and telling them apart by digest."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[str]]:
    """Open a text file for writing; it takes its name only when the block ends without an error."""
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


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `path` only when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(new: Path, path: Path) -> None:
    """Put the folder `new` in the place of `path`, by renames only."""
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    new.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Undo what a killed process left under temporary names in a folder: the old state wins."""
    for old in folder.rglob(".*.old"):
        target = old.with_name(old.name[1:].rsplit(".", 2)[0])
        if not target.exists():
            old.rename(target)
    for leftover in [*folder.rglob(".*.tmp"), *folder.rglob(".*.old")]:
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """Return the sha256 of a file, or of a folder's files with their names; '' if there is none."""
    if path.is_file():
        return _file_digest(path)
    if not path.is_dir():
        return ""
    total = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file() and not _is_passing(p)):
        total.update(f"{file.relative_to(path).as_posix()} {_file_digest(file)}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def _is_passing(path: Path) -> bool:
    return path.name.endswith(".tmp") or "__pycache__" in path.parts


def _file_digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
