"""Writing files and folders all or nothing, never over what is not ours, and telling them apart by digest."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
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
        with temporary.open("w", encoding="utf-8") as out, naming(path):
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_full(error: BaseException) -> bool:
    """Tell whether an error says that a disk is full; safetensors says so only in its text."""
    quoted = re.search(r"os error (\d+)", str(error))
    number = error.errno if isinstance(error, OSError) else int(quoted.group(1)) if quoted else None
    return number in NO_ROOM


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have the error of a full disk name what was being written, which the system leaves out."""
    try:
        yield
    except Exception as error:
        if not is_full(error) or getattr(error, "filename", None):
            raise
        number = error.errno if isinstance(error, OSError) else errno.ENOSPC
        raise OSError(number, os.strerror(number or errno.ENOSPC), str(path)) from None


LEFTOVER = re.compile(r"\..+\.\d+\.(tmp|old)")  # .<name>.<process>.<what>
Ours = Callable[[Path], bool]


@contextmanager
def atomic_folder(path: Path, ours: Ours) -> Iterator[Path]:
    """Yield an empty folder that replaces `path` only when the block ends without an error.

    A folder that holds something is replaced only if `ours` recognises it; OccupiedError otherwise, before the block
    and, since somebody may have put something there meanwhile, after it. A link stays and what it points to is
    replaced, except of a run: there the link alone is replaced.
    """
    path = _place(path, ours)
    refuse_foreign(path, ours)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        with naming(path):
            yield temporary
        refuse_foreign(path, ours)
        _replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_foreign(path: Path, ours: Ours) -> None:
    """Raise OccupiedError if a folder cannot take this place: something stands there that is not ours to replace."""
    path = _place(path, ours)
    if any(parent.is_file() for parent in path.parents):
        raise OccupiedError(f"{path}: lies below a file", hint="name a new or empty folder")
    if path.is_symlink() or not path.exists() or (path.is_dir() and ours(path)):
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


def _place(path: Path, ours: Ours) -> Path:
    """Return the folder that is replaced: behind a link, unless its place in a run is all that makes it ours."""
    return path.parent.resolve() / path.name if ours is of_a_run else path.resolve()


def holding(name: str) -> Ours:
    """Return the test for folders that hold a file which only we write."""
    return lambda folder: (folder / name).is_file()


def of_a_run(folder: Path) -> bool:
    """Take a folder for ours since it lies in a run folder, which the workspace has recognised; except a repository."""
    return not (folder / ".git").exists()


def _replace(new: Path, path: Path) -> None:
    """Put the folder `new` in the place of `path`, by renames only."""
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    _remove(old)
    if os.path.lexists(path):
        path.rename(old)
    new.rename(path)
    _remove(old)


def _remove(path: Path) -> None:
    """Delete a folder with all that it holds, or a file, or a link but not what it points to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Clean up what a killed process left under temporary names in a folder: the old state wins.

    What a link in it pointed to is put back as well, but nothing is deleted there: others may be at work in that place.
    """
    leftovers = [path for path in folder.rglob(".*") if LEFTOVER.fullmatch(path.name)]
    replaced = [path for path in (*leftovers, *_replaced_behind_links(folder)) if path.suffix == ".old"]
    for old in sorted(replaced, key=lambda path: path.lstat().st_ctime, reverse=True):
        target = _named(old)
        if not os.path.lexists(target):
            old.rename(target)
    for leftover in leftovers:
        _remove(leftover)


def _replaced_behind_links(folder: Path) -> Iterator[Path]:
    for link in folder.rglob("*"):
        if link.is_symlink() and not link.exists():
            target = link.resolve()
            beside = (path for path in target.parent.glob(".*.old") if LEFTOVER.fullmatch(path.name))
            yield from (path for path in beside if _named(path) == target)


def _named(leftover: Path) -> Path:
    return leftover.with_name(leftover.name[1:].rsplit(".", 2)[0])


def shown_path(path: Path) -> str:
    """Return a path as it can be printed: bytes of a name that are not UTF-8 as escapes, such as bad\\xff.md."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def digest(path: Path) -> str:
    """Return the sha256 of a file, or of a folder's files and their names; '' if nothing is there."""
    if path.is_file():
        return _file_digest(path)
    if not path.is_dir():
        return ""
    return digest_of(path, [p for p in path.rglob("*") if p.is_file() and not _is_temporary(p)])


def digest_of(folder: Path, files: Iterable[Path]) -> str:
    """Return the sha256 of some files below a folder and of their names, in whatever order they are given."""
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(f"{file.relative_to(folder).as_posix()} {_file_digest(file)}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def _is_temporary(path: Path) -> bool:
    return path.name.endswith(".tmp") or "__pycache__" in path.parts


def _file_digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def value_digest(value: object) -> str:
    """Return the sha256 of a value as JSON; anything that JSON lacks counts by its text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def text_digest(text: str) -> str:
    """Return the sha256 of a text; '' for no text."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""
