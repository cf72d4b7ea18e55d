"""A process that converts documents, as its parent sees it: started when needed, and again when it has died."""

import json
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from types import TracebackType
from typing import Any, Self

from tuning_room.convert.config import ConvertConfig
from tuning_room.convert.sources import Task
from tuning_room.errors import DocumentError

logger = logging.getLogger(__name__)
COMMAND = [sys.executable, "-m", "tuning_room.convert.worker"]


class WorkerProcess:
    """One process; tasks and answers are lines of JSON. `threads` is how many of them it may use at once."""

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

    def _ask(self, task: Task) -> dict[str, Any]:
        process = self._process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        source, folder = task.source, str(task.folder)
        line = json.dumps([str(source.path), source.name, source.format, folder, task.digest])
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            # Nothing of an earlier answer is left in the stream's buffer: each is one line, and is read whole.
            if not select.select([process.stdout], [], [], self._config.timeout)[0]:
                raise self._stall(task)
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise self._death(task)
        found: dict[str, Any] = json.loads(answer)
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
        """Return what to say of the document that a process died of; the next task gets a new process."""
        code = self._process.wait() if self._process else 0
        reason = self._last_words() if code > 0 else signal.Signals(-code).name if code < 0 else "without a word"
        self._close()
        return DocumentError(
            f"{task.source.path}: the process that read it has died ({reason})",
            hint="if memory ran out, set 'workers: 1' or split the file; otherwise move it out of the folder",
        )

    def _stall(self, task: Task) -> DocumentError:
        """End a process that does not come back, and return what to say of its document."""
        self._close()
        return DocumentError(
            f"{task.source.path}: was not read within {self._config.timeout} seconds",
            hint="set a longer 'timeout', split the file, or move it out of the folder",
        )

    def _last_words(self) -> str:
        self._messages.seek(0)
        lines = self._messages.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "without a word"

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
            # A thread that waits for its answer reads the end of the stream, and lets go.
            process.kill()
        with self._busy:
            self._close()
