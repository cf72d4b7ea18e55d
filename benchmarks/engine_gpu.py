"""The in-process engine on a GPU: the CPU's tokens, and tokens a second beside transformers' `generate`, in one run.

    .venv/bin/python benchmarks/engine_gpu.py [--json] [--adapter FOLDER] [--model REFERENCE] [--dialogues 1 8 64]

Two arms answer the shipped recipe's held-out problems, greedy, with 48 new tokens at most: `prompted`, the base model
under the full prompt, and `baked`, the adapter under the short one. Without `--adapter` one is drawn, as in
`engine.py`. All in fp32, TF32 off.

- `identity`: the first `--check` problems, without and with the adapter, under either prompt, by our engine on the GPU
  and on the CPU. `differ` lists those whose tokens differ other than at a tie: where they part, both tokens' scores are
  within 1e-4 of each other.
- `rates`: for each arm and number of dialogues at once the new tokens a second, the median of `--repeats` runs after
  one that does not count; ours starts with nothing kept each time. Both sides answer the same requests in one batch,
  and `differ` and `ties` compare their tokens. `ratio` is our rate over that of `generate`.

`--device cpu` tries the benchmark itself without a GPU. The exit code is 1 where tokens differ.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from engine import MODEL, RECIPE, draw_adapter, generated, is_tie, ours, requests, tell
from tuning_room.engines import Sampling
from tuning_room.engines.local import LocalEngine
from tuning_room.models import load_adapter, load_model, resolve
from tuning_room.rendering import prompt_ids

Tokens = list[list[int]]
BASE, ADAPTER = "base", "adapter"


def prompts() -> dict[str, str]:
    """Return the shipped recipe's two system turns."""
    short = yaml.safe_load((RECIPE / "recipe.yaml").read_text(encoding="utf-8"))["short_prompt"]
    return {"full": (RECIPE / "prompt.md").read_text(encoding="utf-8").strip(), "short": short}


class Sides:
    """The engine on a device, and a plain PEFT model there."""

    def __init__(self, folder: Path, adapter: Path, device: str) -> None:
        self.engine = LocalEngine(folder, base=BASE, adapters={ADAPTER: adapter}, device=device)
        self.model: Any = load_adapter(load_model(folder, device), adapter)
        self.end = self.engine.tokenizer.eos_token_id

    def ours(self, name: str, system: str, count: int, most: int) -> Tokens:
        """Answer with our engine, with nothing kept."""
        return ours(self.engine, name, requests(count, system), Sampling(max_tokens=most))

    def generate(self, name: str, system: str, count: int, most: int) -> Tokens:
        """Answer with transformers' `generate`, all dialogues in one batch."""
        asked = self.asked(system, count)
        if name == ADAPTER:
            return generated(self.model, asked, self.end, most, count)
        with self.model.disable_adapter():
            return generated(self.model, asked, self.end, most, count)

    def asked(self, system: str, count: int) -> Tokens:
        """Return the requests as tokens."""
        return [prompt_ids(self.engine.tokenizer, dialogue) for dialogue in requests(count, system)]

    def apart(self, name: str, asked: Tokens, one: Tokens, other: Tokens) -> dict[str, Any]:
        """Return which replies differ, and how many do so at a tie only."""
        places = [i for i, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1]]
        if name == BASE:
            with self.model.disable_adapter():
                real = [i for i in places if not is_tie(self.model, asked[i], one[i], other[i], self.end)]
        else:
            real = [i for i in places if not is_tie(self.model, asked[i], one[i], other[i], self.end)]
        return {"differ": real, "ties": len(places) - len(real)}


