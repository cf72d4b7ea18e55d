"""A chat server that answers everything after a fixed delay, in a process of its own.

It does as little as can be, so that what is measured is the client: no framework, no JSON, one reply for all.
`python chat_server.py DELAY` prints its port and serves until stdin is closed. `GET /stats` tells, and forgets, how
many requests came since the last time, how many were under way at once, and the seconds from the first one to the last
reply.
"""

import asyncio
import json
import re
import sys
import time
from typing import Any

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
WORDS = "Which part of it do you know already, and what would the first step be if the numbers were smaller?"


def http(value: Any) -> bytes:
    """Return a JSON response as bytes."""
    body = json.dumps(value).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


CHOICE = {"index": 0, "message": {"role": "assistant", "content": WORDS}, "finish_reason": "stop"}
USAGE = {"prompt_tokens": 800, "completion_tokens": 24, "total_tokens": 824}
REPLY = http(
    {"id": "1", "object": "chat.completion", "created": 1, "model": "scripted", "choices": [CHOICE], "usage": USAGE}
)


class Stats:
    """What happened since the last time that somebody asked."""

    def __init__(self) -> None:
        self.requests = self.under_way = self.most = 0
        self.first = self.last = 0.0

    def begin(self) -> None:
        """Count a request."""
        self.first = self.first or time.monotonic()
        self.requests += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)

    def end(self) -> None:
        """Count a reply."""
        self.under_way -= 1
        self.last = time.monotonic()

    def told(self) -> bytes:
        """Return the figures as a response and begin anew."""
        told = {"requests": self.requests, "most_under_way": self.most, "seconds": self.last - self.first}
        self.__init__()  # type: ignore[misc]
        return http(told)


class Chat(asyncio.Protocol):
    """One connection; a client sends its next request after the reply to the one before."""

    def __init__(self, delay: float, stats: Stats) -> None:
        self.delay = delay
        self.stats = stats
        self.data = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """Keep the way back."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer as soon as head and body are there."""
        self.data += data
        end = self.data.find(b"\r\n\r\n")
        if end < 0:
            return
        length = LENGTH.search(self.data, 0, end + 2)
        if len(self.data) < end + 4 + (int(length[1]) if length else 0):
            return
        is_stats, self.data = self.data.startswith(b"GET /stats"), b""
        if is_stats:
            self.transport.write(self.stats.told())
            return
        self.stats.begin()
        asyncio.get_running_loop().call_later(self.delay, self.answer)

    def answer(self) -> None:
        """Send the reply."""
        self.stats.end()
        if not self.transport.is_closing():
            self.transport.write(REPLY)


async def serve(delay: float) -> None:
    """Serve until stdin ends."""
    loop, stats = asyncio.get_running_loop(), Stats()
    server = await loop.create_server(lambda: Chat(delay, stats), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
