"""Which files of a folder are documents, and why the others are not."""

from collections.abc import Iterable, Mapping
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
    ".tex": "latex",
}
# Those whose text has to be recognised.
IMAGES = {".png": "image", ".jpg": "image", ".jpeg": "image", ".tif": "image", ".tiff": "image"}


class Source(NamedTuple):
    """A document to convert; `name` is its path below the documents folder, `format` Docling's word for it."""

    path: Path
    name: str
    format: str


class Task(NamedTuple):
    """A document to convert, the folder that its conversion is kept in, and the sha256 of its content."""

    source: Source
    folder: Path
    digest: str


class Sources(NamedTuple):
    """The documents of a folder in the order of their names, and the files that are passed over."""

    documents: list[Source]
    skipped: list[SkippedFile]


def find_sources(folder: Path | None, *, images: bool) -> Sources:
    """Return the documents below a folder, with or without images; DocumentError if there is no folder or document."""
    # A recipe without documents is baked from its prompt alone.
    if folder is None:
        return Sources([], [])
    if not folder.is_dir():
        raise DocumentError(f"{folder}: no such folder", hint="set 'documents' to the folder with your documents")
    found, formats = Sources([], []), {**FORMATS, **(IMAGES if images else {})}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        _sort_in(path, path.relative_to(folder), found, formats)
    if not found.documents:
        passed = f" ({len(found.skipped)} files were passed over)" if found.skipped else ""
        raise DocumentError(
            f"{folder}: no document found{passed}", hint=f"put files of these kinds there: {kinds(formats)}"
        )
    return found


def kinds(formats: Iterable[str]) -> str:
    """Return extensions for a message."""
    return ", ".join(sorted(extension.lstrip(".") for extension in formats))


def _sort_in(path: Path, relative: Path, found: Sources, formats: Mapping[str, str]) -> None:
    name, extension = relative.as_posix(), path.suffix.lower()
    if any(part.startswith((".", "~$")) for part in relative.parts):
        found.skipped.append(SkippedFile(name=name, reason="hidden or temporary file"))
    elif extension in IMAGES and extension not in formats:
        found.skipped.append(SkippedFile(name=name, reason="an image, and text recognition is off ('ocr: false')"))
    elif extension not in formats:
        found.skipped.append(SkippedFile(name=name, reason=f"'{extension}' is not a kind that is read"))
    else:
        found.documents.append(Source(path, name, formats[extension]))
