"""The process that converts documents: the config, then tasks, are lines of JSON on stdin; answers go to stdout.

It ends when stdin does, so also when its parent is killed.
"""

import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import IO, Any

from tuning_room.convert.config import ConvertConfig
from tuning_room.convert.conversion import Converter
from tuning_room.convert.documents import convert_document
from tuning_room.convert.sources import Source, Task
from tuning_room.errors import TuningRoomError


class _Warnings(logging.Handler):
    """Keeps what the product warns of, for the answer."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def main() -> None:
    """Answer tasks until there are no more."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    # What libraries print must not get in among the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    warnings.simplefilter("ignore")
    config = ConvertConfig.model_validate_json(sys.stdin.readline())
    serve(sys.stdin, answers, Converter(config), config)


def serve(tasks: IO[str], answers: IO[str], converter: Converter, config: ConvertConfig) -> None:
    """Write an answer for each task: {} if it went well, else `error` and `hint`, or `os_error`; and `warnings`."""
    handler = _Warnings()
    logging.getLogger("tuning_room").addHandler(handler)
    for line in tasks:
        handler.messages = []
        answer = _answer(line, converter, config)
        answers.write(json.dumps({**answer, "warnings": handler.messages}) + "\n")
        answers.flush()


def _answer(line: str, converter: Converter, config: ConvertConfig) -> dict[str, Any]:
    path, name, kind, folder, digest = json.loads(line)
    task = Task(Source(Path(path), name, kind), Path(folder), digest)
    try:
        convert_document(task, converter, config)
    except TuningRoomError as error:
        return {"error": str(error.args[0]), "hint": error.hint}
    except OSError as error:
        return {"os_error": [error.errno, error.strerror, error.filename]}
    return {}


if __name__ == "__main__":
    main()
