"""Who converts: this process while there is little to do, others when there is much or it may hang."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from tuning_room.convert.config import ConvertConfig
from tuning_room.convert.sources import Source, Task
from tuning_room.convert.worker_process import WorkerProcess
from tuning_room.errors import TuningRoomError

# A process takes five seconds or more to import Docling, so it has to have more than that to do.
LEAST_SECONDS_OF_WORK = 15.0
SECONDS_A_PAGE = {"rules": 0.1, "models": 1.0}
SECONDS_AN_IMAGE = 3.0
SECONDS_A_FILE = 0.05
# Read in a process of their own even if there is little to do: a parser that hangs can only be ended with its process.
MAY_HANG = {"pdf", "image"}


class Attempt(NamedTuple):
    """A task that was tried, and what stood in its way."""

    task: Task
    error: TuningRoomError | None = None


def attempts(tasks: list[Task], config: ConvertConfig, *, layout: str) -> Iterator[Attempt]:
    """Convert documents and yield each as it is finished, or has failed; any order."""
    workers = worker_count(tasks, config, layout=layout)
    if workers > 1 or any(task.source.format in MAY_HANG for task in tasks):
        yield from _in_processes(tasks, config, workers)
    elif tasks:
        yield from _in_this_process(tasks, config)


def worker_count(tasks: list[Task], config: ConvertConfig, *, layout: str) -> int:
    """Return how many processes convert at once."""
    if config.workers is None:
        seconds = sum(_seconds(task.source, layout) for task in tasks)
        wanted = min(len(os.sched_getaffinity(0)), int(seconds / LEAST_SECONDS_OF_WORK))
    else:
        wanted = config.workers
    return max(1, min(wanted, len(tasks)))


def _seconds(source: Source, layout: str) -> float:
    """Return about how long a document takes; it only decides how many processes are started."""
    if source.format == "pdf":
        return _pages(source.path) * SECONDS_A_PAGE[layout]
    return SECONDS_AN_IMAGE if source.format == "image" else SECONDS_A_FILE


def _pages(path: Path) -> int:
    import pypdfium2  # type: ignore[import-untyped]

    try:
        with pypdfium2.PdfDocument(path) as document:
            return len(document)
    except pypdfium2.PdfiumError:
        return 0


def _in_this_process(tasks: list[Task], config: ConvertConfig) -> Iterator[Attempt]:
    from tuning_room.convert.conversion import Converter
    from tuning_room.convert.documents import convert_document

    converter = Converter(config)
    for task in tasks:
        try:
            convert_document(task, converter, config)
        except TuningRoomError as error:
            yield Attempt(task, error)
        else:
            yield Attempt(task)


def _in_processes(tasks: list[Task], config: ConvertConfig, count: int) -> Iterator[Attempt]:
    """Give each free process the largest document that is left, so that none is alone with it in the end."""
    free: SimpleQueue[WorkerProcess] = SimpleQueue()
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(count))
        # Ended before the threads are waited for: a thread waits for an answer of its process.
        stack.callback(threads.shutdown, wait=False, cancel_futures=True)
        for _ in range(count):
            free.put(stack.enter_context(WorkerProcess(config, threads=_threads(count))))
        largest_first = sorted(tasks, key=lambda task: task.source.path.stat().st_size, reverse=True)
        for future in as_completed([threads.submit(_attempt, task, free) for task in largest_first]):
            yield future.result()


def _attempt(task: Task, free: "SimpleQueue[WorkerProcess]") -> Attempt:
    worker = free.get()
    try:
        worker.convert(task)
    except TuningRoomError as error:
        return Attempt(task, error)
    finally:
        free.put(worker)
    return Attempt(task)


def _threads(processes: int) -> int:
    return max(1, len(os.sched_getaffinity(0)) // processes)
