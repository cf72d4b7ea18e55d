"""Documents to markdown, Docling's JSON and chunks; the first stage. Docling does the reading."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tuning_room.convert.chunks import document_chunks
from tuning_room.convert.config import ConvertConfig, ConvertedDocument, ConvertResult
from tuning_room.convert.sources import Source, Sources, find_sources
from tuning_room.errors import DocumentError
from tuning_room.files import atomic_folder
from tuning_room.records import Chunk, write_jsonl
from tuning_room.workspace import Stage, Workspace

if TYPE_CHECKING:
    from docling_core.types.doc import DoclingDocument

    from tuning_room.convert.conversion import Converter

__all__ = ["STAGE", "ConvertConfig", "ConvertResult", "run"]


def run(config: ConvertConfig, workspace: Workspace) -> ConvertResult:
    """Convert every document of a folder; all are written, or none.

    Raises DocumentError for a folder or a file that cannot be used, MissingPrerequisiteError and
    ModelNotFoundError if models are asked for that are not there.
    """
    # A recipe without documents is baked from its prompt alone.
    sources = find_sources(config.documents) if config.documents else Sources([], [])
    from tuning_room.convert.conversion import Converter

    converter = Converter(config)
    chunks: list[Chunk] = []
    files: list[ConvertedDocument] = []
    with atomic_folder(workspace.documents) as folder:
        for source in _with_progress(sources.documents):
            found, report = _convert(source, converter, config, folder)
            chunks.extend(found)
            files.append(report)
        write_jsonl(workspace.chunks, chunks)
    return _result(files, sources)


def _convert(
    source: Source, converter: "Converter", config: ConvertConfig, folder: Path
) -> tuple[list[Chunk], ConvertedDocument]:
    started = time.monotonic()
    document, pages = converter.convert(source)
    is_slides = source.format == "pptx"
    chunks = document_chunks(document, source.name, config.max_chunk_characters, notes=is_slides)
    if not chunks:
        raise DocumentError(f"{source.path}: there are headings but no text", hint="fill it in, or delete it")
    _write(document, folder / source.name, notes=is_slides)
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
    return chunks, report


def _write(document: "DoclingDocument", path: Path, *, notes: bool) -> None:
    from docling_core.types.doc import ContentLayer

    layers = {ContentLayer.BODY, ContentLayer.NOTES} if notes else {ContentLayer.BODY}
    path.parent.mkdir(parents=True, exist_ok=True)
    # Escapes would stand in the way of what reads this: models and people, not browsers.
    text = document.export_to_markdown(
        escape_html=False, escape_underscores=False, compact_tables=True, included_content_layers=layers
    )
    path.with_name(f"{path.name}.md").write_text(text + "\n", encoding="utf-8")
    document.save_as_json(path.with_name(f"{path.name}.json"))


def _with_progress(sources: Iterable[Source]) -> Iterator[Source]:
    """Yield the documents; on a terminal, a bar on stderr says how far it is."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    todo = list(sources)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("converting", total=len(todo))
        for source in todo:
            progress.update(task, description=source.name)
            yield source
            progress.advance(task)


def _result(files: list[ConvertedDocument], sources: Sources) -> ConvertResult:
    return ConvertResult(
        documents=len(files),
        pages=sum(file.pages for file in files),
        chunks=sum(file.chunks for file in files),
        tables=sum(file.tables for file in files),
        headings=sum(file.headings for file in files),
        list_items=sum(file.list_items for file in files),
        files=files,
        skipped=sources.skipped,
    )


def _inputs(config: ConvertConfig, workspace: Workspace) -> list[Path]:
    return [config.documents] if config.documents else []


def _outputs(workspace: Workspace) -> list[Path]:
    return [workspace.documents, workspace.chunks]


STAGE: Stage[ConvertConfig, ConvertResult] = Stage("convert", ConvertResult, _inputs, _outputs, run)
