"""Convert: documents to markdown, Docling's JSON and chunks. The first stage; Docling does the reading."""

import logging
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
from tuning_room.convert.installed import pdf_layout
from tuning_room.convert.processes import attempts
from tuning_room.convert.sources import Source, find_sources, inspect
from tuning_room.convert.store import ConversionStore, Task, publish
from tuning_room.errors import DocumentError, TuningRoomError
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
    not installed.
    """
    sources = find_sources(config.documents, images=config.ocr)
    layout = pdf_layout(config)
    store = ConversionStore(workspace.conversions, config, layout=layout)
    tasks, failures = _tasks(sources.documents, store, config)
    waiting = [task for task in tasks if not task.is_done]
    failures += _convert(waiting, config, layout)
    failed = {failure.source for failure in failures}
    done = [task for task in tasks if task.source not in failed]
    _report(failures, config, documents=len(sources.documents))
    reports = {task: task.report for task in done}
    if config.documents and not any(report.chunks for report in reports.values()):
        raise DocumentError(f"{config.documents}: no text was found in any image", hint="add documents with text")
    publish([task for task in done if reports[task].chunks], workspace)
    store.keep_only(done)
    return _result(reports, len(set(done) - set(waiting)), failures, sources.skipped)


def _tasks(
    sources: Iterable[Source], store: ConversionStore, config: ConvertConfig
) -> tuple[list[Task], list[Failure]]:
    tasks, failures = [], []
    for source in sources:
        try:
            inspect(source, config)
            tasks.append(store.task(source))
        except DocumentError as error:
            failures.append(Failure(source, error))
    return tasks, failures


def _convert(tasks: list[Task], config: ConvertConfig, layout: str) -> list[Failure]:
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
    """Raise the failures as one error, or log them if such files are to be skipped."""
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
            hint="\nfix them, or set 'on_error: skip' to continue without them",
        )


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
        warnings=[f"{file.name}: {phrase}" for file in files for phrase in file.missing],
        failed=[FailedDocument(name=failure.source.name, error=str(failure.error)) for failure in failures],
    )


def _inputs(config: ConvertConfig, workspace: Workspace) -> list[Path]:
    return [config.documents] if config.documents else []


def _outputs(workspace: Workspace) -> list[Path]:
    return [workspace.documents, workspace.chunks]


STAGE: Stage[ConvertConfig, ConvertResult] = Stage("convert", ConvertResult, _inputs, _outputs, run)
