"""How fast LoRA training is on a GPU through our Unsloth backend, beside plain TRL and PEFT, in one run.

    python benchmarks/train_gpu.py [--out FILE] [--run FOLDER] [--shapes 1.5b 8b] [--tokens 80 300 1000] [--orders 2]

Every side trains the same adapter (rank 16, all linear layers) of the same model on the same rows, each once. A model
is a Llama of a shape with random weights and the embedded model's tokenizer: as fast as a trained one, and at hand
without a download. Rows come from the shipped recipe's dataset; for more than 80 tokens several are joined. `ours` is
what a recipe with `backend: unsloth` runs, `ours_4bit` the same with `quantize: 4bit`; `ours_flash` attends to packed
rows in one kernel, as Unsloth does by itself from torch 2.12 on; `ours_padded` pads its rows and compiles whole blocks.
`trl_padded` is TRL's SFTTrainer on a PEFT model in bf16 at its best, in padded passes of rows of one length without
gradient checkpointing, `trl_packed` without padding by torch's flash kernel, `trl_packed_sdpa` the same under a mask,
`trl_4bit` padded on nf4, `trl_stock` as TRL comes. Each side is a process of its own that waits while others train.
With `--orders 2` all is run again with the sides in the opposite order.

`tokens_a_second` are the rows' own tokens, without padding, over the steps after the first five, which compile kernels,
`by_median` the same by the median step: now and then a step of 3 s stands among others of 0.4 s, as a kernel is built;
`peak_mib` is what torch allocated on the GPU; `share` is the training's operations, recomputation not counted, over
the rate of a bf16 matrix product of 8,192 in the same run. `valid_loss` is on other rows, in nats a token, by plain
transformers in bf16 for all adapters. `--profile` records what some steps wait for. The file of `--out` is written
after every case, and no case is begun after `--seconds`: what was measured before a cut-off is not lost.
"""

import argparse
import json
import os
import random
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from engine import tell
from train import rows_of
from train_gpu_contender import SIDES
from train_gpu_judge import SHAPES
from tuning_room.workspace import Workspace

HERE = Path(__file__).parent
MAIN = ("ours", "trl_padded", "trl_packed", "trl_stock")
VALID = 16
# Rows a step, by their length.
BATCHES = {80: 32, 300: 16, 1000: 8}
PATIENCE = 150  # seconds that a case may take
SETTINGS = {"ours_padded": {"UNSLOTH_PADDING_CHOICE": "padded"}}


class Side:
    """A process that trains, case after case."""

    def __init__(self, name: str, place: Path) -> None:
        self.name, self.place = name, place
        self.start()

    def start(self) -> None:
        """Start the process; it loads its libraries while others do."""
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        cache = {"UNSLOTH_COMPILE_LOCATION": str(self.place / f"compiled-{self.name}")}
        self.log = (self.place / f"{self.name}.log").open("a")
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "train_gpu_contender.py"), self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            cwd=self.place,
            env={**os.environ, **offline, **cache, **SETTINGS.get(self.name, {})},
        )
        self.is_ready = False

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        self.log.close()

    def ask(self, task: dict[str, Any], patience: float = PATIENCE) -> dict[str, Any]:
        """Return what came of a task; the process is begun anew where it died, or took too long."""
        if not self.is_ready:
            ready = self._answer(patience)
            if "error" in ready:
                return ready
            self.is_ready = True
        stdin: IO[str] = self.process.stdin  # type: ignore[assignment]
        stdin.write(json.dumps(task) + "\n")
        stdin.flush()
        return self._answer(patience)

    def _answer(self, patience: float) -> dict[str, Any]:
        stdout: IO[str] = self.process.stdout  # type: ignore[assignment]
        ready, _, _ = select.select([stdout], [], [], patience)
        line = stdout.readline() if ready else ""
        if line:
            found: dict[str, Any] = json.loads(line)
            return found
        self.stop()
        said = (self.place / f"{self.name}.log").read_text(encoding="utf-8")[-1500:]
        self.start()
        return {"error": f"{'died' if ready else f'took over {patience:.0f} s'}: {said}"}


