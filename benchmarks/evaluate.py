"""How long an evaluation takes, and the same replies by plain `lm_eval --model hf`, in one run.

    .venv/bin/python benchmarks/evaluate.py [--json] [--adapter FOLDER] [--share 4] [--without-peer | --without-whole]

The shipped recipe's items and prompts, its four arms on all of five suites: 100 problems, 60 attacks, 8 dialogues of 8
turns, 20 to be confirmed, 20 attempts on the prompt; greedy, 48 new tokens at most. `minutes` is the wall time of our
stage from nothing kept to the samples with their metrics. Without `--adapter` one is drawn, as `engine.py` does.

The peer gets the requests of a share of the items (one in `--share`), which ours answers once more for the comparison:
every prompt rendered, those of dialogues with the replies that ours had, since `lm_eval` asks no second turn. It is the
command line as it ships, an arm at a time, the adapter through `peft=`; the time of its start counts, as ours does.
`ratios` are seconds of the peer over ours, above 1 where ours is faster.
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

from engine import MODEL, RECIPE, draw_adapter, tell
from tuning_room.evaluate.config import EvaluateConfig, setup
from tuning_room.evaluate.runner import Runner
from tuning_room.models import load_tokenizer, resolve
from tuning_room.recipe import load_recipe
from tuning_room.records import Message
from tuning_room.rendering import render_text, with_system
from tuning_room.results import Sample
from tuning_room.workspace import Workspace

SIZES = {"behaviour": 100, "pressure": 60, "drift": 8, "claims": 20, "extraction": 20}
TASK = """task: {arm}
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{rows}"}}}}
test_split: test
output_type: generate_until
doc_to_text: prompt
doc_to_target: ""
generation_kwargs: {{until: ["{stop}"], max_gen_toks: {most}, do_sample: false}}
metric_list: [{{metric: bypass, aggregation: bypass}}]
"""


def config(sizes: dict[str, int]) -> EvaluateConfig:
    """Return the shipped recipe's evaluation with these sizes, every suite on every arm."""
    given = load_recipe(RECIPE).evaluate
    suites = {name: given.suites[name].model_copy(update={"size": size, "arms": None}) for name, size in sizes.items()}
    return given.model_copy(update={"suites": suites, "neutral": None, "economics": False})


def ours(folder: Path, adapter: Path, sizes: dict[str, int]) -> tuple[float, list[Sample]]:
    """Return the seconds of an evaluation from nothing, and its samples."""
    workspace = Workspace(folder)
    folder.mkdir()
    workspace.adapter.symlink_to(adapter.resolve())
    started = time.perf_counter()
    samples = Runner(config(sizes), workspace).samples()
    return time.perf_counter() - started, samples


def prompts(samples: list[Sample], arm: str, given: EvaluateConfig, tokenizer: Any) -> list[dict[str, str]]:
    """Return what the model was shown for each of an arm's replies, as rendered text."""
    rows: list[dict[str, str]] = []
    said: list[Message] = []
    for sample in samples:
        if sample.arm != arm:
            continue
        said = sample.before if sample.turn == 1 else said
        said = [*said, Message(role="user", content=sample.prompt)]
        system = setup(sample.arm, given).system  # type: ignore[arg-type]
        rows.append({"prompt": render_text(tokenizer, with_system(system, said), ask=True)})
        said = [*said, Message(role="assistant", content=sample.reply or "...")]
    return rows


def lm_eval(folder: Path, arm: str, adapter: str, batch: int) -> float:
    """Run the harness's own command line on an arm's task, and return its seconds."""
    line = [sys.executable, "-m", "lm_eval", "--model", "hf", "--device", "cpu", "--batch_size", str(batch)]
    line += ["--model_args", f"pretrained={resolve(MODEL)},dtype=float32{adapter}", "--tasks", arm]
    line += ["--include_path", str(folder), "--output_path", str(folder / "out"), "--log_samples"]
    started = time.perf_counter()
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    if done.returncode:
        sys.exit(f"lm_eval failed:\n{done.stderr[-3000:]}")
    return time.perf_counter() - started


def peer(folder: Path, samples: list[Sample], adapter: Path, batch: int) -> float:
    """Return the seconds that lm_eval takes for the same replies."""
    given, tokenizer = config(SIZES), load_tokenizer(resolve(MODEL))
    folder.mkdir()
    total = 0.0
    for arm in given.arms:
        rows = folder / f"{arm}.jsonl"
        shown = prompts(samples, arm, given, tokenizer)
        rows.write_text("".join(json.dumps(row) + "\n" for row in shown), encoding="utf-8")
        task = TASK.format(arm=arm, rows=rows, stop=tokenizer.eos_token, most=given.max_tokens)
        (folder / f"{arm}.yaml").write_text(task, encoding="utf-8")
        spent = lm_eval(folder, arm, f",peft={adapter}" if arm.startswith("baked") else "", batch)
        tell(f"lm_eval, {arm}: {spent:.1f} s")
        total += spent
    return total


def same_replies(folder: Path, samples: list[Sample]) -> float:
    """Return the share of replies that the peer gave word for word; ties and rounding make some differ."""
    found = []
    for arm in {sample.arm for sample in samples}:
        (path,) = folder.glob(f"out/**/samples_{arm}_[0-9]*.jsonl")
        rows = sorted(map(json.loads, path.read_text(encoding="utf-8").splitlines()), key=lambda row: row["doc_id"])
        said = [sample.reply for sample in samples if sample.arm == arm]
        found += [row["resps"][0][0].strip() == reply.strip() for row, reply in zip(rows, said, strict=True)]
    return round(sum(found) / len(found), 3)


def compare(given: argparse.Namespace, place: Path, adapter: Path) -> dict[str, Any]:
    """Time the whole evaluation, then both sides on a share of it."""
    found: dict[str, Any] = {"ours": {}, "minutes": None, "peers": {}, "ratios": {}}
    if not given.without_whole:
        seconds, samples = ours(place / "whole", adapter, SIZES)
        tell(f"ours: {seconds / 60:.2f} minutes for {len(samples)} replies")
        found["ours"] = {"seconds": round(seconds, 1), "replies": len(samples)}
        found["minutes"] = round(seconds / 60, 2)
    if given.without_peer:
        return found
    fewer = {name: max(1, size // given.share) for name, size in SIZES.items()}
    part, some = ours(place / "part", adapter, fewer)
    tell(f"ours: {part:.1f} s for {len(some)} replies")
    theirs = peer(place / "peer", some, adapter, given.batch)
    return found | {
        "compared": {"replies": len(some), "ours_seconds": round(part, 1), "batch": given.batch},
        "peers": {"lm_eval_hf": round(theirs, 1)},
        "ratios": {"lm_eval_hf": round(theirs / part, 2)},
        "same_replies": same_replies(place / "peer", some),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Minutes of an evaluation, beside plain lm_eval on the same requests.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--adapter", type=Path, help="folder of a trained adapter")
    parser.add_argument("--share", type=int, default=4, help="both sides are compared on one item in so many")
    parser.add_argument("--batch", type=int, default=16, help="batch size of lm_eval")
    parser.add_argument("--without-whole", action="store_true", help="compare on the share only; no `minutes` then")
    parser.add_argument("--without-peer", action="store_true", help="time ours only")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        found = compare(given, place, given.adapter or draw_adapter(place / "adapter"))
    print(json.dumps(found) if given.json else json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
