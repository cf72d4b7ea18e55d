"""How many tokens a second the in-process server gives to many clients at once, against the same ones in turn.

    python benchmarks/concurrency.py --json

Every round asks all questions one after another, then all at once with one place (each waits for the one before it to
be done, as all did before there was one batch for all) and with a place for each. Real: the embedded model, uvicorn on
a port, streamed replies over HTTP. Servers and clients share the machine.
"""

import argparse
import json
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn

from tuning_room.engines.local import LocalEngine
from tuning_room.models import resolve
from tuning_room.serve.connection import TimelyProtocol
from tuning_room.serve.server import ServerSettings, bound_socket, create_app

SYSTEM = "You are a patient guide. Ask one short question at a time, and never give the answer away. " * 8
TOPICS = "rivers bridges clocks bread maps music glass wool salt tides roofs seeds lenses kites wells inks".split()


@contextmanager
def served(engine: LocalEngine, places: int) -> Iterator[str]:
    """Yield the address of a server with so many places."""
    with bound_socket("127.0.0.1", 0) as bound:
        app = create_app(engine, ServerSettings(places=places, waiting=256))
        server = uvicorn.Server(uvicorn.Config(app, http=TimelyProtocol, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1/chat/completions"
        server.should_exit = True
        thread.join()


def ask(address: str, number: int, tokens: int) -> tuple[int, float]:
    """Return the number of tokens of a reply, and the seconds until its first text."""
    question = f"Tell me all about {TOPICS[number % len(TOPICS)]}, part {number}."
    turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
    body = {"model": "base", "messages": turns, "max_tokens": tokens, "stream": True}
    started, first, count = time.perf_counter(), 0.0, 0
    with httpx.stream("POST", address, json={**body, "stream_options": {"include_usage": True}}, timeout=600) as answer:
        for line in answer.iter_lines():
            chunk: dict[str, Any] = json.loads(line[6:]) if line.startswith("data: {") else {}
            if chunk.get("choices") and chunk["choices"][0]["delta"].get("content") and not first:
                first = time.perf_counter() - started
            count = (chunk.get("usage") or {}).get("completion_tokens", count)
    return count, first


def measured(address: str, clients: int, requests: int, tokens: int) -> dict[str, float]:
    """Return tokens a second and the median time to a first text of requests by so many clients at once."""
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(lambda number: ask(address, number, tokens), range(requests)))
    seconds = time.perf_counter() - started
    return {
        "tokens_per_second": sum(count for count, _ in found) / seconds,
        "first_text_median": statistics.median(first for _, first in found),
    }


def rounds(engine: LocalEngine, clients: int, requests: int, tokens: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield the figures of each round; what was kept of the round before is forgotten."""
    for _ in range(count):
        found: dict[str, Any] = {}
        for name, places, at_once in (("in_turn", clients, 1), ("one_place", 1, clients), ("batch", clients, clients)):
            engine.forget()
            with served(engine, places) as address:
                found[name] = measured(address, at_once, requests, tokens)
        yield found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    engine = LocalEngine(resolve("embedded:smollm2-135m"), base="base", batch_size=max(given.clients, 1))
    found = list(rounds(engine, given.clients, given.requests, given.tokens, given.rounds))
    speeds = {name: [one[name]["tokens_per_second"] for one in found] for name in found[0]}
    ratios = {
        name: statistics.median(b / a for a, b in zip(speeds[name], speeds["batch"], strict=True))
        for name in ("in_turn", "one_place")
    }
    result = {"clients": given.clients, "rounds": found, "ratios": ratios}
    print(json.dumps(result, indent=None if given.json else 2))


if __name__ == "__main__":
    main()
