"""What the sides of `train_gpu.py` have in common: the models, the GPU's own rate, and the losses of all adapters."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import LINEAR
from train_contender import Task

if TYPE_CHECKING:
    from transformers import LlamaConfig

LONGEST = 2048  # tokens of a row
SHAPES = {
    "tiny": (64, 128, 2, 4, 2),
    "135m": (576, 1536, 30, 9, 3),
    "1.5b": (1536, 8960, 28, 12, 2),
    "3b": (3072, 8192, 28, 24, 8),
    "8b": (4096, 14336, 32, 32, 8),
}  # width, feed-forward width, layers, heads, key-value heads


def judge(task: Task) -> dict[str, Any]:
    """Draw a model, measure the GPU, or take losses."""
    if "draw" in task:
        return drawn_model(Path(task["draw"]), task["shape"], Path(task["tokenizer"]))
    if "adapters" in task:
        return losses(task)
    return gpu()


def shape_config(shape: str, tokenizer: Any) -> "LlamaConfig":
    """Return a Llama's configuration."""
    from transformers import LlamaConfig

    width, inner, layers, heads, groups = SHAPES[shape]
    return LlamaConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        vocab_size=len(tokenizer),
        max_position_embeddings=8192,
        tie_word_embeddings=shape == "135m",
        **{f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")},
    )


def drawn_model(place: Path, shape: str, other: Path) -> dict[str, Any]:
    """Write a Llama of a shape with random weights, in bf16, and another model's tokenizer; count its operations.

    A token costs 4 operations a weight, since frozen weights have no gradient, and as many a token before it and
    unit of width in each layer's attention, forwards; backwards twice that.
    """
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(other)
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(shape_config(shape, tokenizer))
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    linear = sum(p.numel() for name, p in model.named_parameters() if name.endswith("proj.weight"))
    head = model.get_output_embeddings().weight.numel()
    width, _, layers, *_ = SHAPES[shape]
    return {
        "weights": sum(p.numel() for p in model.parameters()),
        "operations_a_token": 4 * (linear + head),
        "operations_a_pair": 12 * layers * width,
    }


def gpu() -> dict[str, Any]:
    """Return the card, the libraries and the rate of a bf16 matrix product of random numbers, in TFLOP/s."""
    from importlib.metadata import PackageNotFoundError, version

    import torch

    def known(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return ""

    names = ("torch", "transformers", "trl", "peft", "unsloth", "training-hub", "bitsandbytes", "xformers", "triton")
    found: dict[str, Any] = {"versions": {name: known(name) for name in names}}
    if not torch.cuda.is_available():
        return {**found, "gpu": "none", "tflops": 0.0}
    size, rates = 8192, []
    left, right = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for number in range(40):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        left @ right
        end.record()
        torch.cuda.synchronize()
        if number >= 10:
            rates.append(2 * size**3 / begin.elapsed_time(end) / 1e9)
    return {
        **found,
        "gpu": torch.cuda.get_device_name(),
        "tflops": round(sorted(rates)[len(rates) // 2]),
        "launch_us": round(launch_seconds() * 1e6, 2),
        "memory_mib": torch.cuda.get_device_properties(0).total_memory // 2**20,
    }


def launch_seconds() -> float:
    """Return what one small operation costs the host: seconds for 2,000 additions of one number."""
    import torch

    one = torch.ones(1, device="cuda")
    for _ in range(200):
        one + one
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(2000):
        one + one
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / 2000


def losses(task: Task) -> dict[str, float]:
    """Return the validation loss of every adapter, and of the base model."""
    import torch
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tuning_room.train.batches import load_rows

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(task["model"])
    model = adapted(AutoModelForCausalLM.from_pretrained(task["model"], dtype="bfloat16", device_map=device)).eval()

    @torch.no_grad()
    def loss(path: str) -> float:
        total, count = 0.0, 0
        for row in load_rows(Path(path), tokenizer, LONGEST).rendered:
            ids = torch.tensor([row.input_ids], device=device)
            learned = torch.tensor(row.learned[1:], device=device)
            scores = model(ids).logits[0, :-1][learned].float()
            total += float(torch.nn.functional.cross_entropy(scores, ids[0, 1:][learned], reduction="sum"))
            count += int(learned.sum())
        return round(total / count, 4)

    found = {f"untrained {path}": loss(path) for path in sorted(set(task["adapters"].values()))}
    for folder, path in task["adapters"].items():
        missed: Any = set_peft_model_state_dict(model, load_file(Path(folder) / "adapter_model.safetensors"))
        if missed.unexpected_keys:
            raise ValueError(f"{folder}: not the same adapter: {missed.unexpected_keys[:3]}")
        found[folder] = loss(path)
    return found


def adapted(base: Any) -> Any:
    """Return a model with the adapter that every side trains."""
    from peft import LoraConfig, get_peft_model

    return get_peft_model(base, LoraConfig(r=16, lora_alpha=32, target_modules=LINEAR, task_type="CAUSAL_LM"))
