"""The training loop on a GPU: the losses of the CPU under each objective, and nothing left behind there.

Under `-m gpu` the GPU is real; everywhere else it is pretended (tests/pretended_gpu.py), with values. Real in both:
torch, PEFT, AdamW, the in-process engine, the checkpoint. Also here: bf16, on a CPU and on a real GPU.
"""

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_rows import Configure

from prerequisites import missing
from tuning_room.models import WEIGHTS
from tuning_room.train import planning
from tuning_room.train.lessons import drawn_on_cpu
from tuning_room.train.loop import LoraTrainer

pytestmark = pytest.mark.usefixtures("one_thread")

Gpu = Callable[[], AbstractContextManager[str]]
PROMPT = "Ask, and say nothing else. " * 4
OBJECTIVES: dict[str, dict[str, Any]] = {
    "sft": {},
    "distill": {"sft": 0.0, "distill": 1.0, "teacher_prompt": PROMPT},
    "retention": {"retention": 1.0, "retention_rows": 2},
    "on_policy": {"sft": 0.0, "on_policy_steps": 8, "on_policy_tokens": 8, "teacher_prompt": PROMPT},
}


@pytest.fixture(params=OBJECTIVES)
def objective(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Eight steps of one objective."""
    neutral = tmp_path / "neutral.txt"
    neutral.write_text("Name a colour.\nWhere is Rome?\nSay hello.\n", encoding="utf-8")
    return {**OBJECTIVES[request.param], "max_steps": 8, "retention_prompts": str(neutral)}


def trained(config: Any) -> tuple[LoraTrainer, list[float]]:
    trainer = LoraTrainer(config)
    trainer.train()
    steps = trainer.metrics.read()
    assert len(steps) == 8
    return trainer, [loss for step in steps for loss in (step.loss, step.valid_loss) if loss is not None]


def test_the_losses_are_those_of_the_cpu(configure: Configure, objective: dict[str, Any], gpu: Gpu) -> None:
    _, expected = trained(configure("cpu", **objective))
    with gpu() as device:
        trainer, found = trained(configure("gpu", **objective))
        assert {weights.device.type for weights in trainer.model.parameters()} == {device}
    assert found == pytest.approx(expected, rel=1e-3)
    assert len(set(found)) > 4


@pytest.mark.gpu
def test_the_losses_of_the_embedded_model_are_those_of_the_cpu(
    configure: Configure, objective: dict[str, Any], embedded_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, found = on_both(configure, monkeypatch, {**objective, **real(embedded_model)}, "fp32")
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("objective", ["sft", "distill", "retention"], indirect=True)
def test_the_first_losses_of_the_embedded_model_in_bf16_are_near_those_of_the_cpu(
    configure: Configure, objective: dict[str, Any], embedded_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not on_policy: in bf16 the model draws other replies. Only the first step: on an H200 later losses were up to 11 %
    # off, and nobody has found out why (docs/lab_log.md).
    expected, found = on_both(configure, monkeypatch, {**objective, **real(embedded_model)}, "bf16")
    assert found[:2] == pytest.approx(expected[:2], rel=0.05, abs=0.02)


def real(model: Path) -> dict[str, Any]:
    return {"model_path": str(model), "learning_rate": 5e-4}


def on_both(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], precision: str
) -> tuple[list[float], list[float]]:
    """Return the losses on a CPU in fp32, and those on a GPU in a precision."""
    if not torch.cuda.is_available():
        missing("torch finds no GPU")
    _, expected = trained(configure("cpu", **given))
    monkeypatch.setenv("TUNING_ROOM_DEVICE", "cuda")
    trainer, found = trained(configure("gpu", **given, precision=precision))
    assert trainer.model.device.type == "cuda"
    return expected, found


def test_a_training_on_a_gpu_resumes_where_it_was_stopped(
    configure: Configure, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gpu():
        whole, expected = trained(configure("whole", max_steps=8))
        config = configure("parts", max_steps=8, save_steps=2)
        stopped = LoraTrainer(config)
        update = stopped.update

        def once(*args: Any, **more: Any) -> tuple[float, int]:
            if stopped.done == 5:
                raise OSError("the machine is gone")
            return update(*args, **more)

        monkeypatch.setattr(stopped, "update", once)
        with pytest.raises(OSError, match="gone"):
            stopped.train()
        again, found = trained(config)
        assert found == pytest.approx(expected, rel=1e-6)
        weights = ([(n, p.detach().cpu()) for n, p in t.parameters.items()] for t in (whole, again))
        for (name, one), (_, other) in zip(*weights, strict=True):
            assert torch.allclose(one, other, atol=1e-6), name


def test_what_a_gpu_is_given_is_drawn_as_the_cpu_draws(tmp_path: Path) -> None:
    scores = torch.randn(5, 40)
    torch.manual_seed(11)
    expected = scores.softmax(-1).multinomial(1)
    torch.manual_seed(11)
    found = drawn_on_cpu(torch.empty(0), scores)
    # Whoever draws from these scores gets the same tokens, whatever the generator.
    assert torch.equal(found.softmax(-1).multinomial(1), expected)


# --- bf16


def test_in_bf16_the_base_is_bf16_and_the_adapter_fp32(configure: Configure) -> None:
    _, plain = trained(configure("fp32", max_steps=8))
    trainer, found = trained(configure("bf16", max_steps=8, precision="bf16"))
    dtypes = {"lora_" in name: weights.dtype for name, weights in trainer.model.named_parameters()}
    assert dtypes == {True: torch.float32, False: torch.bfloat16}
    assert {value.dtype for value in load_file(trainer.folder / "best" / WEIGHTS).values()} == {torch.float32}
    assert found == pytest.approx(plain, rel=0.03) and found != plain


def test_a_change_of_precision_is_another_training(configure: Configure) -> None:
    assert configure(precision="bf16").fingerprint() != configure(precision="fp32").fingerprint()


# --- a plan


@pytest.mark.gpu
def test_a_plan_counts_the_memory_of_the_gpu(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        missing("torch finds no GPU")
    monkeypatch.setenv("TUNING_ROOM_DEVICE", "cuda")
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    found = planning.plan(configure(max_steps=8), 0.0)
    assert 0 < found.peak_bytes < 1 << 30
    assert found.peak_bytes < found.available_bytes <= torch.cuda.get_device_properties(0).total_memory


def test_what_is_free_on_a_gpu_is_what_torch_could_still_get(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (700, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 200)
    assert planning.free_on_gpu() == 900
