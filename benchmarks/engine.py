"""How fast the in-process engine answers under a long prompt, beside transformers' batched `generate`, in one run.

    .venv/bin/python benchmarks/engine.py [--json] [--adapter FOLDER] [--requests 48] [--batches 8 24 48] [--threads N]

The system turn is the shipped recipe's full prompt, the users' messages are its held-out problems; greedy, 48 new
tokens at most, the embedded model, without and with an adapter. Without `--adapter` one is drawn: rank 16, all linear
layers of the upper 20 blocks, B small and not zero. Both sides load the model for themselves and answer the same
requests. Ours starts with nothing kept; `generate` pads on the left and gets the best of `--batches`. `same_tokens` is
true where every reply has the same tokens, or first differs at a tie: both tokens' scores within 1e-4 of each other;
ties are counted. `ratios` are seconds of the peer over ours, above 1 where ours is faster, by the clock and by
processor time.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tuning_room.engines import Sampling
from tuning_room.engines.local import LocalEngine
from tuning_room.models import limit_threads, load_adapter, load_model, resolve
from tuning_room.records import Item, Message, read_jsonl
from tuning_room.rendering import prompt_ids, with_system

RECIPE = Path(__file__).parents[1] / "recipes" / "socratic-tutor"
MODEL = "embedded:smollm2-135m"
TIE = 1e-4
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def draw_adapter(folder: Path, model: str = MODEL) -> Path:
    """Write an adapter of the shipped recipe's shape whose weights are random under a fixed seed."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    layers = list(range(10, 30))
    config = LoraConfig(r=16, lora_alpha=32, target_modules=LINEAR, layers_to_transform=layers, task_type="CAUSAL_LM")
    drawn: Any = get_peft_model(load_model(resolve(model)), config)
    for name, weights in drawn.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.01)
    drawn.save_pretrained(folder, save_embedding_layers=False)
    return folder


def requests(count: int, system: str = "") -> list[list[Message]]:
    """Return dialogues of one message each under a system turn, by default the full prompt."""
    system = system or (RECIPE / "prompt.md").read_text(encoding="utf-8").strip()
    items = list(read_jsonl(RECIPE / "evaluation" / "behaviour.jsonl", Item))[:count]
    return [with_system(system, [Message(role="user", content=item.prompt)]) for item in items]


def ours(engine: LocalEngine, name: str, dialogues: list[list[Message]], sampling: Sampling) -> list[list[int]]:
    """Return each reply's tokens, the end of the turn not counted."""
    engine.forget()
    said: list[list[int]] = [[] for _ in dialogues]
    for step in engine.steps(name, dialogues, sampling):
        for index, token in step:
            said[index].append(token)
    return [without_end(tokens, engine.tokenizer.eos_token_id) for tokens in said]


