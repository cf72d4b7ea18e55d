"""One document through Docling: which pipeline reads it, and what is said when it cannot be read."""

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from tuning_room.convert.config import ConvertConfig
from tuning_room.convert.inspection import pages_without_text, text_encoding
from tuning_room.convert.sources import FORMATS, IMAGES, Source
from tuning_room.errors import DocumentError, MissingPrerequisiteError, ModelNotFoundError
from tuning_room.prerequisites import install_line

if TYPE_CHECKING:
    from docling.datamodel.base_models import DocumentStream
    from docling.datamodel.document import ConversionResult
    from docling.datamodel.pipeline_options import ThreadedPdfPipelineOptions
    from docling.document_converter import DocumentConverter
    from docling.pipeline.standard_pdf_pipeline import StandardPdfPipeline
    from docling_core.types.doc import DoclingDocument

logger = logging.getLogger(__name__)

PdfLayout = Literal["rules", "models"]
LAYOUT_MODEL = "docling-project/docling-layout-heron"
DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
TABLE_MODEL = "docling-project/docling-models"
# What Docling imports to run these models; its slim packages come without.
MODEL_PACKAGES = ("docling_ibm_models", "torchvision", "transformers")
OCR_PACKAGES = ("rapidocr", "onnxruntime", "cv2")
OCR_HINT = f"if it is a scan, its text can be recognised; {install_line('ocr')}, and leave 'ocr' on"
DOWNLOAD_HINT = "get them with 'docling-tools models download layout tableformer', or set 'layout: rules'"


class Converted(NamedTuple):
    """A document as Docling reads it, and its number of pages (0 where the format has none)."""

    document: "DoclingDocument"
    pages: int


class Converter:
    """Docling, set up once for all documents of a run; `layout` says how PDFs are read."""

    def __init__(self, config: ConvertConfig) -> None:
        self.layout: PdfLayout = pdf_layout(config)
        self._wants_text, self._recognises = config.ocr, recognises(config)
        self._docling = _build(self.layout, config)

    def convert(self, source: Source) -> Converted:
        """Return the document in a file; DocumentError says what is wrong with the file and what to do."""
        from tuning_room.convert.mending import mend

        with docling_warnings(source):
            try:
                result = self._docling.convert(_readable(source), raises_on_error=False)
            # Whatever a parser raises on a broken file, it is the file that has to be mended.
            except Exception as error:
                raise _unreadable(source, str(error)) from error
            _check(source, result, recognises=self._recognises)
            self._tell_of_scans(source)
            mend(result.document, source.path, source.format)
        return Converted(result.document, max(len(result.document.pages), result.input.page_count))

    def _tell_of_scans(self, source: Source) -> None:
        if source.format == "pdf" and self._wants_text and not self._recognises:
            _, textless = pages_without_text(source.path)
            if textless:
                logger.warning("%s: no text on pages %s; %s", source.path, ", ".join(map(str, textless)), OCR_HINT)


def _readable(source: Source) -> "Path | DocumentStream":
    """Return what Docling is given: the file, or its text where Docling would not understand the file itself."""
    from docling.datamodel.base_models import DocumentStream

    from tuning_room.convert.mending import with_formulas

    changed = None
    if source.format == "latex":
        content = source.path.read_bytes()
        encoding = text_encoding(content)
        changed = None if encoding == "utf-8" else content.decode(encoding).encode()
    elif source.format == "html":
        changed = with_formulas(source.path.read_bytes())
    return source.path if changed is None else DocumentStream(name=source.path.name, stream=BytesIO(changed))


def pdf_layout(config: ConvertConfig) -> PdfLayout:
    """Return how PDFs will be read.

    Raises MissingPrerequisiteError or ModelNotFoundError if models are asked for and cannot be run.
    """
    if config.artifacts and not config.artifacts.is_dir():
        raise ModelNotFoundError(f"{config.artifacts}: no such folder", hint=f"'artifacts': {DOWNLOAD_HINT}")
    if config.layout == "rules":
        return "rules"
    missing = [package for package in MODEL_PACKAGES if find_spec(package) is None]
    found = has_models(config.artifacts)
    if config.layout == "auto":
        return "models" if found and not missing else "rules"
    if missing:
        raise MissingPrerequisiteError(
            f"reading PDFs with models needs {', '.join(missing)}", hint="pip install docling, or set 'layout: rules'"
        )
    if not found:
        raise ModelNotFoundError("Docling's layout models are not on this machine", hint=DOWNLOAD_HINT)
    return "models"


def models_folder(artifacts: Path | None) -> Path | None:
    """Return the folder that Docling's models are to be in, none if that is the hub's cache."""
    folder = artifacts or os.environ.get("DOCLING_ARTIFACTS_PATH")
    return Path(folder) if folder else None


