"""One document from its file to what is kept of it: markdown, Docling's JSON, chunks and a report."""

import time
from typing import TYPE_CHECKING

from tuning_room.convert.chunks import document_chunks
from tuning_room.convert.config import ConvertConfig, ConvertedDocument
from tuning_room.convert.conversions import CHUNKS, DOCLING, MARKDOWN, REPORT
from tuning_room.convert.sources import Task
from tuning_room.convert.tracing import located
from tuning_room.errors import DocumentError
from tuning_room.files import atomic_folder, digest, of_a_run
from tuning_room.records import write_json, write_jsonl

if TYPE_CHECKING:
    from docling_core.types.doc import DoclingDocument

    from tuning_room.convert.conversion import Converter


def convert_document(task: Task, converter: "Converter", config: ConvertConfig) -> None:
    """Convert a document into its task's folder, all or nothing; DocumentError says what is wrong with it."""
    started = time.monotonic()
    source = task.source
    document, pages = converter.convert(source)
    is_slides = source.format == "pptx"
    chunks = document_chunks(document, source.name, config.max_chunk_characters, notes=is_slides)
    if not chunks and source.format != "image":
        raise DocumentError(f"{source.path}: there are headings but no text", hint="fill it in, or delete it")
    if digest(source.path) != task.digest:
        raise DocumentError(f"{source.path}: was changed while it was being read", hint="run the stage again")
    markdown = _markdown(document, notes=is_slides)
    report = ConvertedDocument(
        name=source.name,
        pages=pages,
        chunks=len(chunks),
        tables=len(document.tables),
        headings=sum(text.label.value in ("title", "section_header") for text in document.texts),
        list_items=sum(text.label.value == "list_item" for text in document.texts),
        seconds=round(time.monotonic() - started, 2),
        layout=converter.layout if source.format == "pdf" else "",
    )
    with atomic_folder(task.folder, of_a_run) as folder:
        (folder / MARKDOWN).write_text(markdown + "\n", encoding="utf-8")
        document.save_as_json(folder / DOCLING)
        write_jsonl(folder / CHUNKS, located(chunks, markdown))
        write_json(folder / REPORT, report.model_dump(mode="json"))


def _markdown(document: "DoclingDocument", *, notes: bool) -> str:
    from docling_core.types.doc import ContentLayer

    from tuning_room.convert.mending import with_languages

    layers = {ContentLayer.BODY, ContentLayer.NOTES} if notes else {ContentLayer.BODY}
    # Escapes would stand in the way of what reads this: models and people, not browsers.
    text: str = document.export_to_markdown(
        escape_html=False, escape_underscores=False, compact_tables=True, included_content_layers=layers
    )
    return with_languages(text, document)
