"""Unsloth itself on a CPU, through Training Hub and our mended backend (run with `-m slow`, after `make unsloth`).

Real here: Unsloth, TRL, Training Hub, the embedded model, the rows' masks, a resume after a kill. Not shown: a GPU,
bf16 and QLoRA, which a CPU has not.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from prerequisites import missing_for_slow
from tuning_room.models import load_adapter, load_model
from tuning_room.records import Dialogue, Message, write_jsonl

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-unsloth" / "bin" / "python"
TRAIN = """
import json, sys, unsloth
from training_hub import AlgorithmRegistry, lora_sft
from tuning_room.train.unsloth import NAME, UnslothBackend
AlgorithmRegistry.register_backend("lora_sft", NAME, UnslothBackend)
given = json.loads(sys.argv[1])
found = lora_sft(backend=NAME, **given)
found["model"].save_pretrained(sys.argv[2])
trainer = found["trainer"]
batch = next(iter(trainer.get_train_dataloader()))
learned = [[int(t) for t in row if t != -100] for row in batch["labels"]]
print(json.dumps({"metrics": [m._asdict() for m in found["metrics"]], "learned": learned}))
"""


@pytest.fixture(scope="module", autouse=True)
def installed(request: pytest.FixtureRequest) -> None:
    """Skip without Unsloth's environment, or fail where the slow tests were asked for in CI."""
    if not PYTHON.is_file():
        missing_for_slow(f"{PYTHON.relative_to(ROOT)} is missing: run make unsloth", request.config)


def train(given: dict[str, Any], adapter: Path) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [str(PYTHON), "-c", TRAIN, json.dumps(given), str(adapter)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=800,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def test_unsloth_learns_the_assistants_tokens_and_resumes(embedded_model: Path, tmp_path: Path) -> None:
    def dialogue(number: int) -> Dialogue:
        turns = [("system", "Ask."), ("user", f"What is {number} + 2?"), ("assistant", f"What is {number} + 1?")]
        messages = [Message(role=role, content=text) for role, text in turns]  # type: ignore[arg-type]
        return Dialogue(id=f"r{number}", source="test", group="g", messages=messages)

    write_jsonl(tmp_path / "rows.jsonl", [dialogue(n) for n in range(8)])
    given: dict[str, Any] = {
        "model_path": str(embedded_model),
        "data_path": str(tmp_path / "rows.jsonl"),
        "ckpt_output_dir": str(tmp_path / "training"),
        "lora_r": 8,
        "lora_alpha": 16,
        "target_modules": ["q_proj", "v_proj", "down_proj"],
        "skip_layers": 20,
        "num_epochs": 2,
        "effective_batch_size": 4,
        "micro_batch_size": 2,
        "learning_rate": 1e-3,
        "max_seq_len": 512,
        "save_steps": 2,
        "seed": 7,
    }
    found = train(given, tmp_path / "adapter")
    assert [metric["step"] for metric in found["metrics"]] == [1, 2, 3, 4]
    assert found["metrics"][-1]["loss"] < found["metrics"][0]["loss"]
    from tuning_room.models import load_tokenizer

    said = {load_tokenizer(embedded_model).decode(tokens).strip() for tokens in found["learned"]}
    assert len(found["learned"]) == 2 and said <= {f"What is {n} + 1?<|im_end|>" for n in range(8)}
    adapted = load_adapter(load_model(embedded_model), tmp_path / "adapter")
    layers = {name.split(".layers.")[1].split(".")[0] for name, _ in adapted.named_parameters() if "lora_" in name}
    assert layers == {str(layer) for layer in range(20, 30)}
    # As a kill after the checkpoint of step 2 leaves it.
    for later in (tmp_path / "training").glob("checkpoint-4"):
        later.rename(tmp_path / "gone")
    again = train(given, tmp_path / "again")
    assert [metric["step"] for metric in again["metrics"]] == [1, 2, 3, 4]
    assert again["metrics"][-1]["loss"] == pytest.approx(found["metrics"][-1]["loss"], abs=1e-3)
