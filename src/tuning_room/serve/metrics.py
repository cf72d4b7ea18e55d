"""What the server counts, in Prometheus' text format. Labels are served models, known paths, statuses: never many."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)  # seconds
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """How many durations were within each of the bounds."""

    def __init__(self, name: str, meaning: str) -> None:
        self.name, self.meaning = name, meaning
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._sum += seconds

    def lines(self) -> Iterator[str]:
        """Yield the lines of the text format."""
        yield from _head(self.name, self.meaning, "histogram")
        total = 0
        for bound, count in zip([*map(str, BOUNDS), "+Inf"], self._counts, strict=True):
            total += count
            yield f'{self.name}_bucket{{le="{bound}"}} {total}'
        yield f"{self.name}_sum {self._sum:.6f}"
        yield f"{self.name}_count {total}"


class Metrics:
    """The counts since the server was started."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()  # by path and status
        self.tokens: Counter[tuple[str, str]] = Counter()  # by model, and whether read or generated
        self.first_token = Histogram("tuning_room_time_to_first_token_seconds", "Until the first piece of a reply.")
        self.duration = Histogram("tuning_room_request_seconds", "Until the end of an answered request.")

    def text(self, *, running: int, waiting: int) -> str:
        """Return all counts, with the numbers of replies under way and of requests that wait."""
        lines = [
            *_counter("tuning_room_requests_total", "Requests for replies.", ("path", "status"), self.requests),
            *_counter("tuning_room_tokens_total", "Tokens.", ("model", "kind"), self.tokens),
            *_gauge("tuning_room_replies_running", "Replies under way.", running),
            *_gauge("tuning_room_requests_waiting", "Requests that wait for a place.", waiting),
            *self.first_token.lines(),
            *self.duration.lines(),
        ]
        return "\n".join(lines) + "\n"


class CountedRequests:
    """Counts the requests of some paths by their statuses."""

    def __init__(self, app: "ASGIApp", metrics: Metrics, paths: Sequence[str]) -> None:
        self.app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["path"] not in self._paths:
            await self.app(scope, receive, send)
            return

        async def counted(message: "Message") -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests[scope["path"], str(message["status"])] += 1
            await send(message)

        await self.app(scope, receive, counted)


def _counter(name: str, meaning: str, labels: tuple[str, str], counts: Counter[tuple[str, str]]) -> Iterator[str]:
    yield from _head(name, meaning, "counter")
    for values, count in sorted(counts.items()):
        pairs = ",".join(f'{label}="{_escaped(value)}"' for label, value in zip(labels, values, strict=True))
        yield f"{name}{{{pairs}}} {count}"


def _gauge(name: str, meaning: str, value: int) -> Iterator[str]:
    yield from _head(name, meaning, "gauge")
    yield f"{name} {value}"


def _head(name: str, meaning: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} {kind}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