def has_models(artifacts: Path | None) -> bool:
    """Say whether Docling's layout and table models are in a folder, or in the hub's cache if none is given."""
    if folder := models_folder(artifacts):
        return all((folder / model.replace("/", "--")).is_dir() for model in (LAYOUT_MODEL, TABLE_MODEL))
    return all(_is_cached(model) for model in (LAYOUT_MODEL, TABLE_MODEL))


def _is_cached(model: str) -> bool:
    from huggingface_hub.constants import HF_HUB_CACHE

    snapshots = Path(HF_HUB_CACHE) / f"models--{model.replace('/', '--')}" / "snapshots"
    return snapshots.is_dir() and any(snapshots.iterdir())


def recognises(config: ConvertConfig) -> bool:
    """Say whether text is recognised: it is wanted, and what it needs is installed."""
    return config.ocr and all(find_spec(package) for package in OCR_PACKAGES)


def _build(layout: PdfLayout, config: ConvertConfig) -> "DocumentConverter":
    from docling.backend.image_backend import ImageDocumentBackend
    from docling.datamodel.base_models import InputFormat
    from docling.document_converter import DocumentConverter, ImageFormatOption, PdfFormatOption

    way = {
        "pipeline_cls": _pipeline(layout, recognises=recognises(config)),
        "pipeline_options": _options(layout, config),
    }
    formats = [InputFormat(value) for value in sorted({*FORMATS.values(), *IMAGES.values()})]
    options = {
        InputFormat.PDF: PdfFormatOption(**way),
        InputFormat.IMAGE: ImageFormatOption(**way, backend=ImageDocumentBackend),
    }
    return DocumentConverter(allowed_formats=formats, format_options=options)


def _pipeline(layout: PdfLayout, *, recognises: bool) -> "type[StandardPdfPipeline]":
    from docling.pipeline.standard_pdf_pipeline import StandardPdfPipeline

    from tuning_room.convert.recognition import RecognisingModels, RecognisingRules
    from tuning_room.convert.rule_pipeline import RulePdfPipeline

    if layout == "models":
        return RecognisingModels if recognises else StandardPdfPipeline
    return RecognisingRules if recognises else RulePdfPipeline


def _options(layout: PdfLayout, config: ConvertConfig) -> "ThreadedPdfPipelineOptions":
    from docling.datamodel.pipeline_options import ThreadedPdfPipelineOptions

    from tuning_room.convert.rule_pipeline import heading_options, rule_options

    if layout == "rules":
        return rule_options()
    return ThreadedPdfPipelineOptions(
        do_ocr=False,
        generate_parsed_pages=True,
        artifacts_path=config.artifacts,
        heading_hierarchy_options=heading_options(),
    )


def _check(source: Source, result: "ConversionResult", *, recognises: bool) -> None:
    from docling.datamodel.base_models import ConversionStatus

    if result.input.format and result.input.format.value != source.format:
        content = result.input.format.value
        raise DocumentError(
            f"{source.path}: the content is {content}, not {source.format}", hint="give the file its right extension"
        )
    if result.status is not ConversionStatus.SUCCESS:
        raise _unreadable(source, "; ".join(error.error_message for error in result.errors))
    if not any(text.text.strip() for text in result.document.texts) and not result.document.tables:
        if source.format == "image" and recognises:
            # Many images show no text at all: nothing is wrong with them.
            return
        is_unread = source.format in ("pdf", "image") and not recognises
        hint = OCR_HINT if is_unread else "replace it with the real document, or delete it"
        raise DocumentError(f"{source.path}: there is no text in this document", hint=hint)


def _unreadable(source: Source, reason: str) -> DocumentError:
    if source.format == "pdf":
        reason = _pdfium_reason(source.path) or reason
    if "password" in reason.lower():
        return DocumentError(f"{source.path}: the document is encrypted", hint="save a copy without a password")
    first = (reason.strip().splitlines() or [""])[0]
    # Messages that name the document by its digest say nothing else.
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
    docling, handler = logging.getLogger("docling"), _Collector(logging.WARNING)
    before = (docling.propagate, docling.level)
    docling.propagate = False
    docling.setLevel(logging.WARNING)
    docling.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as python_warnings:
            # Docling uses things of its own that it deprecates: nothing that a user could mend.
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        docling.removeHandler(handler)
        docling.propagate = before[0]
        docling.setLevel(before[1])
    for message in [*handler.messages, *(str(warning.message) for warning in python_warnings)]:
        logger.warning("%s: %s", source.path, message)


class _Collector(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