def identity(folder: Path, adapter: Path, sides: Sides, given: argparse.Namespace) -> dict[str, Any]:
    """Compare the tokens of our engine on the device and on the CPU."""
    cpu = LocalEngine(folder, base=BASE, adapters={ADAPTER: adapter}, device="cpu")
    found: dict[str, Any] = {}
    for prompt, system in prompts().items():
        for name in (BASE, ADAPTER):
            there = sides.ours(name, system, given.check, given.tokens)
            here = ours(cpu, name, requests(given.check, system), Sampling(max_tokens=given.tokens))
            case = sides.apart(name, sides.asked(system, given.check), there, here)
            found[f"{name}, {prompt} prompt"] = {**case, "replies": len(here), "tokens": sum(map(len, here))}
            tell(f"identity: {name}, {prompt} prompt: {case}")
    return found


def repeated(side: Callable[..., Tokens], times: int, *asked: Any) -> tuple[list[float], Tokens]:
    """Return the seconds of some runs after one that does not count, and the replies of the last."""
    seconds, replies = [], side(*asked)
    for _ in range(times):
        # Tokens come back as numbers: by then the device has finished.
        started = time.perf_counter()
        replies = side(*asked)
        seconds.append(time.perf_counter() - started)
    return seconds, replies


def rate(sides: Sides, name: str, system: str, count: int, given: argparse.Namespace) -> dict[str, Any]:
    """Measure one arm and number of dialogues on both sides."""
    found: dict[str, Any] = {"dialogues": count}
    said: dict[str, Tokens] = {}
    for side in (sides.ours, sides.generate):
        seconds, replies = repeated(side, given.repeats, name, system, count, given.tokens)
        said[side.__name__] = replies
        # Each reply but those that are cut has an end of its turn besides.
        tokens = sum(min(len(reply) + 1, given.tokens) for reply in replies)
        found[side.__name__] = {
            "tokens_a_second": round(tokens / statistics.median(seconds), 1),
            "seconds": [round(each, 3) for each in seconds],
            "tokens": tokens,
        }
    found["ratio"] = round(found["ours"]["tokens_a_second"] / found["generate"]["tokens_a_second"], 2)
    return {**found, **sides.apart(name, sides.asked(system, count), said["ours"], said["generate"])}


def machine(device: str) -> dict[str, Any]:
    """Return the card and the versions."""
    import torch

    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
        "matmul_precision": torch.get_float32_matmul_precision(),
    }


def measure(given: argparse.Namespace, adapter: Path) -> dict[str, Any]:
    """Run everything that was asked for."""
    folder = resolve(given.model)
    sides, rates = Sides(folder, adapter, given.device), {}
    same = identity(folder, adapter, sides, given) if given.check else {}
    for arm, name, prompt in (("prompted", BASE, "full"), ("baked", ADAPTER, "short")):
        rates[arm] = [rate(sides, name, prompts()[prompt], count, given) for count in given.dialogues]
        tell(f"{arm}: {rates[arm]}")
    differ = any(case["differ"] for case in [*same.values(), *(one for arm in rates.values() for one in arm)])
    return {**machine(given.device), "model": given.model, "same_tokens": not differ, "identity": same, "rates": rates}


def main() -> None:
    """Measure and print; the exit code is 1 where tokens differ."""
    parser = argparse.ArgumentParser(description="The in-process engine on a GPU, beside transformers' generate.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--model", default=MODEL, help="embedded:<name> or a folder")
    parser.add_argument("--adapter", type=Path, help="folder of a trained adapter")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--dialogues", type=int, nargs="+", default=[1, 8, 64], help="numbers of dialogues at once")
    parser.add_argument("--tokens", type=int, default=48, help="longest reply")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--check", type=int, default=16, help="problems that the CPU answers too; 0 for none")
    given = parser.parse_args()
    import torch

    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch finds no GPU: give --device cpu to try the benchmark itself")
    with tempfile.TemporaryDirectory() as place:
        found = measure(given, given.adapter or draw_adapter(Path(place), given.model))
    print(json.dumps(found) if given.json else json.dumps(found, indent=2))
    sys.exit(0 if found["same_tokens"] else 1)


if __name__ == "__main__":
    main()
