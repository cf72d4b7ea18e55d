"""Finished conversions: a folder for each document, named by a digest of everything that its content depends on.

In the folder are the document as markdown and as Docling's JSON, its chunks, and a report.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.convert.chunks import document_chunks
from tuning_room.convert.config import ConvertConfig, ConvertedDocument
from tuning_room.convert.installed import models_folder
from tuning_room.convert.signs import unglue, unglued
from tuning_room.convert.sources import TEXT, Source
from tuning_room.convert.totals import totals
from tuning_room.convert.tracing import located
from tuning_room.errors import DocumentError
from tuning_room.files import atomic_folder, atomic_writer, digest, of_a_run
from tuning_room.records import read_json, write_json, write_jsonl
from tuning_room.workspace import Workspace, installed_versions

if TYPE_CHECKING:
    from docling_core.types.doc import DoclingDocument

    from tuning_room.convert.reader import DoclingReader

MARKDOWN, DOCLING, CHUNKS, REPORT = "document.md", "document.json", "chunks.jsonl", "report.json"
# Settings that affect failure and speed, but not a document's content.
NOT_CONTENT = {"documents", "artifacts", "on_error", "workers", "timeout"}
PACKAGES = ("tuning-room", "docling-slim", "docling-core", "docling-parse", "pypdfium2", "rapidocr", "onnxruntime")


class Task(NamedTuple):
    """A document to convert, the folder that its conversion is kept in, and the sha256 of its content."""

    source: Source
    folder: Path
    digest: str

    @property
    def is_done(self) -> bool:
        """Say whether the document has been converted."""
        return self.folder.is_dir()

    @property
    def report(self) -> ConvertedDocument:
        """Return what was found in the document, once it has been converted."""
        return ConvertedDocument.model_validate(read_json(self.folder / REPORT))


class ConversionStore:
    """The conversions below a folder; `layout` says how PDFs are read on this machine."""

    def __init__(self, root: Path, config: ConvertConfig, *, layout: str) -> None:
        self.root = root
        self._config = config
        self._layout = layout

    def task(self, source: Source) -> Task:
        """Return where a document's conversion belongs; DocumentError for a file that cannot be read."""
        try:
            content = digest(source.path)
        except OSError as error:
            raise DocumentError(
                f"{source.path}: cannot be read ({error.strerror})", hint="check the file's permissions"
            ) from error
        parts = [source.name, source.format, content, self._way]
        return Task(source, self.root / hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32], content)

    @cached_property
    def _way(self) -> str:
        """Everything but the document itself that its conversion depends on, our own code too."""
        knobs = self._config.model_dump(mode="json", exclude=NOT_CONTENT)
        models = _listing(models_folder(self._config.artifacts)) if self._layout == "models" else []
        parts = [knobs, self._layout, models, installed_versions(PACKAGES), digest(Path(__file__).parent)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def keep_only(self, tasks: Iterable[Task]) -> None:
        """Delete every conversion but these."""
        wanted = {task.folder.name for task in tasks}
        for folder in [path for path in self.root.glob("*") if path.name not in wanted]:
            shutil.rmtree(folder, ignore_errors=True)


def _listing(models: Path | None) -> list[tuple[str, int]]:
    # Names and sizes: the files hold gigabytes, and a new version of a model has a new name.
    files = sorted(path for path in models.rglob("*") if path.is_file()) if models else []
    return [(path.as_posix(), path.stat().st_size) for path in files]


def publish(tasks: Sequence[Task], workspace: Workspace) -> None:
    """Assemble the documents and their chunks, in the order of the documents' names."""
    with atomic_folder(workspace.documents, of_a_run) as folder, atomic_writer(workspace.chunks) as chunks:
        for task in tasks:
            path = folder / task.source.name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(task.folder / MARKDOWN, path.with_name(f"{path.name}.md"))
            shutil.copyfile(task.folder / DOCLING, path.with_name(f"{path.name}.json"))
            chunks.write((task.folder / CHUNKS).read_text(encoding="utf-8"))


def convert_document(task: Task, reader: "DoclingReader", config: ConvertConfig) -> None:
    """Convert a document into its task's folder, all or nothing; DocumentError says what is wrong with it."""
    started = time.monotonic()
    source = task.source
    document, pages, left_out, missing = reader.read(source)
    is_slides = source.format == "pptx"
    chunks = document_chunks(document, source.name, config.max_chunk_characters, notes=is_slides)
    if not chunks and source.format != "image":
        raise DocumentError(f"{source.path}: there are headings but no text", hint="fill it in, or delete it")
    if digest(source.path) != task.digest:
        raise DocumentError(f"{source.path}: changed while it was being read", hint="run the stage again")
    markdown = _markdown(document, source, notes=is_slides)
    found = totals(source, document, markdown, chunks)
    report = ConvertedDocument(
        name=source.name,
        pages=pages,
        chunks=len(chunks),
        tables=len(document.tables),
        headings=sum(text.label.value in ("title", "section_header") for text in document.texts),
        list_items=sum(text.label.value == "list_item" for text in document.texts),
        seconds=round(time.monotonic() - started, 2),
        layout=reader.layout if source.format == "pdf" else "",
        left_out=[*left_out, *found.left_out],
        missing=[*missing, *found.missing],
    )
    unglue(document)
    with atomic_folder(task.folder, of_a_run) as folder:
        (folder / MARKDOWN).write_text(markdown + "\n", encoding="utf-8")
        document.save_as_json(folder / DOCLING)
        write_jsonl(folder / CHUNKS, located(chunks, markdown))
        write_json(folder / REPORT, report.model_dump(mode="json"))


def _markdown(document: "DoclingDocument", source: Source, *, notes: bool) -> str:
    from docling_core.types.doc import ContentLayer

    from tuning_room.convert.repairs import with_languages

    if source.format == TEXT:
        return "\n\n".join(item.text for item in document.texts)
    layers = {ContentLayer.BODY, ContentLayer.NOTES} if notes else {ContentLayer.BODY}
    # This is read by models and people, not browsers: escapes would only be in the way.
    text: str = document.export_to_markdown(
        escape_html=False, escape_underscores=False, compact_tables=True, included_content_layers=layers
    )
    return unglued(with_languages(text, document))
