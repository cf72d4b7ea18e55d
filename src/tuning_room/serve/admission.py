"""Who may be answered now, who waits, who is turned away; and the end of it all when the server is to stop."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from anyio import CancelScope, CapacityLimiter

from tuning_room.serve.fields import RequestError

MEASURING = 8
LEAST_WAIT, MOST_WAIT = 1, 60  # seconds that a client which was turned away is asked to wait


class ShuttingDownError(RequestError):
    """A request that is not answered since the server is shutting down."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down", status=503, kind="server_error", retry_after=LEAST_WAIT)


class Admission:
    """Places for replies that are computed together, and a line of requests that wait for them.

    Once it is closed, nobody is admitted and those who wait are refused; once it has `ended`, those under way are, too.
    To be used from the event loop only.
    """

    def __init__(self, places: int = 32, most_waiting: int = 64) -> None:
        self.places, self.most_waiting = places, most_waiting
        # A thread for each reply under way, and some for prompts that are measured.
        self.threads = CapacityLimiter(places + MEASURING)
        self.taken = 0
        self.ended = self.closed = False
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._scopes: set[CancelScope] = set()

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._line)

    async def take(self, count: int) -> None:
        """Wait for places; RequestError with 429 if too many wait already, or 503 if the server is shutting down."""
        if self.closed:
            raise ShuttingDownError
        if not self._line and self.taken + count <= self.places:
            self.taken += count
            return
        if len(self._line) >= self.most_waiting:
            raise self._full()
        place = (count, asyncio.get_running_loop().create_future())
        self._line.append(place)
        try:
            await place[1]
        except asyncio.CancelledError:
            if place in self._line:
                self._line.remove(place)
                # Who stood behind it may fit where it did not.
                self.give(0)
            elif place[1].done() and not place[1].cancelled() and not place[1].exception():
                self.give(count)
            raise

    def give(self, count: int) -> None:
        """Give places back, and let those in who have waited longest."""
        self.taken -= count
        while self._line and self.taken + self._line[0][0] <= self.places:
            wanted, admitted = self._line.popleft()
            if not admitted.done():
                self.taken += wanted
                admitted.set_result(None)

    def close(self) -> None:
        """Refuse those who wait and those who come."""
        self.closed = True
        while self._line:
            _, admitted = self._line.popleft()
            if not admitted.done():
                admitted.set_exception(ShuttingDownError())

    def end(self) -> None:
        """Break off what is under way."""
        self.close()
        self.ended = True
        for scope in self._scopes:
            scope.cancel()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Let a block of asynchronous work be broken off by the end, with ShuttingDownError."""
        if self.ended:
            raise ShuttingDownError
        with CancelScope() as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
        if scope.cancelled_caught:
            raise ShuttingDownError

    def _full(self) -> RequestError:
        wait = min(MOST_WAIT, LEAST_WAIT + len(self._line) // self.places)
        return RequestError(
            f"{len(self._line)} requests are waiting already; try again in {wait} s",
            status=429,
            kind="rate_limit_error",
            code="queue_full",
            retry_after=wait,
        )
