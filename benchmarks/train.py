"""How fast LoRA training is on a CPU, beside TRL, the common workshop loop and Unsloth, in one run.

    .venv/bin/python benchmarks/train.py [--json] [--rows 96] [--batch 4] [--only ours trl_best ...] [--unsloth PYTHON]

Every side trains the same adapter (the shipped recipe's: rank 16, all linear layers of the upper 20 of 30 blocks) of
the embedded model for one epoch on the same rows of the shipped recipe's dataset, with the same batch size, learning
rates and seed, in a process of its own, one after the other. `trl_best` is TRL in fp32 without gradient checkpointing,
the loss on completions, rows grouped by length, logits in chunks of the learned tokens if that is faster (both are
tried); `trl_stock` is TRL as it comes, on fewer rows (`--stock-rows`), since it takes minutes even for those;
`workshop` pads every row to 256 tokens and learns all of them; `unsloth` runs in an environment of its own.
`ratios` are samples per second of ours over the peer's, above 1 where ours is faster; `ceiling` is the rate of our
training's matrix products over that of bare ones of the model's shapes, measured in the same run. `valid_loss` is on
the recipe's validation rows, in nats per token, by the same code for all; `untrained` is its value before training.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from engine import LINEAR, MODEL, RECIPE, tell
from tuning_room.models import limit_threads, resolve
from tuning_room.recipe import load_recipe, run_stage
from tuning_room.train.batches import computed_length
from tuning_room.train.config import LoopConfig
from tuning_room.train.loop import LoraTrainer
from tuning_room.workspace import Workspace

HERE = Path(__file__).parent
SIDES = ("ours", "trl_best", "trl_chunked", "workshop", "trl_stock", "unsloth")
VALID = 16  # rows of the validation loss


def rows_of(workspace: Workspace, name: str, count: int) -> list[str]:
    """Return rows of one exchange: TRL's prompt and completion can express no more."""
    lines = (workspace.root / "dataset" / name).read_text(encoding="utf-8").splitlines()
    single = [line for line in lines if sum(turn["role"] == "assistant" for turn in json.loads(line)["messages"]) == 1]
    return single[:count]


def dataset(place: Path) -> Workspace:
    """Return a run with a dataset made from the shipped recipe."""
    recipe, workspace = load_recipe(RECIPE), Workspace(place)
    for stage in ("convert", "generate", "dataset"):
        run_stage(recipe, workspace, stage)
    return workspace


def task(place: Path, workspace: Workspace, given: argparse.Namespace) -> dict[str, Any]:
    """Write the rows, and return the task that every side gets."""
    place.mkdir()
    for name, count in (("train", given.rows), ("valid", VALID)):
        lines = rows_of(workspace, f"{name}.jsonl", count)
        (place / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    recipe = load_recipe(RECIPE).train
    return {
        "model": str(resolve(MODEL)),
        "rows": str(place / "train.jsonl"),
        "rank": recipe.rank,
        "alpha": recipe.alpha,
        "skip_layers": recipe.skip_layers,
        "layers": list(range(recipe.skip_layers, 30)),
        "modules": LINEAR,
        "batch": given.batch,
        "rate": recipe.learning_rate,
        "warmup": max(1, given.rows // given.batch // 20),
        "seed": recipe.seed,
        "best": {},
    }


def trained(name: str, folder: Path, job: dict[str, Any], python: str) -> dict[str, Any]:
    """Train one side in a process of its own."""
    side = "trl_best" if name == "trl_chunked" else name
    job = job | {"best": {"loss_type": "chunked_nll"} if name == "trl_chunked" else {}}
    place = folder / name
    place.mkdir()
    (place / "task.json").write_text(json.dumps(job), encoding="utf-8")
    line = [python, str(HERE / "train_contender.py"), side, str(place)]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, **offline})
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    count = len(Path(job["rows"]).read_text(encoding="utf-8").splitlines())
    found |= {"rows": count, "seconds": round(found["seconds"], 2), "rate": round(count / found["seconds"], 3)}
    tell(f"{name}: {found}")
    return found | {"adapter": str(place / side / "adapter")}


