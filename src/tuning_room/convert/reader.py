"""One document through Docling: how Docling is set up, what it is given, and the errors when it fails."""

import logging
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.convert.chunks import PLAIN
from tuning_room.convert.config import ConvertConfig
from tuning_room.convert.csv_files import is_western
from tuning_room.convert.installed import PdfLayout, pdf_layout, recognises
from tuning_room.convert.sources import (
    FORMATS,
    IMAGES,
    REPLACE,
    TEXT,
    Source,
    pages_without_text,
    source_text,
    text_encoding,
)
from tuning_room.errors import DocumentError
from tuning_room.prerequisites import install_line

if TYPE_CHECKING:
    from docling.datamodel.base_models import DocumentStream
    from docling.datamodel.document import ConversionResult
    from docling_core.types.doc import DoclingDocument

logger = logging.getLogger(__name__)

DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
OCR_HINT = f"if it is a scan, its text can be recognised; {install_line('ocr')}, and leave 'ocr' on"


class Reading(NamedTuple):
    """A document as Docling reads it, its number of pages (0 where the format has none), and what is not in it.

    `left_out` says what of a file of sheets is left out on purpose, `missing` what else is not as its reader sees it.
    """

    document: "DoclingDocument"
    pages: int
    left_out: list[str] = []
    missing: list[str] = []


class DoclingReader:
    """Docling, set up once for all documents of a run; `layout` says how PDFs are read."""

    def __init__(self, config: ConvertConfig) -> None:
        from tuning_room.convert.pipelines import docling_converter

        self.layout: PdfLayout = pdf_layout(config)
        self._wants_text, self._recognises = config.ocr, recognises(config)
        self._docling = docling_converter(
            sorted({*FORMATS.values(), *IMAGES.values()} - {TEXT}),
            by_models=self.layout == "models",
            recognises=self._recognises,
            artifacts=config.artifacts,
        )

    def read(self, source: Source) -> Reading:
        """Return the document in a file; DocumentError says what is wrong with the file and what to do."""
        from tuning_room.convert.markdown_files import prepared
        from tuning_room.convert.repairs import name_languages, name_sheets

        if source.format == TEXT:
            return Reading(text_document(source_text(source), source), 0)
        with docling_warnings(source):
            try:
                result = self._docling.convert(docling_input(source), raises_on_error=False)
            # Whatever a parser raises on a broken file, the file is what has to be fixed.
            except Exception as error:
                raise _unreadable(source, str(error)) from error
            _check(source, result, recognises=self._recognises)
            self._tell_of_scans(source)
            if source.format == "md":
                name_languages(result.document, prepared(source_text(source)))
            elif source.format == "xlsx":
                name_sheets(result.document)
        pages = max(len(result.document.pages), result.input.page_count)
        backend = result.input._backend
        left_out, missing = getattr(backend, "left_out", []), getattr(backend, "missing", [])
        return Reading(result.document, pages, left_out, [*missing, *_doubts(source)])

    def _tell_of_scans(self, source: Source) -> None:
        if source.format == "pdf" and self._wants_text and not self._recognises:
            _, textless = pages_without_text(source.path)
            if textless:
                logger.warning("%s: no text on pages %s; %s", source.path, ", ".join(map(str, textless)), OCR_HINT)


def text_document(text: str, source: Source) -> "DoclingDocument":
    """Return plain text as a document of paragraphs, which blank lines part; their lines stay as they are."""
    from docling_core.types.doc import DocItemLabel, DoclingDocument, DocumentOrigin

    origin = DocumentOrigin(filename=source.path.name, mimetype=PLAIN, binary_hash=zlib.crc32(text.encode()))
    document = DoclingDocument(name=source.path.stem, origin=origin)
    for paragraph in re.split(r"(?:[^\S\n]*\n){2,}", "\n".join(text.splitlines())):
        if paragraph.strip():
            document.add_text(label=DocItemLabel.TEXT, text=paragraph.strip("\n").rstrip())
    if not document.texts:
        raise DocumentError(f"{source.path}: there is no text in this document", hint=REPLACE)
    return document


