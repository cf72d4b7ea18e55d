"""Which files of a folder are documents, and why the others are not."""

from pathlib import Path
from typing import NamedTuple

from tuning_room.convert.config import SkippedFile
from tuning_room.errors import DocumentError

# Extension to the value of Docling's InputFormat: those that Docling reads without a model or a network.
FORMATS = {
    ".pdf": "pdf",
    ".pptx": "pptx",
    ".docx": "docx",
    ".html": "html",
    ".htm": "html",
    ".md": "md",
    ".markdown": "md",
    ".txt": "md",
    ".xlsx": "xlsx",
    ".csv": "csv",
    ".adoc": "asciidoc",
    ".asciidoc": "asciidoc",
}


class Source(NamedTuple):
    """A document to convert; `name` is its path below the documents folder, `format` Docling's word for it."""

    path: Path
    name: str
    format: str


class Sources(NamedTuple):
    """The documents of a folder in the order of their names, and the files that are passed over."""

    documents: list[Source]
    skipped: list[SkippedFile]


def find_sources(folder: Path) -> Sources:
    """Return the documents below a folder; DocumentError if there is no folder, or no document in it."""
    if not folder.is_dir():
        raise DocumentError(f"{folder}: no such folder", hint="set 'documents' to the folder with your documents")
    found = Sources([], [])
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        _sort_in(path, path.relative_to(folder), found)
    if not found.documents:
        passed = f" ({len(found.skipped)} files were passed over)" if found.skipped else ""
        raise DocumentError(f"{folder}: no document found{passed}", hint=f"put files of these kinds there: {kinds()}")
    return found


def kinds() -> str:
    """Return the extensions that can be read, for a message."""
    return ", ".join(sorted(extension.lstrip(".") for extension in FORMATS))


def _sort_in(path: Path, relative: Path, found: Sources) -> None:
    name, extension = relative.as_posix(), path.suffix.lower()
    if any(part.startswith((".", "~$")) for part in relative.parts):
        found.skipped.append(SkippedFile(name=name, reason="hidden or temporary file"))
    elif extension not in FORMATS:
        found.skipped.append(SkippedFile(name=name, reason=f"'{extension}' is not a kind that is read"))
    elif path.stat().st_size == 0:
        raise DocumentError(f"{path}: the file is empty", hint="replace it with the real document, or delete it")
    else:
        found.documents.append(Source(path, name, FORMATS[extension]))