def write_rows(path: Path, pool: list[str], count: int, tokens: int, seed: int) -> int:
    """Write rows of about so many tokens; return the most characters of one.

    From 80 tokens on, messages and replies of several dialogues are joined under the first one's system turn: 80 to
    the row, give or take a quarter.
    """
    draw = random.Random(seed)
    dialogues = [json.loads(line) for line in pool]
    rows = []
    for number in range(count):
        parts = max(1, round(tokens / 80 * draw.uniform(0.75, 1.25))) if tokens > 80 else 1
        chosen = [dialogues[number % len(dialogues)], *(draw.choice(dialogues) for _ in range(parts - 1))]
        system, user, reply = (
            "\n".join(turn["content"] for row in some for turn in row["messages"] if turn["role"] == role)
            for role, some in (("system", chosen[:1]), ("user", chosen), ("assistant", chosen))
        )
        turns = [("system", system), ("user", user), ("assistant", reply)]
        rows.append({**chosen[0], "id": f"r{number}", "messages": [{"role": r, "content": c} for r, c in turns if c]})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return max(sum(len(turn["content"]) for turn in row["messages"]) for row in rows)


class Run:
    """All cases of a run, and what came of them so far."""

    def __init__(self, given: argparse.Namespace, place: Path) -> None:
        self.given, self.place = given, place
        self.began = time.monotonic()
        self.found: dict[str, Any] = {"models": {}, "cases": []}

    def left(self) -> float:
        """Return the seconds in which cases may still begin."""
        return float(self.given.seconds - (time.monotonic() - self.began))

    def write(self) -> None:
        """Write what came of the run so far."""
        self.found["elapsed"] = round(time.monotonic() - self.began, 1)
        if self.given.out:
            self.given.out.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")

    def measure(self) -> dict[str, Any]:
        """Train all sides on all cases, judge what they learned, and compare them."""
        judge = Side("judge", self.place)
        sides = {name: Side(name, self.place) for name in self.given.only}
        try:
            self.found |= judge.ask({})
            tell(str({name: value for name, value in self.found.items() if name not in ("models", "cases")}))
            for order in range(self.given.orders):
                for shape in self.given.shapes:
                    for tokens in self.given.tokens:
                        self.case(judge, list(sides.values())[:: -1 if order else 1], shape, tokens, order)
            self.judged(judge)
            self.found["tflops_after"] = judge.ask({}).get("tflops")
        finally:
            for side in (judge, *sides.values()):
                side.stop()
        self.write()
        return self.found

    def case(self, judge: Side, sides: list[Side], shape: str, tokens: int, order: int) -> None:
        """Train sides one after the other on the same rows."""
        model = self.place / shape
        if shape not in self.found["models"] and self.left() > 0:
            asked = {"draw": str(model), "shape": shape, "tokenizer": str(self.given.tokenizer)}
            self.found["models"][shape] = judge.ask(asked)
            if "error" in self.found["models"][shape]:
                sys.exit(self.found["models"][shape]["error"])
            tell(f"{shape}: {self.found['models'][shape]}, {self.left():.0f} s left")
        rows, batch = self.place / f"train-{tokens}.jsonl", BATCHES[tokens]
        workspace = Workspace(self.given.run)
        longest = write_rows(rows, rows_of(workspace, "train.jsonl", 10_000), batch * self.given.steps, tokens, 7)
        write_rows(self.place / f"valid-{tokens}.jsonl", rows_of(workspace, "valid.jsonl", 10_000), VALID, tokens, 8)
        for side in sides:
            if self.left() <= 0:
                return
            out = self.place / f"{side.name}-{shape}-{tokens}-{order}"
            out.mkdir()
            task = {
                "model": str(model),
                "rows": str(rows),
                "out": str(out),
                "batch": batch,
                "longest": round(longest / 3.5),  # characters a token: a bound on memory needs no more
                "rate": self.given.rate,
                "warmup": 2,
                "seed": 7,
                "profile": self.given.profile,
            }
            found = {"side": side.name, "shape": shape, "row_tokens": tokens, "order": order, "batch": batch}
            found |= side.ask(task)
            if "tokens_a_second" in found:
                found["share"] = self.share(found)
            self.found["cases"].append(found)
            self.write()
            tell(f"{side.name} {shape} {tokens} {order}: {shortened(found)}, {self.left():.0f} s left")

    def share(self, found: dict[str, Any]) -> float | None:
        """Return a training's rate of operations over that of a bare matrix product."""
        model, rate = self.found["models"][found["shape"]], self.found["tflops"]
        before = found["tokens"] / (found["batch"] * found["steps"]) / 2  # tokens that a token attends to, on average
        each = model["operations_a_token"] + model["operations_a_pair"] * before
        return round(found["tokens_a_second"] * each / rate / 1e12, 4) if rate else None

    def judged(self, judge: Side) -> None:
        """Take the validation loss of every side's adapter, from the first order."""
        for shape in self.found["models"]:
            cases = [case for case in self.found["cases"] if case["shape"] == shape and not case["order"]]
            places = {
                str(self.place / f"{case['side']}-{shape}-{case['row_tokens']}-0" / "adapter"): case
                for case in cases
                if "tokens_a_second" in case
            }
            valid = {place: str(self.place / f"valid-{case['row_tokens']}.jsonl") for place, case in places.items()}
            losses = judge.ask({"model": str(self.place / shape), "adapters": valid})
            for place, case in places.items():
                case["valid_loss"] = losses.get(place)
                case["untrained_loss"] = losses.get(f"untrained {valid[place]}")
            if "error" in losses:
                self.found["judge_error"] = losses["error"]
            self.write()


