"""Who converts the documents: this process while there is little to do, others when there is much or a parser may hang.

A worker is a process of ours that is sent lines of JSON: first the config, then one task at a time, each of which it
answers with a line. Both ends are here: `Worker` is what this process sees, `work` what the other one runs.

    to stdin       {"documents": ...}                               the config
                   ["docs/a.pdf", "a.pdf", "pdf", "runs/...", "9f2..."]
    from stdout    {"warnings": []}                                 it went well
                   {"error": "a.pdf: ...", "hint": "...", "warnings": []}
"""

import json
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import NamedTuple, Self, TypedDict

from tuning_room.convert.config import ConvertConfig
from tuning_room.convert.reader import DoclingReader, MessageCollector
from tuning_room.convert.sources import Source
from tuning_room.convert.store import Task, convert_document
from tuning_room.errors import DocumentError, TuningRoomError

logger = logging.getLogger(__name__)

# Not run with -m: the package would already have imported this module, and there would be two copies of it.
COMMAND = [sys.executable, "-c", "from tuning_room.convert.processes import work; work()"]
# A process takes five seconds or more to import Docling, so it has to have more than that to do.
LEAST_SECONDS_OF_WORK = 15.0
SECONDS_A_PAGE = {"rules": 0.1, "models": 1.0}
SECONDS_AN_IMAGE = 3.0
SECONDS_A_FILE = 0.05
# Read in a separate process even if there is little to do: a parser that hangs can only be stopped with its process.
MAY_HANG = {"pdf", "image"}
LARGE = 100_000  # bytes; what is read as a whole may take the square of its size


class TriedTask(NamedTuple):
    """A task that was tried, and what went wrong."""

    task: Task
    error: TuningRoomError | None = None


def attempts(tasks: list[Task], config: ConvertConfig, *, layout: str) -> Iterator[TriedTask]:
    """Convert documents and yield each once it has succeeded or failed, in any order."""
    workers = worker_count(tasks, config, layout=layout)
    if workers > 1 or any(_may_hang(task.source) for task in tasks):
        yield from _in_processes(tasks, config, workers)
    elif tasks:
        yield from _in_this_process(tasks, config)


def _may_hang(source: Source) -> bool:
    return source.format in MAY_HANG or source.path.stat().st_size > LARGE


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
    import pypdfium2  # type: ignore[import-untyped]

    if source.format != "pdf":
        return SECONDS_AN_IMAGE if source.format == "image" else SECONDS_A_FILE
    try:
        with pypdfium2.PdfDocument(source.path) as document:
            return len(document) * SECONDS_A_PAGE[layout]
    except pypdfium2.PdfiumError:
        return 0.0


def _in_this_process(tasks: list[Task], config: ConvertConfig) -> Iterator[TriedTask]:
    reader = DoclingReader(config)
    for task in tasks:
        yield _tried(task, lambda task: convert_document(task, reader, config))


def _in_processes(tasks: list[Task], config: ConvertConfig, count: int) -> Iterator[TriedTask]:
    """Give each free process the largest document that is left, so that none is left alone with it at the end."""
    free: SimpleQueue[Worker] = SimpleQueue()
    threads_each = max(1, len(os.sched_getaffinity(0)) // count)

    def convert(task: Task) -> None:
        worker = free.get()
        try:
            worker.convert(task)
        finally:
            free.put(worker)

    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(count))
        # Cancelled before the threads are joined: each of them is waiting for its process to answer.
        stack.callback(threads.shutdown, wait=False, cancel_futures=True)
        for _ in range(count):
            free.put(stack.enter_context(Worker(config, threads=threads_each)))
        largest_first = sorted(tasks, key=lambda task: task.source.path.stat().st_size, reverse=True)
        for future in as_completed([threads.submit(_tried, task, convert) for task in largest_first]):
            yield future.result()


def _tried(task: Task, convert: Callable[[Task], None]) -> TriedTask:
    try:
        convert(task)
    except TuningRoomError as error:
        return TriedTask(task, error)
    return TriedTask(task)