def docling_input(source: Source) -> "Path | DocumentStream":
    """Return what Docling is given: the file, or its text where Docling would not understand the file itself."""
    from docling.datamodel.base_models import DocumentStream

    from tuning_room.convert.repairs import with_formulas

    changed = None
    if source.format == "csv":
        # With line breaks as they are: a cell may hold them.
        changed = source_text(source).encode("utf-8")
    elif source.format == "latex" and text_encoding(source.path.read_bytes()) != "utf-8":
        changed = source_text(source).encode()
    elif source.format == "html":
        changed = with_formulas(source_text(source))
    return source.path if changed is None else DocumentStream(name=source.path.name, stream=BytesIO(changed))


def _doubts(source: Source) -> list[str]:
    """Return what is uncertain about how a file's letters were read."""
    if source.format != "csv" or not is_western(source.path.read_bytes()):
        return []
    return ["not UTF-8, so it was read as Windows-1252: letters other than Western European ones would be wrong"]


def _check(source: Source, result: "ConversionResult", *, recognises: bool) -> None:
    from docling.datamodel.base_models import ConversionStatus

    if result.input.format and result.input.format.value != source.format:
        content = result.input.format.value
        raise DocumentError(
            f"{source.path}: the content is {content}, not {source.format}", hint="give the file the right extension"
        )
    if result.status is not ConversionStatus.SUCCESS:
        raise _unreadable(source, "; ".join(error.error_message for error in result.errors))
    if not any(text.text.strip() for text in result.document.texts) and not result.document.tables:
        if source.format == "image" and recognises:
            # Many images have no text, and nothing is wrong with them.
            return
        is_unread = source.format in ("pdf", "image") and not recognises
        left_out = getattr(result.input._backend, "left_out", [])
        rest = f" but what is left out ({', '.join(left_out)})" if left_out else ""
        raise DocumentError(
            f"{source.path}: there is no text in this document{rest}", hint=OCR_HINT if is_unread else REPLACE
        )


def _unreadable(source: Source, reason: str) -> DocumentError:
    if source.format == "pdf":
        reason = _pdfium_reason(source.path) or reason
    if "password" in reason.lower():
        return DocumentError(f"{source.path}: the document is encrypted", hint="save a copy without a password")
    first = (reason.strip().splitlines() or [""])[0]
    # Messages that name the document by its digest have nothing else to say.
    detail = "" if not first or DIGEST.search(first) else f" ({first})"
    return DocumentError(
        f"{source.path}: not a readable {source.format} document{detail}",
        hint="open the file to see whether it is damaged; replace it, or move it out of the folder",
    )


def _pdfium_reason(path: Path) -> str:
    """Return why PDFium cannot open a file: unlike Docling's parser, it tells a password from damage."""
    import pypdfium2  # type: ignore[import-untyped]

    try:
        pypdfium2.PdfDocument(path).close()
    except pypdfium2.PdfiumError as error:
        return str(error)
    return ""


@contextmanager
def docling_warnings(source: Source) -> Iterator[None]:
    """Log under our name what Docling warns of in a document that can be read; its errors become exceptions."""
    docling, handler = logging.getLogger("docling"), MessageCollector()
    before = (docling.propagate, docling.level)
    docling.propagate = False
    docling.setLevel(logging.WARNING)
    docling.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as python_warnings:
            # Docling calls its own deprecated functions: nothing that a user could fix.
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        docling.removeHandler(handler)
        docling.propagate = before[0]
        docling.setLevel(before[1])
    for message in [*handler.messages, *(str(warning.message) for warning in python_warnings)]:
        logger.warning("%s: %s", source.path, message)


class MessageCollector(logging.Handler):
    """Keeps the messages of warnings and errors."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.messages.append(record.getMessage())
