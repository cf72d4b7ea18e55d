"""One side of `train.py`, in a process of its own: trains on the same rows and prints one JSON object.

    python benchmarks/train_contender.py NAME FOLDER

`FOLDER/task.json` holds the task; the adapter is written to `FOLDER/NAME`. Only the training itself is timed, without
loading and without validation.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Task = dict[str, Any]


def ours(task: Task, out: Path) -> dict[str, Any]:
    """Train with the product's own loop."""
    from tuning_room.train.config import LoopConfig
    from tuning_room.train.loop import LoraTrainer

    trainer = LoraTrainer(
        LoopConfig(
            model_path=Path(task["model"]),
            data_path=Path(task["rows"]),
            ckpt_output_dir=out / "training",
            rank=task["rank"],
            alpha=task["alpha"],
            skip_layers=task["skip_layers"],
            batch_size=task["batch"],
            learning_rate=task["rate"],
            warmup_steps=task["warmup"],
            save_every=10_000,
            seed=task["seed"],
        )
    )
    started = time.perf_counter()
    model = trainer.train()
    seconds = time.perf_counter() - started
    model.save_pretrained(out / "adapter", save_embedding_layers=False)
    return {"seconds": seconds}


def trl_best(task: Task, out: Path) -> dict[str, Any]:
    """Train with TRL as well as it can be set on a CPU."""
    return _trl(
        task, out, bf16=False, gradient_checkpointing=False, train_sampling_strategy="group_by_length", **task["best"]
    )


def trl_stock(task: Task, out: Path) -> dict[str, Any]:
    """Train with TRL as it comes; its loss is on completions where rows have a prompt and a completion."""
    return _trl(task, out)


def workshop(task: Task, out: Path) -> dict[str, Any]:
    """Train with the loop of many workshops: every row padded to 256 tokens, the loss on all of them."""
    from datasets import Dataset
    from transformers import Trainer, TrainingArguments

    model, tokenizer = _peft_model(task), _tokenizer(task)
    texts = [tokenizer.apply_chat_template(row["messages"], tokenize=False) for row in _rows(task)]
    encoded = tokenizer(texts, padding="max_length", max_length=256, truncation=True, add_special_tokens=False)
    rows = Dataset.from_dict({**encoded, "labels": encoded["input_ids"]})
    arguments = TrainingArguments(**_common(task, out), bf16=False)
    return _run(Trainer(model=model, args=arguments, train_dataset=rows), out)


def unsloth(task: Task, out: Path) -> dict[str, Any]:
    """Train with Unsloth's own path on a CPU: its model, its patched trainer of TRL."""
    from unsloth import FastLanguageModel  # isort: skip: patches TRL, which is imported after it
    from trl import SFTConfig, SFTTrainer

    model, tokenizer = FastLanguageModel.from_pretrained(
        task["model"], max_seq_length=1024, dtype="float32", load_in_4bit=False
    )
    model = FastLanguageModel.get_peft_model(
        model, r=task["rank"], lora_alpha=task["alpha"], lora_dropout=0, target_modules=task["modules"],
        layers_to_transform=task["layers"], use_gradient_checkpointing=False, random_state=task["seed"],
    )  # fmt: skip
    arguments = SFTConfig(
        **_common(task, out), bf16=False, gradient_checkpointing=False, train_sampling_strategy="group_by_length"
    )
    return _run(SFTTrainer(model=model, args=arguments, train_dataset=pairs(task), processing_class=tokenizer), out)


def _trl(task: Task, out: Path, **settings: Any) -> dict[str, Any]:
    from trl import SFTConfig, SFTTrainer

    arguments = SFTConfig(**_common(task, out), **settings)
    trainer = SFTTrainer(
        model=_peft_model(task), args=arguments, train_dataset=pairs(task), processing_class=_tokenizer(task)
    )
    return _run(trainer, out)


def _run(trainer: Any, out: Path) -> dict[str, Any]:
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
    trainer.model.save_pretrained(out / "adapter", save_embedding_layers=False)
    return {"seconds": seconds}


def _common(task: Task, out: Path) -> dict[str, Any]:
    return {
        "output_dir": str(out / "training"),
        "use_cpu": True,
        "per_device_train_batch_size": task["batch"],
        "num_train_epochs": 1,
        "learning_rate": task["rate"],
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        "warmup_steps": task["warmup"],
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "save_strategy": "no",
        "logging_steps": 1000,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": task["seed"],
    }


def _rows(task: Task) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(task["rows"]).read_text(encoding="utf-8").splitlines()]


def pairs(task: Task) -> Any:
    """Return the rows as prompt and completion, for which TRL masks the prompt."""
    from datasets import Dataset

    turns = [row["messages"] for row in _rows(task)]
    return Dataset.from_list([{"prompt": messages[:-1], "completion": messages[-1:]} for messages in turns])


def _tokenizer(task: Task) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(task["model"])


def _peft_model(task: Task) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(task["seed"])
    model = AutoModelForCausalLM.from_pretrained(task["model"], dtype=torch.float32)
    config = LoraConfig(
        r=task["rank"], lora_alpha=task["alpha"], target_modules=task["modules"],
        layers_to_transform=task["layers"], task_type="CAUSAL_LM",
    )  # fmt: skip
    return get_peft_model(model, config)


SIDES: dict[str, Callable[[Task, Path], dict[str, Any]]] = {
    "ours": ours,
    "trl_best": trl_best,
    "trl_stock": trl_stock,
    "workshop": workshop,
    "unsloth": unsloth,
}


def main() -> None:
    """Train and print."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    cpu = time.process_time()
    found = SIDES[name](task, folder / name)
    found |= {
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
