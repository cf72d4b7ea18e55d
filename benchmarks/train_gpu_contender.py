"""One side of `train_gpu.py`: a process that trains what it is asked to, case after case.

    python benchmarks/train_gpu_contender.py NAME

Each line of standard input is a task in JSON, each line of standard output its result; whatever libraries print goes
to standard error. The side `judge` is `train_gpu_judge.py`.
"""

import gc
import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from train_contender import Task, pairs
from train_gpu_judge import LONGEST, adapted, judge
from train_gpu_profile import recorded

WARM = 5  # steps that compile kernels and fill caches


def main() -> None:
    """Do what each line of standard input asks for."""
    name = sys.argv[1]
    answers = own_output()
    side = prepared(name)
    print(json.dumps({"ready": name}), file=answers, flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        try:
            found = side(task)
        except Exception:
            found = {"error": traceback.format_exc()[-1500:]}
        forget()
        print(json.dumps(found), file=answers, flush=True)


def own_output() -> IO[str]:
    """Return the standard output, and let all others who write to it write to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def prepared(name: str) -> Callable[[Task], dict[str, Any]]:
    """Return what a side does with a task, with its libraries loaded."""
    if name == "judge":
        return judge
    if name.startswith("ours"):
        import unsloth  # noqa: F401  patches TRL, which is imported after it

        from tuning_room.train import unsloth as ours  # noqa: F401

        if name == "ours_flash":
            attend_in_one_kernel()
    import trl  # noqa: F401

    train = SIDES[name]

    def side(task: Task) -> dict[str, Any]:
        return measured(lambda: train(task, Path(task["out"])), task)

    return side


def measured(train: Callable[[], list[tuple[float, int, float]]], task: Task) -> dict[str, Any]:
    """Train, and return the figures: seconds and tokens of all steps, and the memory that torch took."""
    import torch

    on_gpu = torch.cuda.is_available()
    free = torch.cuda.mem_get_info()[0] if on_gpu else 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    with recorded(task.get("profile", False)) as profile:
        steps = train()
    total = tokens(task)
    share = total / max(1, sum(step[1] for step in steps))  # a side that counts padding is put right
    late = steps[WARM:]
    seconds = sum(step[0] for step in late)
    return {
        "steps": len(steps),
        "tokens": total,
        "wall": round(time.perf_counter() - began, 1),
        "seconds": round(sum(step[0] for step in steps), 2),
        "step_seconds": [round(step[0], 4) for step in steps],
        "tokens_a_second": round(sum(step[1] for step in late) * share / seconds),
        "by_median": round(total / len(steps) / statistics.median(step[0] for step in late)),
        "train_loss": round(sum(step[2] for step in steps[-4:]) / 4, 4),
        "peak_mib": torch.cuda.max_memory_allocated() // 2**20 if on_gpu else 0,
        "free_before_mib": free // 2**20,
        **({"profile": profile} if profile else {}),
    }


def forget() -> None:
    """Free what a case took of the GPU."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


# A step is (seconds, tokens, loss).
Steps = list[tuple[float, int, float]]


def ours(task: Task, out: Path, *, four_bit: bool = False) -> Steps:
    """Train as a recipe with `backend: unsloth` does."""
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
        num_epochs=1,
        effective_batch_size=task["batch"],
        learning_rate=task["rate"],
        warmup_steps=task["warmup"],
        max_seq_len=LONGEST,
        save_steps=10_000,
        seed=task["seed"],
        **({"load_in_4bit": True} if four_bit else {}),
    )
    found["model"].save_pretrained(out / "adapter", save_embedding_layers=False)
    return [(step.seconds, step.tokens, step.loss) for step in found["steps"]]


def ours_4bit(task: Task, out: Path) -> Steps:
    """Train as a recipe with `quantize: 4bit` does."""
    return ours(task, out, four_bit=True)


def attend_in_one_kernel() -> None:
    """Let Unsloth attend to packed rows by torch's flash kernel, as it does by itself from torch 2.12 on.

    On torch 2.11, whose kernel is not asked because it cannot take grouped heads by name, it attends row by row.
    """
    from torch.nn.attention.varlen import varlen_attn
    from unsloth.utils import attention_dispatch as dispatch

    def attend(query: Any, key: Any, value: Any, *places: Any, enable_gqa: bool = False, **more: Any) -> Any:
        # (tokens, heads, size)
        groups = query.shape[1] // key.shape[1] if enable_gqa else 1
        return varlen_attn(
            query, key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1), *places, **more
        )

    dispatch._TORCH_VARLEN_ATTN = attend
    dispatch._LEAN_VARLEN = True
    dispatch._varlen_can_use_cudnn = lambda *given: False


def trl_padded(task: Task, out: Path) -> Steps:
    """Train with TRL in padded passes of rows of one length."""
    return _trl(task, out, train_sampling_strategy="group_by_length")


def trl_packed(task: Task, out: Path) -> Steps:
    """Train with TRL without padding, attention by torch's flash kernel for rows of several lengths."""
    return _trl(task, out, load={"attn_implementation": flash()}, padding_free=True)


