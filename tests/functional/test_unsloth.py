"""Unsloth itself, through Training Hub and our mended backend: marked slow on a CPU (`make unsloth`), gpu on a GPU.

Real here: Unsloth, TRL, Training Hub, the embedded model, the rows' masks, a resume after a kill; on a GPU bf16 and
QLoRA too. A GPU's tests run in the environment that they are started in. Not shown: several GPUs.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prerequisites import missing
from tuning_room.models import load_adapter, load_model, load_tokenizer
from tuning_room.records import Dialogue, Message, write_jsonl
from tuning_room.train.batches import load_rows

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-unsloth" / "bin" / "python"
TRAIN = """
import json, sys, unsloth
from training_hub import AlgorithmRegistry, lora_sft
from tuning_room.train.unsloth import NAME, UnslothBackend
AlgorithmRegistry.register_backend("lora_sft", NAME, UnslothBackend)
given = json.loads(sys.argv[1])
found = lora_sft(backend=NAME, **given)
model, trainer = found["model"], found["trainer"]
model.save_pretrained(sys.argv[2], save_embedding_layers=False)
labels = [row for batch in trainer.get_train_dataloader() for row in batch["labels"].tolist()]
print(json.dumps({
    "metrics": [step.model_dump() for step in found["steps"]],
    "learned": [[t for t in row if t != -100] for row in labels],
    "dtype": str(model.get_input_embeddings().weight.dtype),
    "modules": sorted({type(m).__name__ for m in model.modules()}),
    "pass": [trainer.args.per_device_train_batch_size, trainer.args.gradient_accumulation_steps],
    "recomputes": trainer.args.gradient_checkpointing,
}))
"""


@pytest.fixture
def given(embedded_model: Path, tmp_path: Path) -> dict[str, Any]:
    def dialogue(number: int) -> Dialogue:
        turns = [("system", "Ask."), ("user", f"What is {number} + 2?" * (1 + number % 3)), ("assistant", said(number))]
        messages = [Message(role=role, content=text) for role, text in turns]  # type: ignore[arg-type]
        return Dialogue(id=f"r{number}", source="test", group="g", messages=messages)

    write_jsonl(tmp_path / "rows.jsonl", [dialogue(n) for n in range(8)])
    return {
        "model_path": str(embedded_model),
        "data_path": str(tmp_path / "rows.jsonl"),
        "ckpt_output_dir": str(tmp_path / "training"),
        "lora_r": 8,
        "lora_alpha": 16,
        "target_modules": "all-linear",
        "skip_layers": 20,
        "num_epochs": 4,
        "effective_batch_size": 8,
        "micro_batch_size": 4,
        "learning_rate": 1e-3,
        "max_seq_len": 512,
        "save_steps": 2,
        "seed": 7,
    }


def said(number: int) -> str:
    return f"What is {number} + 1?"


def train(python: str, given: dict[str, Any], adapter: Path, **environment: str) -> dict[str, Any]:
    source = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [python, "-c", TRAIN, json.dumps(given), str(adapter)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": source, "HF_HUB_OFFLINE": "1", **environment},
        timeout=800,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def plain_loss(given: dict[str, Any]) -> float:
    """Return the untrained model's loss on the rows' learned tokens, in nats a token, by plain transformers in fp32."""
    import torch

    folder = Path(given["model_path"])
    model, total, count = load_model(folder), 0.0, 0
    for row in load_rows(Path(given["data_path"]), load_tokenizer(folder), 512).rendered:
        ids, learned = torch.tensor([row.input_ids]), torch.tensor(row.learned[1:])
        with torch.no_grad():
            scores = model(ids).logits[0, :-1]
        total += float(torch.nn.functional.cross_entropy(scores[learned], ids[0, 1:][learned], reduction="sum"))
        count += int(learned.sum())
    return total / count


def check(found: dict[str, Any], given: dict[str, Any], adapter: Path, near: float) -> None:
    """See that the assistant's tokens alone were learned, in the upper layers, in passes as asked for."""
    assert [metric["step"] for metric in found["metrics"]] == [1, 2, 3, 4]
    assert found["metrics"][0]["loss"] == pytest.approx(plain_loss(given), rel=near)
    assert found["metrics"][-1]["loss"] < found["metrics"][0]["loss"]
    assert all(metric["tokens"] > 0 and metric["seconds"] > 0 for metric in found["metrics"])
    assert found["pass"] == [4, 2]
    # Without padding a pass of several rows is one long row.
    tokens = [token for row in found["learned"] for token in row]
    folder = Path(given["model_path"])
    replies = load_tokenizer(folder).decode(tokens).split("<|im_end|>")
    assert sorted(reply.strip() for reply in replies[:-1]) == [said(n) for n in range(8)] and not replies[-1].strip()
    adapted = load_adapter(load_model(folder), adapter)
    names = {name for name, _ in adapted.named_parameters() if "lora_" in name}
    assert {name.split(".layers.")[1].split(".")[0] for name in names} == {str(layer) for layer in range(20, 30)}
    assert {name.rsplit(".lora_", 1)[0].rsplit(".", 1)[1] for name in names} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"
    }  # fmt: skip


def resumes(python: str, given: dict[str, Any], found: dict[str, Any], place: Path, **environment: str) -> None:
    """See that a training goes on from the checkpoint of step 2, as a kill after it leaves one."""
    for later in Path(given["ckpt_output_dir"]).glob("checkpoint-4"):
        later.rename(place / "gone")
    again = train(python, given, place / "again", **environment)
    assert [metric["step"] for metric in again["metrics"]] == [1, 2, 3, 4]
    assert again["metrics"][:2] == found["metrics"][:2]
    assert again["metrics"][-1]["loss"] == pytest.approx(found["metrics"][-1]["loss"], rel=2e-2)


@pytest.mark.slow
def test_unsloth_on_a_cpu(given: dict[str, Any], tmp_path: Path) -> None:
    if not PYTHON.is_file():
        missing(f"{PYTHON.relative_to(ROOT)} is missing: run make unsloth")
    found = train(str(PYTHON), given, tmp_path / "adapter", CUDA_VISIBLE_DEVICES="")
    check(found, given, tmp_path / "adapter", near=1e-3)
    assert found["dtype"] == "torch.float32" and found["recomputes"]
    resumes(str(PYTHON), given, found, tmp_path, CUDA_VISIBLE_DEVICES="")


@pytest.mark.gpu
@pytest.mark.parametrize(("quantize", "near"), [({}, 0.02), ({"load_in_4bit": True}, 0.2)], ids=["bf16", "4bit"])
def test_unsloth_on_a_gpu(given: dict[str, Any], tmp_path: Path, quantize: dict[str, bool], near: float) -> None:
    import torch

    if not torch.cuda.is_available():
        missing("torch finds no GPU")
    given |= quantize
    found = train(sys.executable, given, tmp_path / "adapter")
    check(found, given, tmp_path / "adapter", near)
    assert found["dtype"] == "torch.bfloat16" and not found["recomputes"]
    assert ("Linear4bit" in found["modules"]) == bool(quantize)
    resumes(sys.executable, given, found, tmp_path)
