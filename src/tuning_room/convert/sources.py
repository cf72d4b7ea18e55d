"""The files of the documents folder: which are documents, and what is wrong with one before Docling opens it."""

import codecs
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tuning_room.convert.config import ConvertConfig, SkippedFile
from tuning_room.convert.csv_files import WESTERN, is_western
from tuning_room.errors import DocumentError
from tuning_room.files import shown_path

# Plain text, for which Docling has no word: it would read it as Markdown.
TEXT = "text"
# Extension to the value of Docling's InputFormat: those that Docling reads without a model or a network.
FORMATS = {
    ".pdf": "pdf",
    ".pptx": "pptx",
    ".docx": "docx",
    ".html": "html",
    ".htm": "html",
    ".md": "md",
    ".markdown": "md",
    ".txt": TEXT,
    ".xlsx": "xlsx",
    ".csv": "csv",
    ".adoc": "asciidoc",
    ".asciidoc": "asciidoc",
    ".tex": "latex",
}
# Those whose text has to be recognised.
IMAGES = {".png": "image", ".jpg": "image", ".jpeg": "image", ".tif": "image", ".tiff": "image"}

MEGABYTE = 1_000_000
HEAD_BYTES = 1024
TEXT_FORMATS = {TEXT, "md", "html", "csv", "asciidoc", "latex"}
OFFICE = {"docx": "word/", "pptx": "ppt/", "xlsx": "xl/"}
MAGIC = {
    "pdf": (b"%PDF-",),
    "zip": (b"PK\x03\x04",),
    "ole": (bytes.fromhex("d0cf11e0a1b11ae1"),),
    "png": (b"\x89PNG\r\n\x1a\n",),
    "jpeg": (b"\xff\xd8\xff",),
    "tiff": (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),
    "gif": (b"GIF8",),
}
IMAGE_KINDS = ("png", "jpeg", "tiff")
# UTF-32 first: its little-endian mark begins with that of UTF-16.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]+)""")
REPLACE = "replace it with the real document, or delete it"


class Source(NamedTuple):
    """A document to convert; `name` is its path below the documents folder, `format` Docling's word for it, or TEXT."""

    path: Path
    name: str
    format: str


class Sources(NamedTuple):
    """The documents of a folder in the order of their names, and the files that are skipped."""

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
        skipped = f" ({len(found.skipped)} files were skipped)" if found.skipped else ""
        kinds = ", ".join(sorted(extension.lstrip(".") for extension in formats))
        raise DocumentError(f"{folder}: no document found{skipped}", hint=f"add files of these types: {kinds}")
    return found


def _sort_in(path: Path, relative: Path, found: Sources, formats: Mapping[str, str]) -> None:
    name, extension = relative.as_posix(), path.suffix.lower()
    if (shown := shown_path(path)) != str(path):
        raise DocumentError(f"{shown}: the name is not UTF-8", hint="give the file or its folder another name")
    if any(part.startswith((".", "~$")) for part in relative.parts):
        found.skipped.append(SkippedFile(name=name, reason="hidden or temporary file"))
    elif extension in IMAGES and extension not in formats:
        found.skipped.append(SkippedFile(name=name, reason="an image, and text recognition is off ('ocr: false')"))
    elif extension not in formats:
        found.skipped.append(SkippedFile(name=name, reason=f"'{extension}' files are not supported"))
    else:
        found.documents.append(Source(path, name, formats[extension]))


def inspect(source: Source, config: ConvertConfig) -> None:
    """Raise DocumentError for a file that must not be given to Docling, or that it would misread."""
    path, size = source.path, source.path.stat().st_size
    if size == 0:
        raise DocumentError(f"{path}: the file is empty", hint=REPLACE)
    # A text is read as a whole, and takes far longer than a file of pages of the same size.
    is_text = source.format in TEXT_FORMATS and config.max_text_mb < config.max_file_mb
    name, limit = ("max_text_mb", config.max_text_mb) if is_text else ("max_file_mb", config.max_file_mb)
    if size > limit * MEGABYTE:
        raise DocumentError(
            f"{path}: {size / MEGABYTE:.1f} MB is over the limit of {limit} MB", hint=f"split it, or raise '{name}'"
        )
    found = content_kind(path)
    if found == "ole" and source.format in OFFICE:
        # Office formats are zip archives; with a password they are wrapped in a container of the older kind.
        raise DocumentError(f"{path}: the document is encrypted", hint="save a copy without a password")
    if not _fits(source.format, found):
        raise DocumentError(
            f"{path}: the content is {found or 'of an unknown kind'}, not {source.format}",
            hint="give the file the right extension",
        )
    if found in OFFICE:
        _check_archive(path, config.max_unpacked_mb)
    if source.format in TEXT_FORMATS:
        content = path.read_bytes()
        if source.format != "csv" or not is_western(content):
            check_encoding(path, content, is_html=source.format == "html")


