"""One document through Docling: which pipeline reads it, and what is said when it cannot be read."""

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from tuning_room.convert.config import ConvertConfig
from tuning_room.convert.sources import FORMATS, Source
from tuning_room.errors import DocumentError, MissingPrerequisiteError, ModelNotFoundError

if TYPE_CHECKING:
    from docling.datamodel.document import ConversionResult
    from docling.document_converter import DocumentConverter, PdfFormatOption
    from docling_core.types.doc import DoclingDocument

logger = logging.getLogger(__name__)

PdfLayout = Literal["rules", "models"]
LAYOUT_MODEL = "docling-project/docling-layout-heron"
DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
OLE_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
TABLE_MODEL = "docling-project/docling-models"
# What Docling imports to run these models; its slim packages come without.
MODEL_PACKAGES = ("docling_ibm_models", "torchvision", "transformers")
DOWNLOAD_HINT = "get them with 'docling-tools models download layout tableformer', or set 'layout: rules'"


class Converted(NamedTuple):
    """A document as Docling reads it, and its number of pages (0 where the format has none)."""

    document: "DoclingDocument"
    pages: int


class Converter:
    """Docling, set up once for all documents of a run; `layout` says how PDFs are read."""

    def __init__(self, config: ConvertConfig) -> None:
        self.layout: PdfLayout = pdf_layout(config)
        self._docling = _build(self.layout, config.artifacts)

    def convert(self, source: Source) -> Converted:
        """Return the document in a file; DocumentError says what is wrong with the file and what to do."""
        with docling_warnings(source):
            try:
                result = self._docling.convert(source.path, raises_on_error=False)
            # Whatever a parser raises on a broken file, it is the file that has to be mended.
            except Exception as error:
                raise _unreadable(source, str(error)) from error
            _check(source, result)
        return Converted(result.document, max(len(result.document.pages), result.input.page_count))


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


def has_models(artifacts: Path | None) -> bool:
    """Say whether Docling's layout and table models are in a folder, or in the hub's cache if none is given."""
    folder = artifacts or os.environ.get("DOCLING_ARTIFACTS_PATH")
    if folder:
        return all((Path(folder) / model.replace("/", "--")).is_dir() for model in (LAYOUT_MODEL, TABLE_MODEL))
    return all(_is_cached(model) for model in (LAYOUT_MODEL, TABLE_MODEL))


def _is_cached(model: str) -> bool:
    from huggingface_hub.constants import HF_HUB_CACHE

    snapshots = Path(HF_HUB_CACHE) / f"models--{model.replace('/', '--')}" / "snapshots"
    return snapshots.is_dir() and any(snapshots.iterdir())


def _build(layout: PdfLayout, artifacts: Path | None) -> "DocumentConverter":
    from docling.datamodel.base_models import InputFormat
    from docling.document_converter import DocumentConverter, PdfFormatOption

    if layout == "models":
        pdf = _model_option(artifacts)
    else:
        from tuning_room.convert.rule_pipeline import RulePdfPipeline, rule_options

        pdf = PdfFormatOption(pipeline_cls=RulePdfPipeline, pipeline_options=rule_options())
    formats = [InputFormat(value) for value in sorted(set(FORMATS.values()))]
    return DocumentConverter(allowed_formats=formats, format_options={InputFormat.PDF: pdf})


def _model_option(artifacts: Path | None) -> "PdfFormatOption":
    from docling.datamodel.pipeline_options import ThreadedPdfPipelineOptions
    from docling.document_converter import PdfFormatOption

    from tuning_room.convert.rule_pipeline import heading_options

    options = ThreadedPdfPipelineOptions(
        do_ocr=False,
        generate_parsed_pages=True,
        artifacts_path=artifacts,
        heading_hierarchy_options=heading_options(),
    )
    return PdfFormatOption(pipeline_options=options)


def _check(source: Source, result: "ConversionResult") -> None:
    from docling.datamodel.base_models import ConversionStatus

    if result.input.format and result.input.format.value != source.format:
        content = result.input.format.value
        raise DocumentError(
            f"{source.path}: the content is {content}, not {source.format}", hint="give the file its right extension"
        )
    if result.status is not ConversionStatus.SUCCESS:
        raise _unreadable(source, "; ".join(error.error_message for error in result.errors))
    if not any(text.text.strip() for text in result.document.texts) and not result.document.tables:
        scanned = "if it is a scan, recognise its text first (for example with ocrmypdf)"
        hint = scanned if source.format == "pdf" else "replace it with the real document, or delete it"
        raise DocumentError(f"{source.path}: there is no text in this document", hint=hint)


def _unreadable(source: Source, reason: str) -> DocumentError:
    if source.format == "pdf":
        reason = _pdfium_reason(source.path) or reason
    if "password" in reason.lower() or _is_locked_office_file(source):
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


def _is_locked_office_file(source: Source) -> bool:
    """Office formats are zip archives; with a password they are put into a container of the older kind."""
    with source.path.open("rb") as content:
        return source.format in ("docx", "pptx", "xlsx") and content.read(len(OLE_MAGIC)) == OLE_MAGIC


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