def shortened(found: dict[str, Any]) -> dict[str, Any]:
    """Return what of a case is worth a line."""
    kept = ("tokens_a_second", "by_median", "share", "peak_mib", "train_loss", "wall", "seconds", "error", "profile")
    return {name: found[name][-400:] if name == "error" else found[name] for name in kept if name in found}


def table(found: dict[str, Any]) -> str:
    """Return a table of all cases, a line each: tokens a second in each order, share, memory and losses."""
    lines = ["shape    row  side             tokens/s (by median), each order    share    GiB   train   valid"]
    for shape, tokens, side in dict.fromkeys((c["shape"], c["row_tokens"], c["side"]) for c in found["cases"]):
        same = [
            case
            for case in found["cases"]
            if (case["shape"], case["row_tokens"], case["side"]) == (shape, tokens, side) and "share" in case
        ]
        if not same:
            lines.append(f"{shape:5} {tokens:5}  {side:15}  failed")
            continue
        rates = ", ".join(f"{case['tokens_a_second']:,} ({case['by_median']:,})" for case in same)
        share = max((case["share"] or 0.0) for case in same)
        first = same[0]
        lines.append(
            f"{shape:5} {tokens:5}  {side:15}  {rates:33}  {share:6.1%}  {first['peak_mib'] / 1024:5.1f}  "
            f"{first['train_loss']:6.3f}  {first.get('valid_loss') or 0:6.3f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Tokens a second of LoRA training on a GPU, beside plain TRL.")
    parser.add_argument("--out", type=Path, help="file for all figures, written after every case")
    parser.add_argument("--run", type=Path, default=Path("runs/socratic-tutor"), help="a run folder with a dataset")
    parser.add_argument("--tokenizer", type=Path, help="a folder with a tokenizer (default: the embedded model's)")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=["135m", "1.5b", "8b"])
    parser.add_argument("--tokens", nargs="+", type=int, choices=list(BATCHES), default=list(BATCHES))
    parser.add_argument("--only", nargs="+", choices=list(SIDES), default=list(MAIN), help="sides to run")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--orders", type=int, choices=(1, 2), default=1)
    parser.add_argument("--rate", type=float, default=5e-4, help="learning rate")
    parser.add_argument("--seconds", type=float, default=3600, help="no case is begun after these")
    parser.add_argument("--profile", action="store_true", help="record some steps; their rates do not count")
    parser.add_argument("--place", type=Path, help="folder for models and adapters, in memory if possible")
    given = parser.parse_args()
    if not given.tokenizer:
        from engine import MODEL
        from tuning_room.models import resolve

        given.tokenizer = resolve(MODEL)
    given.tokenizer, given.run = given.tokenizer.resolve(), given.run.resolve()
    with tempfile.TemporaryDirectory(dir=given.place) as name:
        print(table(Run(given, Path(name)).measure()))


if __name__ == "__main__":
    main()
