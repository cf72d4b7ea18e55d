"""One side of `train_gpu.py`, in a process of its own: trains on the same rows and prints one JSON object.

    python benchmarks/train_gpu_contender.py NAME FOLDER

`FOLDER/task.json` holds the task; the adapter is written to `FOLDER/NAME/adapter`. The judge takes all adapters.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from engine import LINEAR
from train_contender import Task, pairs

WARM = 10  # steps that compile kernels and fill caches


def ours(task: Task, out: Path, *, four_bit: bool = False) -> list[float]:
    """Train as a recipe with `backend: unsloth` does."""
    import unsloth  # noqa: F401  patches TRL, which is imported after it
    from training_hub import AlgorithmRegistry, lora_sft

    from tuning_room.train.unsloth import NAME, UnslothBackend

    AlgorithmRegistry.register_backend("lora_sft", NAME, UnslothBackend)
    found: Any = lora_sft(
        backend=NAME,
        model_path=task["model"],
        data_path=task["rows"],
        ckpt_output_dir=str(out / "training"),
        lora_r=16,
        lora_alpha=32,
        target_modules="all-linear",
        num_epochs=task["epochs"],
        effective_batch_size=task["batch"],
        learning_rate=task["rate"],
        warmup_steps=task["warmup"],
        max_seq_len=1024,
        save_steps=10_000,
        seed=task["seed"],
        **({"load_in_4bit": True} if four_bit else {}),
    )
    found["model"].save_pretrained(out / "adapter", save_embedding_layers=False)
    return [step.seconds for step in found["steps"]]


def ours_4bit(task: Task, out: Path) -> list[float]:
    """Train as a recipe with `quantize: 4bit` does."""
    return ours(task, out, four_bit=True)


def trl_best(task: Task, out: Path) -> list[float]:
    """Train with TRL as well as it can be set for rows that fit."""
    return _trl(task, out, **_best(task))


def _best(task: Task) -> dict[str, Any]:
    return {
        "per_device_train_batch_size": task["batch"],
        "bf16": True,
        "gradient_checkpointing": False,
        "train_sampling_strategy": "group_by_length",
    }


def trl_4bit(task: Task, out: Path) -> list[float]:
    """Train with TRL on a model in bitsandbytes' nf4."""
    import torch
    from transformers import BitsAndBytesConfig

    quantized = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return _trl(task, out, load={"quantization_config": quantized}, **_best(task))


def trl_stock(task: Task, out: Path) -> list[float]:
    """Train with TRL as it comes, its batch of eight rows accumulated to the step's."""
    return _trl(task, out, gradient_accumulation_steps=max(1, task["batch"] // 8))


def _trl(task: Task, out: Path, load: dict[str, Any] | None = None, **settings: Any) -> list[float]:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    base = AutoModelForCausalLM.from_pretrained(
        task["model"], **(load or {}), dtype="bfloat16" if settings.get("bf16") else "auto", device_map={"": 0}
    )
    arguments = SFTConfig(
        output_dir=str(out / "training"),
        num_train_epochs=task["epochs"],
        learning_rate=task["rate"],
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.1},
        warmup_steps=task["warmup"],
        weight_decay=0.0,
        max_grad_norm=1.0,
        save_strategy="no",
        logging_steps=1,
        report_to="none",
        seed=task["seed"],
        **settings,
    )
    trainer = SFTTrainer(
        model=_adapted(base),
        args=arguments,
        train_dataset=pairs(task),
        processing_class=AutoTokenizer.from_pretrained(task["model"]),
    )
    steps: list[float] = []
    trainer.add_callback(_clock(steps))
    trainer.train()
    trainer.model.save_pretrained(out / "adapter", save_embedding_layers=False)
    return steps


def _adapted(base: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(base, LoraConfig(r=16, lora_alpha=32, target_modules=LINEAR, task_type="CAUSAL_LM"))


def _clock(steps: list[float]) -> Any:
    """Return a callback that adds each step's seconds, as it is logged."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def on_train_begin(self, *given: Any, **more: Any) -> None:
            self.began = time.perf_counter()

        def on_log(self, *given: Any, logs: dict[str, Any], **more: Any) -> None:
            if "loss" in logs:
                now = time.perf_counter()
                steps.append(now - self.began)
                self.began = now

    return Clock()


def tokens(task: Task) -> int:
    """Return the tokens of all rows, as often as they are seen, without padding."""
    from transformers import AutoTokenizer

    from tuning_room.train.batches import load_rows

    rows = load_rows(Path(task["rows"]), AutoTokenizer.from_pretrained(task["model"]), 1024)
    return task["epochs"] * sum(len(row.input_ids) for row in rows.rendered)


def judge(task: Task, place: Path) -> dict[str, float]:
    """Return the validation loss of every side's adapter, and of the base model."""
    import torch
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tuning_room.train.batches import load_rows

    rows = load_rows(Path(task["valid"]), AutoTokenizer.from_pretrained(task["model"]), 1024)
    base = AutoModelForCausalLM.from_pretrained(task["model"], dtype="bfloat16", device_map={"": 0})
    model = _adapted(base).eval()

    def loss() -> float:
        total, count = 0.0, 0
        for row in rows.rendered:
            ids = torch.tensor([row.input_ids], device="cuda")
            with torch.no_grad():
                scores = model(ids).logits[0, :-1].float()
            learned = torch.tensor(row.learned[1:], device="cuda")
            total += float(torch.nn.functional.cross_entropy(scores[learned], ids[0, 1:][learned], reduction="sum"))
            count += int(learned.sum())
        return round(total / count, 4)

    found = {"untrained": loss()}
    for name in task["sides"]:
        missed: Any = set_peft_model_state_dict(
            model, load_file(place / name / "adapter" / "adapter_model.safetensors")
        )
        if missed.unexpected_keys:
            sys.exit(f"{name}: not the same adapter: {missed.unexpected_keys[:3]}")
        found[name] = loss()
    return found


SIDES = {
    "ours": ours,
    "ours_4bit": ours_4bit,
    "trl_best": trl_best,
    "trl_4bit": trl_4bit,
    "trl_stock": trl_stock,
}


def main() -> None:
    """Train, or judge, and print."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    if name == "judge":
        print(json.dumps(judge(task, folder)))
        return
    import torch

    steps = SIDES[name](task, folder / name)
    late = steps[WARM:]
    found = {
        "steps": len(steps),
        "seconds": round(sum(steps), 2),
        "tokens_a_second": round(tokens(task) / len(steps) * len(late) / sum(late)),
        "peak_mib": torch.cuda.max_memory_allocated() // 2**20,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
