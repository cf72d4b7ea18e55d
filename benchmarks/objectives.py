"""What each training objective does to the behaviour that is wanted and to everything else, in one run.

    .venv/bin/python benchmarks/objectives.py [--json] [--steps 60] [--batch 8] [--only sft distill ...]

Few prompts move the embedded model at all; one that asks for brevity does. The prompted base model answers 120 everyday
requests, and its short answers are the rows. Each objective trains an adapter on them under another, short prompt, for
the same number of steps. `behaviour` is the share of replies to 40 other requests that end by themselves and are as
short; `divergence` is KL(adapter || base) on neutral texts without a system turn, in nats per token; `capability` is
the share of right answers to unrelated items, without a system turn either. `seconds` are those of the training,
including the teacher's predictions.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from engine import MODEL, tell
from tuning_room.checks import METRICS, Case
from tuning_room.engines import Reply, Sampling
from tuning_room.engines.local import LocalEngine
from tuning_room.models import limit_threads, resolve
from tuning_room.records import Dialogue, Item, Message, read_jsonl, write_jsonl
from tuning_room.rendering import with_system
from tuning_room.train.config import NEUTRAL_PROMPTS, LoopConfig
from tuning_room.train.loop import LoraTrainer

FULL = "You are a laconic assistant. Answer in one short sentence, ten words at most."
SHORT = "You are Pip."
SUITES = Path(__file__).parents[1] / "src" / "tuning_room" / "evaluate" / "suites"
TRAINED = 120  # everyday requests that become rows; the others are held out
WORDS = 12  # a reply of more words is not short
OBJECTIVES: dict[str, dict[str, Any]] = {
    "sft": {},
    "sft and retention": {"retention": 1.0, "retention_rows": 2},
    "distill": {"sft": 0.0, "distill": 1.0},
    "distill and sft": {"sft": 0.5, "distill": 0.5},
    "distill and retention": {"sft": 0.0, "distill": 1.0, "retention": 1.0, "retention_rows": 2},
    "distill, then on-policy": {"sft": 0.0, "distill": 1.0, "on_policy_steps": 8},
}


def asked(system: str, prompts: list[str]) -> list[list[Message]]:
    """Return requests of one message each."""
    return [with_system(system, [Message(role="user", content=prompt)]) for prompt in prompts]


def wanted(reply: Reply) -> bool:
    """Return whether a reply is as the prompt wants it."""
    return reply.finish_reason == "stop" and 1 <= len(reply.text.split()) <= WORDS


def share(engine: LocalEngine, model: str, dialogues: list[list[Message]]) -> float:
    """Return the share of replies that are as the prompt wants them."""
    replies = engine.complete(model, dialogues, Sampling(max_tokens=48))
    return round(sum(map(wanted, replies)) / len(replies), 3)


def capability(engine: LocalEngine, model: str, count: int = 40) -> float:
    """Return the share of right answers to items of the package's capability suite."""
    items = [item for item in read_jsonl(SUITES / "capability.jsonl", Item) if not item.choices and not item.turns]
    chosen = items[:: max(1, len(items) // count)][:count]
    replies = engine.complete(model, asked("", [item.prompt for item in chosen]), Sampling(max_tokens=64))
    cases = [Case(item.said, item.gold, item.expects, item.wanted, item.checks) for item in chosen]
    right = [METRICS["correct"].score(reply.text, case) for reply, case in zip(replies, cases, strict=True)]
    return round(sum(float(value or 0) for value in right) / len(right), 3)


def write_rows(engine: LocalEngine, prompts: list[str], path: Path) -> int:
    """Write the prompted model's short answers as rows under the short prompt, and return their number."""
    replies = engine.complete("base", asked(FULL, prompts), Sampling(max_tokens=48))
    turns = [
        [*dialogue, Message(role="assistant", content=reply.text)]
        for dialogue, reply in zip(asked(SHORT, prompts), replies, strict=True)
        if wanted(reply)
    ]
    rows = [Dialogue(id=f"r{n}", source="model", group=f"g{n}", messages=said) for n, said in enumerate(turns)]
    return write_jsonl(path, rows)


def evaluated(name: str, place: Path, given: argparse.Namespace, held_out: list[str]) -> dict[str, Any]:
    """Train with one objective and measure the adapter."""
    folder = place / name.replace(" ", "-").replace(",", "")
    config = LoopConfig(
        model_path=resolve(MODEL),
        data_path=place / "rows.jsonl",
        ckpt_output_dir=folder,
        skip_layers=10,
        epochs=99,
        max_steps=given.steps,
        batch_size=given.batch,
        learning_rate=5e-4,
        warmup_steps=4,
        teacher_prompt=FULL,
        **OBJECTIVES[name],
    )
    started = time.perf_counter()
    LoraTrainer(config).train().save_pretrained(folder / "adapter", save_embedding_layers=False)
    seconds = round(time.perf_counter() - started, 1)
    engine = LocalEngine(resolve(MODEL), base="base", adapters={"adapter": folder / "adapter"})
    texts = [item.prompt for item in read_jsonl(SUITES / "neutral.jsonl", Item)][:12]
    found = {
        "behaviour": share(engine, "adapter", asked(SHORT, held_out)),
        "divergence": round(engine.divergence(texts, "adapter", "base").mean, 4),
        "capability": capability(engine, "adapter"),
        "seconds": seconds,
    }
    tell(f"{name}: {found}")
    return found


def compare(given: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Measure the base model, the prompted one, and each objective."""
    prompts = NEUTRAL_PROMPTS.read_text(encoding="utf-8").splitlines()
    taught, held_out = prompts[:TRAINED], prompts[TRAINED:]
    engine = LocalEngine(resolve(MODEL), base="base")
    found: dict[str, Any] = {
        "base": {"behaviour": share(engine, "base", asked(SHORT, held_out)), "capability": capability(engine, "base")},
        "prompted": {"behaviour": share(engine, "base", asked(FULL, held_out))},
        "rows": write_rows(engine, taught, place / "rows.jsonl"),
    }
    tell(json.dumps(found))
    del engine
    ours = {name: evaluated(name, place, given, held_out) for name in given.only}
    return {"steps": given.steps, "batch": given.batch, "peers": found, "ours": ours, "ratios": {}}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Behaviour and retention of each training objective.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--only", nargs="+", choices=list(OBJECTIVES), default=list(OBJECTIVES))
    given = parser.parse_args()
    limit_threads()
    with tempfile.TemporaryDirectory() as name:
        found = compare(given, Path(name))
    print(json.dumps(found) if given.json else json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
