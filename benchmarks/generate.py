"""How fast a teacher's answers are fetched, beside plain SDG Hub and distilabel: same prompts, same server, same run.

    .venv/bin/python benchmarks/generate.py [--json] [--rows 2000] [--concurrency 64] [--delay 0.2] [--repeats 3]

distilabel wants an environment of its own, without torch; it is left out where there is none:

    python3.11 -m venv .venv-bench && .venv-bench/bin/pip install 'distilabel[openai]==1.5.3' requests

The server answers after a fixed delay, so no client can get more than concurrency / delay rows a second out of it; a
client of bare sockets shows how near one gets. `rows_per_second` counts from rows to replies; the peers are compared by
`rows_per_second_at_server`, from the first request to the last reply as the server sees them, which leaves a peer's own
start out. `ratios` are above 1 where this project is better; `ceiling` is the achieved share of the server's ceiling.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BENCH_PYTHON = HERE.parent / ".venv-bench" / "bin" / "python"


@contextmanager
def server(delay: float) -> Iterator[int]:
    """Yield the port of a running server."""
    line = [sys.executable, str(HERE / "chat_server.py"), str(delay)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdin
        yield int(process.stdout.readline())
        process.stdin.close()


def measured(name: str, port: int, rows: int, concurrency: int) -> dict[str, Any]:
    """Run a contender once."""
    python = str(BENCH_PYTHON) if name == "distilabel" else sys.executable
    line = [python, str(HERE / "generate_contender.py"), name, str(port), str(rows), str(concurrency)]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
    run = json.loads(done.stdout.splitlines()[-1])
    return {
        "rows_per_second": rows / run["wall_seconds"],
        "rows_per_second_at_server": rows / run["seconds"],
        "requests": run["requests"],
        "most_under_way": run["most_under_way"],
    }


def median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the run in the middle by rate."""
    middle = statistics.median_low(run["rows_per_second_at_server"] for run in runs)
    chosen = next(run for run in runs if run["rows_per_second_at_server"] == middle)
    return {key: round(value, 1) for key, value in chosen.items()}


def compare(rows: int, concurrency: int, delay: float, repeats: int, peers: list[str]) -> dict[str, Any]:
    """Measure everybody in turn and return figures and ratios."""
    names = ["bare", "ours", *peers]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with server(delay) as port:
        for _ in range(repeats):
            for name in names:
                runs[name].append(measured(name, port, rows, concurrency))
                print(f"{name:<11}{runs[name][-1]['rows_per_second']:7.1f} rows/s", file=sys.stderr)
    found = {name: median(given) for name, given in runs.items()}
    ours, ceiling = found["ours"], concurrency / delay
    ratios = {"ceiling": ours["rows_per_second"] / ceiling}
    for peer in peers:
        ratios[peer] = ours["rows_per_second_at_server"] / found[peer]["rows_per_second_at_server"]
    return {
        "rows": rows,
        "concurrency": concurrency,
        "delay_seconds": delay,
        "repeats": repeats,
        "ceiling_rows_per_second": ceiling,
        "bare_sockets": found["bare"],
        "ours": ours,
        "peers": {peer: found[peer] for peer in peers},
        "ratios": {name: round(value, 3) for name, value in ratios.items()},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Rows a second from a teacher with a fixed delay.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--delay", type=float, default=0.2, help="seconds a reply takes")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each; the one in the middle counts")
    parser.add_argument("--peers", nargs="*", choices=["sdg_hub", "distilabel"], default=None)
    given = parser.parse_args()
    there = ["sdg_hub", "distilabel"] if BENCH_PYTHON.exists() else ["sdg_hub"]
    peers = there if given.peers is None else given.peers
    found = compare(given.rows, given.concurrency, given.delay, given.repeats, peers)
    print(json.dumps(found) if given.json else json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
