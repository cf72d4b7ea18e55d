"""Work that a recipe asks for and that may have no end, in a process of its own with limits of time and memory.

A regular expression, a formula or a schema of a few characters can keep a machine busy for years; whether it does
cannot be read from it. Both ends are here: `bounded` is what this process calls, `work` what the other one runs. They
exchange lines of JSON: a function of ours with its arguments, and its result.
"""

import atexit
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import Any

from tuning_room import errors
from tuning_room.errors import LimitError, TuningRoomError

# Not run with -m: there would be two copies of this module.
COMMAND = [sys.executable, "-c", "from tuning_room.bounded import work; work()"]
SECONDS = 10  # of computing for one call; thousands of such calls are made
WAIT = 300.0  # seconds until a process counts as lost that is given no time to compute, or never looks up from it
TOO_LATE = 75  # how the process ends that cannot be told to stop
MEMORY = 4_000_000_000  # bytes of addresses, of which libraries take up one billion without using it


class OutOfTime(BaseException):
    """Raised in the other process when a call has used up its time; no library takes it for an error of its own."""


def bounded(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function of a module returns in the other process; arguments and result are values of JSON.

    Raises LimitError for a call that takes more than it may, and what the function raises: ours, or ValueError.
    """
    return _PROCESS.call(f"{function.__module__}:{function.__qualname__}", arguments)


class _Process:
    """The other process as this one sees it: started when needed, and again after it has been stopped."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._busy = threading.Lock()

    def call(self, function: str, arguments: tuple[Any, ...]) -> Any:
        with self._busy:
            answer = self._ask(json.dumps([function, arguments, SECONDS]).encode())
            if "limit" in answer:
                self.stop()
        if "limit" in answer:
            raise LimitError(answer["limit"], hint="make it simpler")
        if "error" in answer:
            kind, message, hint = answer["error"]
            raise getattr(errors, kind)(message, hint=hint)
        if "value" in answer:
            raise ValueError(answer["value"])
        return answer["result"]

    def _ask(self, line: bytes) -> dict[str, Any]:
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(line + b"\n")
            process.stdin.flush()
            if not select.select([process.stdout], [], [], WAIT)[0]:
                return {"limit": f"takes more than {WAIT:.0f} s"}
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer and process.wait() == TOO_LATE:
            return {"limit": _out_of_time(SECONDS)}
        if not answer.endswith(b"\n"):
            return {
                "limit": f"takes more memory than there is ({MEMORY / 1e9:.0f} GB at most), or the process was ended"
            }
        found: dict[str, Any] = json.loads(answer)
        return found

    def _running(self) -> subprocess.Popen[bytes]:
        # After a fork the pipes belong to the parent, too.
        if self._process is None or self._owner != os.getpid():
            self._process, self._owner = (
                subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE),
                os.getpid(),
            )
        return self._process

    def stop(self) -> None:
        """End the process, if this one has started it."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.communicate()


_PROCESS = _Process()
atexit.register(_PROCESS.stop)


def work() -> None:
    """Be the other process: answer until stdin ends, which it also does when the parent is killed."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    # What libraries print must not mix with the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to both, and is the parent's
    alarm = _Alarm()
    signal.signal(signal.SIGXCPU, alarm.hear)
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most), most))
    for line in sys.stdin:
        answers.write(json.dumps(_answer(line, alarm)) + "\n")
        answers.flush()


def _out_of_time(seconds: int) -> str:
    return f"takes more than {seconds} s of computing"


class _Alarm:
    """Hears SIGXCPU, which comes again every second: an exception may get lost in code that cannot raise any."""

    def __init__(self) -> None:
        self.heard = self.seconds = 0

    def hear(self, number: int, frame: FrameType | None) -> None:
        self.heard += 1
        if self.heard > 2:
            os._exit(TOO_LATE)
        raise OutOfTime(_out_of_time(self.seconds))


def _answer(line: str, alarm: _Alarm) -> dict[str, Any]:
    name, arguments, alarm.seconds = json.loads(line)
    module, _, function = name.partition(":")
    call = getattr(import_module(module), function)
    try:
        _set_time(int(time.process_time()) + alarm.seconds)
        return {"result": call(*arguments)}
    except (LimitError, OutOfTime) as error:
        return {"limit": error.args[0]}
    except MemoryError:
        return {"limit": f"takes more memory than {MEMORY / 1e9:.0f} GB"}
    except RecursionError:
        return {"limit": "refers to itself without end, or is too deep"}
    except TuningRoomError as error:
        return {"error": [type(error).__name__, str(error.args[0]), error.hint]}
    except ValueError as error:
        return {"value": str(error)}
    finally:
        _set_time(resource.RLIM_INFINITY)


def _set_time(seconds: int) -> None:
    """Have SIGXCPU sent once this process has computed for so many seconds in all."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
