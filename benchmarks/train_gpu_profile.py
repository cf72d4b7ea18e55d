"""What a few training steps spend their time on: the GPU's kernels, the host that starts them, or the wait for either.

The profile of a side of `train_gpu.py`. `wall` and `busy` are milliseconds a step: by the clock, and those in which
any kernel ran; a `busy` far under `wall` says that the GPU waits for the host. The profiler itself slows the host down:
`step_seconds` of the steps before are the honest ones.
"""

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FIRST, COUNT = 9, 3  # the first step that is recorded, and how many are
KERNELS = ("kernel", "gpu_memcpy", "gpu_memset")


@contextmanager
def recorded(wanted: bool) -> Iterator[dict[str, Any]]:
    """Record some of the optimizer steps taken meanwhile; what is yielded is filled in at the end."""
    found: dict[str, Any] = {}
    if not wanted:
        yield found
        return
    from accelerate.optimizer import AcceleratedOptimizer

    plain = AcceleratedOptimizer.step
    recorder = Recorder(found)

    def step(self: Any, *given: Any, **more: Any) -> Any:
        result = plain(self, *given, **more)
        if self.gradient_state.sync_gradients:
            recorder.stepped()
        return result

    AcceleratedOptimizer.step = step
    try:
        yield found
    finally:
        AcceleratedOptimizer.step = plain


class Recorder:
    """Counts steps, and records those from FIRST on."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found, self.steps = found, 0
        self.profile: Any = None
        self.began = 0.0

    def stepped(self) -> None:
        """Start or stop, as the count of steps says."""
        from torch.profiler import ProfilerActivity, profile

        self.steps += 1
        if self.steps == FIRST:
            synchronize()
            self.profile = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
            self.profile.start()
            self.began = time.perf_counter()
        elif self.steps == FIRST + COUNT:
            synchronize()
            wall = time.perf_counter() - self.began
            self.profile.stop()
            self.found |= summary(trace(self.profile), wall)


def synchronize() -> None:
    """Wait for the GPU, where there is one."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def trace(profile: Any) -> list[dict[str, Any]]:
    """Return the events of a profile."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    return [event for event in events if event.get("ph") == "X" and "cat" in event]


def summary(events: list[dict[str, Any]], wall: float) -> dict[str, Any]:
    """Return what of the steps' time is whose, a step."""
    kernels = [event for event in events if event["cat"] in KERNELS]
    runtime = [event for event in events if event["cat"] in ("cuda_runtime", "cuda_driver")]
    operations = [event for event in events if event["cat"] == "cpu_op"]
    return {
        "wall_ms": round(wall * 1000 / COUNT, 1),
        "busy_ms": round(union(kernels) / 1000 / COUNT, 1),
        "kernels": len(kernels) // COUNT,
        "launches": sum("Launch" in event["name"] for event in runtime) // COUNT,
        "operations": len(operations) // COUNT,
        "attention_calls": sum("attention_forward" in event["name"] for event in operations) // COUNT,
        "top_kernels": top(kernels, lambda event: event["dur"]),
        "top_runtime": top(runtime, lambda event: event["dur"]),
        "top_operations": top(operations, own_time(operations)),
    }


def union(events: list[dict[str, Any]]) -> float:
    """Return the microseconds in which any of the events ran."""
    total, reached = 0.0, 0.0
    for event in sorted(events, key=lambda event: float(event["ts"])):
        begin, end = float(event["ts"]), float(event["ts"]) + float(event["dur"])
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def own_time(operations: list[dict[str, Any]]) -> Callable[[dict[str, Any]], float]:
    """Return what an operation takes without those that it calls."""
    own: dict[int, float] = {}
    stack: list[dict[str, Any]] = []
    for event in sorted(operations, key=lambda event: (event["tid"], float(event["ts"]), -float(event["dur"]))):
        own[id(event)] = float(event["dur"])
        while stack and (stack[-1]["tid"] != event["tid"] or stack[-1]["ts"] + stack[-1]["dur"] <= event["ts"]):
            stack.pop()
        if stack:
            own[id(stack[-1])] -= float(event["dur"])
        stack.append(event)
    return lambda event: own[id(event)]


def top(events: list[dict[str, Any]], cost: Callable[[dict[str, Any]], float], most: int = 12) -> list[list[Any]]:
    """Return the names that take most, each with milliseconds and calls a step."""
    spent, calls = Counter[str](), Counter[str]()
    for event in events:
        name = event["name"][:80]
        spent[name] += cost(event)
        calls[name] += 1
    return [[name, round(spent[name] / 1000 / COUNT, 2), calls[name] // COUNT] for name, _ in spent.most_common(most)]
