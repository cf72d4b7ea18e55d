"""Documents to markdown, Docling's JSON and chunks; the first stage. Docling does the reading."""

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tuning_room.convert.config import (
    ConvertConfig,
    ConvertedDocument,
    ConvertResult,
    FailedDocument,
    SkippedFile,
)
from tuning_room.convert.conversions import CHUNKS, DOCLING, MARKDOWN, REPORT, Conversions
from tuning_room.convert.inspection import inspect
from tuning_room.convert.sources import Source, Task, find_sources
from tuning_room.errors import DocumentError, TuningRoomError
from tuning_room.files import atomic_folder, atomic_writer, of_a_run
from tuning_room.records import read_json
from tuning_room.workspace import Stage, Workspace

__all__ = ["STAGE", "ConvertConfig", "ConvertResult", "run"]

logger = logging.getLogger(__name__)


class Failure(NamedTuple):
    """A document that cannot be converted, and why."""

    source: Source
    error: TuningRoomError


def run(config: ConvertConfig, workspace: Workspace) -> ConvertResult:
    """Convert every document of a folder; those that have not changed since the last time are not read again.

    What is converted is kept even if the stage fails in the end, or is killed. Raises DocumentError for a folder
    or files that cannot be used, MissingPrerequisiteError and ModelNotFoundError if models are asked for that are
    not there.
    """
    from tuning_room.convert.conversion import models_folder, pdf_layout

    sources = find_sources(config.documents, images=config.ocr)
    layout, models = pdf_layout(config), models_folder(config.artifacts)
    conversions = Conversions(workspace.conversions, config, layout=layout, models=models)
    tasks, failures = _tasks(sources.documents, conversions, config)
    waiting = [task for task in tasks if not task.folder.is_dir()]
    failures += _convert(waiting, config, layout)
    failed = {failure.source for failure in failures}
    done = [task for task in tasks if task.source not in failed]
    _report(failures, config, documents=len(sources.documents))
    reports = {task: ConvertedDocument.model_validate(read_json(task.folder / REPORT)) for task in done}
    if config.documents and not any(report.chunks for report in reports.values()):
        raise DocumentError(f"{config.documents}: no text was found in any image", hint="add documents with text")
    _publish([task for task in done if reports[task].chunks], workspace)
    conversions.keep_only(done)
    return _result(reports, len(set(done) - set(waiting)), failures, sources.skipped)


def _tasks(
    sources: Iterable[Source], conversions: Conversions, config: ConvertConfig
) -> tuple[list[Task], list[Failure]]:
    tasks, failures = [], []
    for source in sources:
        try:
            inspect(source, config)
            tasks.append(conversions.task(source))
        except DocumentError as error:
            failures.append(Failure(source, error))
    return tasks, failures


def _convert(tasks: list[Task], config: ConvertConfig, layout: str) -> list[Failure]:
    from tuning_room.convert.work import attempts
    from tuning_room.progress import ProgressBar

    failures = []
    with ProgressBar("converting", len(tasks)) as bar:
        for task, error in attempts(tasks, config, layout=layout):
            bar.advance()
            bar.describe(task.source.name)
            if error:
                failures.append(Failure(task.source, error))
    return failures


def _report(failures: list[Failure], config: ConvertConfig, *, documents: int) -> None:
    """Raise what the failures come to, or log them if they are to be passed over."""
    failures.sort(key=lambda failure: failure.source.name)
    if not failures:
        return
    if config.on_error == "skip" and len(failures) < documents:
        for failure in failures:
            logger.warning("%s", failure.error)
    elif len(failures) == 1:
        raise failures[0].error
    else:
        lines = "".join(f"\n  {failure.error}" for failure in failures)
        raise DocumentError(
            f"{len(failures)} of {documents} documents cannot be converted{lines}",
            hint="\nmend them, or set 'on_error: skip' to go on without them",
        )


def _publish(tasks: list[Task], workspace: Workspace) -> None:
    """Put the documents and their chunks together in the order of the documents' names."""
    with atomic_folder(workspace.documents, of_a_run) as folder, atomic_writer(workspace.chunks) as chunks:
        for task in tasks:
            path = folder / task.source.name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(task.folder / MARKDOWN, path.with_name(f"{path.name}.md"))
            shutil.copyfile(task.folder / DOCLING, path.with_name(f"{path.name}.json"))
            chunks.write((task.folder / CHUNKS).read_text(encoding="utf-8"))


def _result(
    reports: dict[Task, ConvertedDocument], reused: int, failures: list[Failure], skipped: list[SkippedFile]
) -> ConvertResult:
    files = [report for report in reports.values() if report.chunks]
    pictures = [report.name for report in reports.values() if not report.chunks]
    return ConvertResult(
        documents=len(files),
        pages=sum(file.pages for file in files),
        chunks=sum(file.chunks for file in files),
        tables=sum(file.tables for file in files),
        headings=sum(file.headings for file in files),
        list_items=sum(file.list_items for file in files),
        reused=reused,
        files=files,
        skipped=[*skipped, *(SkippedFile(name=name, reason="an image without text") for name in pictures)],
        failed=[FailedDocument(name=failure.source.name, error=str(failure.error)) for failure in failures],
    )


def _inputs(config: ConvertConfig, workspace: Workspace) -> list[Path]:
    return [config.documents] if config.documents else []


def _outputs(workspace: Workspace) -> list[Path]:
    return [workspace.documents, workspace.chunks]


STAGE: Stage[ConvertConfig, ConvertResult] = Stage("convert", ConvertResult, _inputs, _outputs, run)