def generated(model: Any, prompts: list[list[int]], end: int, most: int, batch: int) -> list[list[int]]:
    """Answer with transformers' `generate`, prompts of similar length together, padded on the left."""
    import torch

    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    said: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        width = max(len(prompts[i]) for i in chosen)
        ids = torch.tensor([[end] * (width - len(prompts[i])) + prompts[i] for i in chosen])
        mask = torch.tensor([[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in chosen])
        with torch.inference_mode():
            found = model.generate(
                ids.to(model.device),
                attention_mask=mask.to(model.device),
                max_new_tokens=most,
                do_sample=False,
                pad_token_id=end,
            )
        for index, row in zip(chosen, found[:, width:].tolist(), strict=True):
            said[index] = without_end(row, end)
    return said


def without_end(tokens: list[int], end: int) -> list[int]:
    """Return the tokens before the end of the turn."""
    return tokens[: tokens.index(end)] if end in tokens else tokens


def is_tie(model: Any, prompt: list[int], one: list[int], other: list[int], end: int) -> bool:
    """Return whether two replies first differ where both tokens' scores are alike."""
    import torch

    place = next((i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
    place = min(len(one), len(other)) if place is None else place
    pair = [[*reply, end][place] for reply in (one, other)]
    with torch.inference_mode():
        ids = torch.tensor([prompt + one[:place]], device=model.device)
        scores = model(input_ids=ids, logits_to_keep=1).logits[0, -1]
    return abs(float(scores[pair[0]] - scores[pair[1]])) <= TIE


class Spent(NamedTuple):
    """Seconds on the clock, and of processors; the latter hardly depend on what else a machine does."""

    wall: float
    cpu: float


def timed(work: Callable[[], list[list[int]]]) -> tuple[Spent, list[list[int]]]:
    """Return what some work took, and what came of it."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return Spent(round(time.perf_counter() - wall, 2), round(time.process_time() - cpu, 2)), found


def compared(engine: LocalEngine, peer: Any, name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Answer all requests on both sides under one model name."""
    dialogues, sampling = requests(given.requests), Sampling(max_tokens=given.tokens)
    prompts = [prompt_ids(engine.tokenizer, dialogue) for dialogue in dialogues]
    end = engine.tokenizer.eos_token_id
    spent, said = timed(lambda: ours(engine, name, dialogues, sampling))
    tell(f"{name}: ours {spent}")
    runs: dict[int, Spent] = {}
    differ: set[int] = set()
    ties = 0
    for batch in given.batches:
        runs[batch], theirs = timed(lambda size=batch: generated(peer, prompts, end, given.tokens, size))  # type: ignore[misc]
        tell(f"{name}: generate, batches of {batch}, {runs[batch]}")
        apart = [i for i, pair in enumerate(zip(said, theirs, strict=True)) if pair[0] != pair[1]]
        real = {i for i in apart if not is_tie(peer, prompts[i], said[i], theirs[i], end)}
        ties, differ = ties + len(apart) - len(real), differ | real
        tell(f"{name}: {len(apart)} replies with other tokens, {len(apart) - len(real)} of them at a tie")
    best = min(runs, key=lambda size: runs[size].wall)
    return {
        "ours": spent._asdict(),
        "hf_generate": runs[best]._asdict(),
        "hf_batch": best,
        "new_tokens": sum(map(len, said)),
        "prompt_tokens": sum(map(len, prompts)),
        "differ": sorted(differ),
        "ties": ties,
    }


def compare(given: argparse.Namespace, adapter: Path) -> dict[str, Any]:
    """Compare without and with the adapter."""
    folder = resolve(MODEL)
    engine = LocalEngine(folder, base="base", adapters={"adapter": adapter})
    peer: Any = load_adapter(load_model(folder), adapter)
    with peer.disable_adapter():
        found = {"base": compared(engine, peer, "base", given)}
    found["adapter"] = compared(engine, peer, "adapter", given)
    total = {
        side: {kind: round(sum(run[side][kind] for run in found.values()), 2) for kind in Spent._fields}
        for side in ("ours", "hf_generate")
    }
    return {
        "requests": given.requests,
        "threads": given.threads,
        "ours": total["ours"],
        "peers": {"hf_generate": total["hf_generate"]},
        "ratios": {
            "hf_generate": round(total["hf_generate"]["wall"] / total["ours"]["wall"], 2),
            "hf_generate_cpu": round(total["hf_generate"]["cpu"] / total["ours"]["cpu"], 2),
        },
        "same_tokens": not any(run["differ"] for run in found.values()),
        "arms": found,
    }


def tell(text: str) -> None:
    """Say how far it is."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print; the exit code is 1 where the tokens differ."""
    parser = argparse.ArgumentParser(description="Seconds for requests under the shipped recipe's full prompt.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--adapter", type=Path, help="folder of a trained adapter")
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=48, help="longest reply")
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 24, 48], help="batch sizes for generate")
    parser.add_argument("--threads", type=int, default=0, help="0: one a core; 1 is steadier on a shared machine")
    given = parser.parse_args()
    limit_threads()
    import torch

    torch.set_num_threads(given.threads or torch.get_num_threads())
    given.threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as place:
        found = compare(given, given.adapter or draw_adapter(Path(place)))
    print(json.dumps(found) if given.json else json.dumps(found, indent=2))
    sys.exit(0 if found["same_tokens"] else 1)


if __name__ == "__main__":
    main()