class WorkerAnswer(TypedDict, total=False):
    """What a worker says of a task: `error` and `hint` or `os_error` if it went wrong; `warnings` in any case."""

    error: str
    hint: str
    os_error: tuple[int | None, str | None, str | None]
    warnings: list[str]


class Worker:
    """A process that converts, as this one sees it; started when needed, and again when it has died.

    `threads` is the number of threads that its libraries may use.
    """

    def __init__(self, config: ConvertConfig, *, threads: int) -> None:
        self._config = config
        self._environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False
        self._busy = threading.Lock()

    def convert(self, task: Task) -> None:
        """Convert a document; DocumentError if that fails or the process dies of it, OSError for a full disk."""
        with self._busy:
            answer = self._ask(task)
        for warning in answer.get("warnings", []):
            logger.warning("%s", warning)
        if "os_error" in answer:
            raise OSError(*answer["os_error"])
        if "error" in answer:
            raise DocumentError(answer["error"], hint=answer["hint"])

    def _ask(self, task: Task) -> WorkerAnswer:
        process = self._process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        source, folder = task.source, str(task.folder)
        line = json.dumps([str(source.path), source.name, source.format, folder, task.digest])
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            # The stream's buffer holds nothing of an earlier answer: each is a single line and is read to its end.
            if not select.select([process.stdout], [], [], self._config.timeout)[0]:
                raise self._stall(task)
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise self._death(task)
        found: WorkerAnswer = json.loads(answer)
        return found

    def _start(self) -> subprocess.Popen[str]:
        if self._stopped:
            raise DocumentError("the conversion was stopped")
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            env=self._environment,
            text=True,
            encoding="utf-8",
        )
        self._process = process
        assert process.stdin is not None
        process.stdin.write(self._config.model_dump_json() + "\n")
        return process

    def _death(self, task: Task) -> DocumentError:
        """Return the error for the document that a process died of; the next task gets a new process."""
        code = self._process.wait() if self._process else 0
        reason = self._last_words() if code > 0 else signal.Signals(-code).name if code < 0 else "no message"
        self._close()
        return DocumentError(
            f"{task.source.path}: the process reading it died ({reason})",
            hint="if memory ran out, set 'workers: 1' or split the file; otherwise move it out of the folder",
        )

    def _stall(self, task: Task) -> DocumentError:
        """Kill a process that does not come back, and return the error for its document."""
        self._close()
        return DocumentError(
            f"{task.source.path}: not read within {self._config.timeout} seconds",
            hint="set a longer 'timeout', split the file, or move it out of the folder",
        )

    def _last_words(self) -> str:
        self._messages.seek(0)
        lines = self._messages.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"

    def _close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.communicate()
        self._messages.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        if process := self._process:
            # A thread waiting for its answer then reads the end of the stream and releases the lock.
            process.kill()
        with self._busy:
            self._close()


def work() -> None:
    """Be a worker: answer tasks until stdin ends, which it also does when the parent is killed."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    # What libraries print must not mix with the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    warnings.simplefilter("ignore")
    config = ConvertConfig.model_validate_json(sys.stdin.readline())
    reader, warned = DoclingReader(config), MessageCollector()
    logging.getLogger("tuning_room").addHandler(warned)
    for line in sys.stdin:
        warned.messages = []
        answer = _answer(line, reader, config)
        answers.write(json.dumps({**answer, "warnings": warned.messages}) + "\n")
        answers.flush()


def _answer(line: str, reader: DoclingReader, config: ConvertConfig) -> WorkerAnswer:
    path, name, kind, folder, digest = json.loads(line)
    task = Task(Source(Path(path), name, kind), Path(folder), digest)
    try:
        convert_document(task, reader, config)
    except TuningRoomError as error:
        return {"error": str(error.args[0]), "hint": error.hint}
    except OSError as error:
        return {"os_error": (error.errno, error.strerror, error.filename)}
    return {}
