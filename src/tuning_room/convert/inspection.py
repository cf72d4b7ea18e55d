"""What can be said against a file before it is opened: its size, what it really is, what it unpacks to, its bytes."""

import codecs
import re
import zipfile
import zlib
from pathlib import Path

from tuning_room.convert.config import ConvertConfig
from tuning_room.convert.sources import Source
from tuning_room.errors import DocumentError

MEGABYTE = 1_000_000
HEAD_BYTES = 1024
TEXT_FORMATS = {"md", "html", "csv", "asciidoc", "latex"}
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
IMAGES = ("png", "jpeg", "tiff")
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


def inspect(source: Source, config: ConvertConfig) -> None:
    """Raise DocumentError for a file that must not be given to Docling, or that it would misread."""
    path, size = source.path, source.path.stat().st_size
    if size == 0:
        raise DocumentError(f"{path}: the file is empty", hint=REPLACE)
    if size > config.max_file_mb * MEGABYTE:
        raise DocumentError(
            f"{path}: {size / MEGABYTE:.0f} MB, and more than {config.max_file_mb} MB are not read",
            hint="split it, or raise 'max_file_mb'",
        )
    found = content_kind(path)
    if found == "ole" and source.format in OFFICE:
        # Office formats are zip archives; with a password they are put into a container of the older kind.
        raise DocumentError(f"{path}: the document is encrypted", hint="save a copy without a password")
    if not _fits(source.format, found):
        raise DocumentError(
            f"{path}: the content is {found or 'of no known kind'}, not {source.format}",
            hint="give the file its right extension",
        )
    if found in OFFICE:
        _check_archive(path, config.max_unpacked_mb)
    if source.format in TEXT_FORMATS:
        check_encoding(path, path.read_bytes(), is_html=source.format == "html")


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
    """Say whether a content may stand under an extension."""
    if expected == "image":
        return found in IMAGES
    if expected in OFFICE:
        return found in (expected, "")
    # A PDF may begin with something else; what is none at all, PDFium says.
    return found in ("pdf", "") if expected == "pdf" else found == ""


def _check_archive(path: Path, limit: int) -> None:
    """Refuse an archive that is large by what it declares, or turns out to be when it is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            declared = sum(member.file_size for member in archive.infolist())
            if declared > limit * MEGABYTE or _unpacked(archive, limit * MEGABYTE) > limit * MEGABYTE:
                raise _bomb(path, limit)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DocumentError(f"{path}: the archive is damaged ({error})", hint=REPLACE) from error
    except RuntimeError as error:
        # How zipfile says that a member has a password.
        raise DocumentError(f"{path}: the document is encrypted", hint="save a copy without a password") from error


def _unpacked(archive: zipfile.ZipFile, limit: int) -> int:
    """Return how many bytes the members really have, or some number above the limit."""
    total = 0
    for member in archive.infolist():
        # Members may share their bytes, and the size that is declared may be wrong: so each is read.
        with archive.open(member) as content:
            while block := content.read(MEGABYTE):
                total += len(block)
                if total > limit:
                    return total
    return total


def _bomb(path: Path, limit: int) -> DocumentError:
    return DocumentError(
        f"{path}: unpacks to more than {limit} MB",
        hint="do not open it if you do not know where it is from; if it is sound, raise 'max_unpacked_mb'",
    )


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
        raise DocumentError(f"{path}:{line}: there are zero bytes in the file: it is not text", hint=REPLACE)


def text_encoding(content: bytes, *, is_html: bool = False) -> str:
    """Return how a text is encoded, by its byte order mark or, in HTML, its own word; else UTF-8."""
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            return encoding
    declared = DECLARED.search(content[:HEAD_BYTES]) if is_html else None
    return _known(declared.group(1).decode("ascii")) if declared else "utf-8"


def _known(name: str) -> str:
    """Return an encoding that a page says it has in ASCII; UTF-8 for an unknown one and, as in browsers, for UTF-16."""
    try:
        b"a".decode(name)
    except (LookupError, UnicodeError):
        return "utf-8"
    return codecs.lookup(name).name


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