class Judge:
    """A model that takes each side's adapter in turn: the same loss and the same count of operations for all."""

    def __init__(self, place: Path, job: dict[str, Any]) -> None:
        self.trainer = LoraTrainer(
            LoopConfig(
                model_path=Path(job["model"]),
                data_path=Path(job["rows"]),
                eval_data_path=Path(job["rows"]).with_name("valid.jsonl"),
                ckpt_output_dir=place,
                rank=job["rank"],
                alpha=job["alpha"],
                skip_layers=job["skip_layers"],
                batch_size=job["batch"],
                seed=job["seed"],
            )
        )
        self.untrained = self.trainer.validate()

    def loss(self, adapter: str) -> float:
        """Return the validation loss of an adapter, in nats a token."""
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        weights = load_file(Path(adapter) / "adapter_model.safetensors")
        found: Any = set_peft_model_state_dict(self.trainer.model, weights)
        if found.unexpected_keys:
            sys.exit(f"{adapter}: not the same adapter: {found.unexpected_keys[:3]}")
        return self.trainer.validate()

    def operations(self) -> float:
        """Return the floating-point operations of our training's matrix products, from three of its steps."""
        from torch.utils.flop_counter import FlopCounterMode

        plan = self.trainer.plan
        tried = [plan[len(plan) * part // 4] for part in (1, 2, 3)]
        counted = tokens = 0
        for rows in tried:
            with FlopCounterMode(display=False) as counter:
                tokens += self.trainer.update(rows, 0.0)[1]
            counted += counter.get_total_flops()
        every = sum(computed_length([self.trainer.rows[i] for i in rows]) for rows in plan)
        return counted / tokens * every


def bare_rate(tokens: int) -> float:
    """Return the floating-point operations per second of bare products of the model's shapes, the best of 30."""
    import torch

    states = {576: torch.randn(tokens, 576), 1536: torch.randn(tokens, 1536)}
    shapes = [(576, 576), (576, 192), (576, 192), (576, 576), (576, 1536), (576, 1536), (1536, 576)]
    weights = [torch.randn(wide, deep) for deep, wide in shapes]
    operations = sum(2 * tokens * deep * wide for deep, wide in shapes)
    best = 0.0
    for _ in range(30):
        started = time.perf_counter()
        for (deep, _), weight in zip(shapes, weights, strict=True):
            torch.nn.functional.linear(states[deep], weight)
        best = max(best, operations / (time.perf_counter() - started))
    return best


def compare(given: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Train all sides and compare them."""
    workspace = Workspace(given.run) if given.run else dataset(place / "run")
    job = task(place / "rows", workspace, given)
    fewer = place / "rows" / "fewer.jsonl"
    lines = Path(job["rows"]).read_text(encoding="utf-8").splitlines()
    fewer.write_text("\n".join(lines[: given.stock_rows]) + "\n", encoding="utf-8")
    found = {}
    for name in given.only:
        less = job | {"rows": str(fewer), "warmup": 1} if name == "trl_stock" else job
        found[name] = trained(name, place, less, given.unsloth if name == "unsloth" else sys.executable)
    judge = Judge(place, job)
    for side in found.values():
        side["valid_loss"] = round(judge.loss(side.pop("adapter")), 4)
    return summary(found, judge, given)


def summary(found: dict[str, Any], judge: Judge, given: argparse.Namespace) -> dict[str, Any]:
    """Return ours, the peers, and the ratios between them."""
    best = max((found.pop(n) for n in ("trl_best", "trl_chunked") if n in found), key=lambda s: s["rate"], default=None)
    peers = {n: side for n, side in {"trl_best": best, **found}.items() if side and n != "ours"}
    ours = found["ours"]
    operations = judge.operations()
    achieved, bare = operations / ours["seconds"] / 1e9, bare_rate(300) / 1e9
    ratios = {name: round(ours["rate"] / side["rate"], 2) for name, side in peers.items()}
    return {
        "rows": given.rows,
        "batch": given.batch,
        "untrained": round(judge.untrained, 4),
        "gflops": {"achieved": round(achieved, 1), "bare": round(bare, 1)},
        "ours": ours,
        "peers": peers,
        "ratios": ratios | {"ceiling": round(achieved / bare, 3)},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Samples per second of LoRA training, beside its peers.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--run", type=Path, help="a run folder with a dataset; without it one is made")
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--batch", type=int, default=4, help="rows per optimizer step")
    parser.add_argument("--stock-rows", type=int, default=8, help="rows for TRL at its stock settings")
    parser.add_argument("--only", nargs="+", choices=SIDES, default=list(SIDES[:-1]), help="sides to run, ours first")
    parser.add_argument("--unsloth", metavar="PYTHON", help="the Python of an environment with Unsloth")
    given = parser.parse_args()
    if given.unsloth and "unsloth" not in given.only:
        given.only = [*given.only, "unsloth"]
    limit_threads()
    with tempfile.TemporaryDirectory() as name:
        found = compare(given, Path(name))
    print(json.dumps(found) if given.json else json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
