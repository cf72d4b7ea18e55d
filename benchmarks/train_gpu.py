"""How fast LoRA training is on a GPU through our Unsloth backend, beside plain TRL and PEFT, in one run.

    python benchmarks/train_gpu.py [--json] [--run FOLDER] [--shape 3b] [--rows 256] [--batch 32] [--epochs 4]

Every side trains the same adapter (rank 16, all linear layers) of the same model on the same rows of the shipped
recipe's dataset in steps of as many rows, in a process of its own, one after the other. `ours` is what a recipe with
`backend: unsloth` runs, `ours_4bit` the same with `quantize: 4bit`; `trl_best` and `trl_4bit` are TRL's SFTTrainer on a
PEFT model in bf16 or in bitsandbytes' nf4, a step's rows in one pass without gradient checkpointing, rows of one length
together, the loss on completions; `trl_stock` is TRL as it comes. `--shape` takes a Llama of that size with random
weights in place of the embedded model: as fast as a trained one, and at hand without a download. `tokens_a_second` are
the rows' own tokens, without padding, over the steps after the first ten, which compile kernels; `seconds` are all
steps; `peak_mib` is what torch allocated on the GPU. `valid_loss` is on validation rows, in nats a token, by plain
transformers in bf16 for all adapters; before training it is `untrained`. `ratios` are above 1 where ours is faster.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from engine import MODEL, tell
from train import rows_of
from tuning_room.models import resolve
from tuning_room.workspace import Workspace

HERE = Path(__file__).parent
SIDES = ("ours", "trl_best", "trl_stock", "ours_4bit", "trl_4bit")
VALID = 32
SHAPES = {
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32},
    "3b": {"hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28, "num_attention_heads": 24},
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32},
}


def drawn_model(place: Path, shape: str, other: Path) -> Path:
    """Write a Llama of a shape with random weights, in bf16, and another model's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(other)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = LlamaConfig(
        vocab_size=len(tokenizer), num_key_value_heads=8, max_position_embeddings=8192, **SHAPES[shape], **ids
    )
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def task(place: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Write rows and, if asked for, a model; return what every side is told."""
    for name, count in (("train", given.rows), ("valid", VALID)):
        lines = rows_of(Workspace(given.run), f"{name}.jsonl", count)
        (place / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    model = Path(given.model) if Path(given.model).is_dir() else resolve(given.model)
    return {
        "model": str(drawn_model(place / "model", given.shape, model) if given.shape else model),
        "rows": str(place / "train.jsonl"),
        "valid": str(place / "valid.jsonl"),
        "batch": given.batch,
        "epochs": given.epochs,
        "rate": given.rate,
        "warmup": 5,
        "seed": 7,
    }


def run_side(name: str, place: Path, told: dict[str, Any]) -> dict[str, Any]:
    """Run one side, or the judge, in a process of its own; a side that fails is told and left out."""
    (place / "task.json").write_text(json.dumps(told), encoding="utf-8")
    line = [sys.executable, str(HERE / "train_gpu_contender.py"), name, str(place)]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, **offline})
    if done.returncode:
        tell(f"{name} failed:\n{done.stdout[-500:]}\n{done.stderr[-3000:]}")
        return {}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    tell(f"{name}: {found}")
    return found


def compare(given: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Train all sides and compare them."""
    import torch

    told = task(place, given)
    found = {name: side for name in given.only if (side := run_side(name, place, told))}
    losses = run_side("judge", place, told | {"sides": list(found)})
    for name, side in found.items():
        side["valid_loss"] = losses.get(name)
    rates = {name: side["tokens_a_second"] for name, side in found.items()}
    against = {"trl_best": "ours", "trl_stock": "ours", "trl_4bit": "ours_4bit"}
    return {
        "gpu": torch.cuda.get_device_name(),
        "model": f"random Llama of {given.shape}" if given.shape else given.model,
        "rows": given.rows,
        "batch": given.batch,
        "untrained": losses.get("untrained"),
        "ours": {name: side for name, side in found.items() if name.startswith("ours")},
        "peers": {name: side for name, side in found.items() if not name.startswith("ours")},
        "ratios": {
            peer: round(rates[ours] / rates[peer], 2) for peer, ours in against.items() if {peer, ours} <= set(rates)
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Tokens a second of LoRA training on a GPU, beside plain TRL.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--run", type=Path, default=Path("runs/socratic-tutor"), help="a run folder with a dataset")
    parser.add_argument("--model", default=MODEL, help="a model's reference or folder")
    parser.add_argument("--shape", choices=list(SHAPES), help="a random Llama with that model's tokenizer in its place")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32, help="rows per optimizer step")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rate", type=float, default=5e-4, help="learning rate")
    parser.add_argument("--only", nargs="+", choices=SIDES, default=list(SIDES), help="sides to run")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = compare(given, Path(name))
    print(json.dumps(found) if given.json else json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