def content_kind(path: Path) -> str:
    """Return what a file's first bytes say it is: a key of MAGIC, an Office format, or '' if they say nothing."""
    with path.open("rb") as content:
        head = content.read(HEAD_BYTES)
    kind = next((kind for kind, marks in MAGIC.items() if head.startswith(marks)), "")
    return _archive_kind(path) if kind == "zip" else kind


def _archive_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "damaged zip"
    return next((kind for kind, folder in OFFICE.items() if any(name.startswith(folder) for name in names)), "zip")


def _fits(expected: str, found: str) -> bool:
    """Say whether a file's content fits its extension."""
    if expected == "image":
        return found in IMAGE_KINDS
    if expected in OFFICE:
        return found in (expected, "")
    # A PDF may begin with other bytes; if a file is no PDF at all, PDFium will say so.
    return found in ("pdf", "") if expected == "pdf" else found == ""


def _check_archive(path: Path, limit: int) -> None:
    """Refuse an archive that declares a large size, or turns out to be large when it is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            declared = sum(member.file_size for member in archive.infolist())
            if declared > limit * MEGABYTE or _unpacked(archive, limit * MEGABYTE) > limit * MEGABYTE:
                raise DocumentError(
                    f"{path}: unpacks to more than {limit} MB",
                    hint="do not open it unless you know where it comes from; if you trust it, raise 'max_unpacked_mb'",
                )
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DocumentError(f"{path}: the archive is damaged ({error})", hint=REPLACE) from error
    except RuntimeError as error:
        # This is how zipfile reports a member with a password.
        raise DocumentError(f"{path}: the document is encrypted", hint="save a copy without a password") from error


def _unpacked(archive: zipfile.ZipFile, limit: int) -> int:
    """Return how many bytes the members really have, or some number above the limit."""
    total = 0
    for member in archive.infolist():
        # Members may share their bytes, and the declared size may be wrong, so each one is read.
        with archive.open(member) as content:
            while block := content.read(MEGABYTE):
                total += len(block)
                if total > limit:
                    return total
    return total


def check_encoding(path: Path, content: bytes, *, is_html: bool) -> None:
    """Raise DocumentError with the place of the first byte that does not fit the encoding.

    The encoding is what a byte order mark or, in HTML, the page itself says; else UTF-8.
    """
    encoding = text_encoding(content, is_html=is_html)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        name = encoding.removesuffix("-sig").upper()
        raise DocumentError(
            f"{path}:{line}: byte {error.start + 1} of the file (0x{content[error.start]:02x}) is not {name}",
            hint="save the file as UTF-8",
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DocumentError(f"{path}:{line}: the file contains NUL bytes, so it is not text", hint=REPLACE)


def text_encoding(content: bytes, *, is_html: bool = False) -> str:
    """Return how a text is encoded: by its byte order mark or, in HTML, as the page itself says; UTF-8 otherwise."""
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            return encoding
    declared = DECLARED.search(content[:HEAD_BYTES]) if is_html else None
    name = declared.group(1).decode("ascii") if declared else "utf-8"
    try:
        # As in browsers: a page that declares UTF-16 in ASCII is not UTF-16.
        b"a".decode(name)
    except (LookupError, UnicodeError):
        return "utf-8"
    return codecs.lookup(name).name


def source_text(source: Source) -> str:
    """Return a file's text, decoded as its inspection did: parsers guess, by how often each letter occurs."""
    content = source.path.read_bytes()
    if source.format == "csv" and is_western(content):
        return content.decode(WESTERN)
    return content.decode(text_encoding(content, is_html=source.format == "html"), errors="replace")


def pages_without_text(path: Path) -> tuple[int, list[int]]:
    """Return a PDF's number of pages, and which have no text, from 1; DocumentError if it cannot be opened."""
    import pypdfium2  # type: ignore[import-untyped]

    try:
        with pypdfium2.PdfDocument(path) as document:
            textless = [n for n, page in enumerate(document, 1) if not page.get_textpage().get_text_range().strip()]
            return len(document), textless
    except pypdfium2.PdfiumError as error:
        locked = "password" in str(error).lower()
        raise DocumentError(
            f"{path}: {'the document is encrypted' if locked else f'not a readable pdf document ({error})'}",
            hint="save a copy without a password" if locked else "replace it, or move it out of the folder",
        ) from error