def trl_packed_sdpa(task: Task, out: Path) -> Steps:
    """Train with TRL without padding, attention under a mask of blocks."""
    return _trl(task, out, padding_free=True)


def trl_4bit(task: Task, out: Path) -> Steps:
    """Train with TRL on a model in bitsandbytes' nf4."""
    import torch
    from transformers import BitsAndBytesConfig

    quantized = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return _trl(task, out, load={"quantization_config": quantized}, train_sampling_strategy="group_by_length")


def trl_stock(task: Task, out: Path) -> Steps:
    """Train with TRL as it comes, its batch of eight rows accumulated to the step's."""
    rows = min(8, task["batch"])
    return _trl(
        task, out, stock=True, per_device_train_batch_size=rows, gradient_accumulation_steps=task["batch"] // rows
    )


def _once(task: Task, config: Any) -> dict[str, Any]:
    """Return TRL's settings for passes as large as the memory can hold the activations of, computed once."""
    from tuning_room.train.gpu import computes_in_bf16, kept_rows

    most = min(kept_rows(config, task["longest"]) or task["batch"], task["batch"])
    rows = next(size for size in range(most, 0, -1) if task["batch"] % size == 0)
    return {
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": task["batch"] // rows,
        "gradient_checkpointing": False,
        "bf16": computes_in_bf16(),
    }


def flash() -> str:
    """Register torch's flash kernel for rows of several lengths as attention, and return its name."""
    import torch
    from torch.nn.attention.varlen import varlen_attn
    from transformers import AttentionInterface

    known: dict[str, Any] = {"positions": None}

    def ends(positions: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Return where rows begin and the last one ends, and the longest row's length; once a forward pass."""
        if known["positions"] is not positions:
            starts = torch.nonzero(positions.flatten() == 0).flatten().int()
            places = torch.cat([starts, starts.new_tensor([positions.numel()])])
            known.update(positions=positions, places=places, longest=int(places.diff().max()))
        return known["places"], known["longest"]

    def attend(
        module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **more: Any
    ) -> tuple[torch.Tensor, None]:
        # (1, heads, tokens, size) in, (1, tokens, heads, size) out
        places, longest = ends(more["position_ids"])
        groups = query.shape[1] // key.shape[1]
        parts = [query, key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)]
        parts = [part[0].transpose(0, 1).contiguous() for part in parts]
        found = varlen_attn(*parts, places, places, longest, longest, scale=more.get("scaling"), window_size=(-1, 0))
        return found[None], None

    AttentionInterface.register("torch_varlen", attend)
    return "torch_varlen"


def _trl(task: Task, out: Path, *, stock: bool = False, load: dict[str, Any] | None = None, **settings: Any) -> Steps:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    on_gpu = torch.cuda.is_available()
    torch.manual_seed(task["seed"])
    base = AutoModelForCausalLM.from_pretrained(
        task["model"],
        **(load or {}),
        dtype="bfloat16" if on_gpu else "float32",
        device_map={"": 0 if on_gpu else "cpu"},
    )
    settings |= {"bf16": False} if stock and not on_gpu else {} if stock else _once(task, base.config)
    arguments = SFTConfig(
        output_dir=str(out / "training"),
        num_train_epochs=1,
        learning_rate=task["rate"],
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.1},
        warmup_steps=task["warmup"],
        weight_decay=0.0,
        max_grad_norm=1.0,
        max_length=None,
        save_strategy="no",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        seed=task["seed"],
        use_cpu=not on_gpu,
        **settings,
    )
    trainer = SFTTrainer(
        model=adapted(base),
        args=arguments,
        train_dataset=pairs(task),
        processing_class=AutoTokenizer.from_pretrained(task["model"]),
    )
    steps: Steps = []
    trainer.add_callback(_clock(steps))
    trainer.train()
    trainer.model.save_pretrained(out / "adapter", save_embedding_layers=False)
    return steps


def _clock(steps: Steps) -> Any:
    """Return a callback that adds each step, as it is logged."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def on_train_begin(self, *given: Any, **more: Any) -> None:
            self.began, self.tokens = time.perf_counter(), 0

        def on_log(self, *given: Any, logs: dict[str, Any], **more: Any) -> None:
            if "loss" in logs:
                now, tokens = time.perf_counter(), int(logs["num_tokens"])
                steps.append((now - self.began, tokens - self.tokens, logs["loss"]))
                self.began, self.tokens = now, tokens

    return Clock()


def tokens(task: Task) -> int:
    """Return the tokens of all rows, without padding."""
    from transformers import AutoTokenizer

    from tuning_room.train.batches import load_rows

    rows = load_rows(Path(task["rows"]), AutoTokenizer.from_pretrained(task["model"]), LONGEST)
    return sum(len(row.input_ids) for row in rows.rendered)


SIDES: dict[str, Callable[[Task, Path], Steps]] = {
    "ours": ours,
    "ours_flash": ours,
    "ours_padded": ours,
    "ours_4bit": ours_4bit,
    "trl_padded": trl_padded,
    "trl_packed": trl_packed,
    "trl_packed_sdpa": trl_packed_sdpa,
    "trl_4bit": trl_4bit,
    "trl_stock": trl_stock,
}


if __name__ == "__main__":
    main()
