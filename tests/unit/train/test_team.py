"""Two processes over gloo against one: the same losses and the same weights. Real here: the processes, gloo, torch."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_rows import STEPS, Configure

from tuning_room.train.config import LoopConfig
from tuning_room.train.loop import LoraTrainer
from tuning_room.train.team import Team, rank_and_size

pytestmark = pytest.mark.usefixtures("one_thread")

WORKER = """
import json, sys
from pathlib import Path
from safetensors.torch import save_file
from tuning_room.train.loop import LoraTrainer
from tuning_room.train.config import LoopConfig
trainer = LoraTrainer(LoopConfig.from_hub(json.loads(sys.argv[1])))
trainer.train()
weights = {name: parameter.detach() for name, parameter in trainer.parameters.items()}
save_file(weights, f"{sys.argv[2]}/weights-{trainer.team.rank}.safetensors")
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def train_together(config: LoopConfig, place: Path, size: int = 2) -> None:
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(size)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, json.dumps(config.as_hub()), str(place)],
            env={**os.environ, **address, "RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    errors = [worker.communicate(timeout=300)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * size, "\n".join(errors)


@pytest.mark.parametrize("changes", [{}, {"retention": 0.5, "retention_rows": 2}], ids=["rows", "and-neutral"])
def test_two_processes_give_what_one_gives(configure: Configure, tmp_path: Path, changes: dict[str, Any]) -> None:
    if changes:
        (tmp_path / "neutral.txt").write_text("Say hello.\nName a colour.\nWhere is Rome?\n", encoding="utf-8")
        changes["retention_prompts"] = str(tmp_path / "neutral.txt")
    alone = LoraTrainer(configure("alone", **changes))
    alone.train()
    together = configure("together", **changes)
    train_together(together, tmp_path)
    first, second = (load_file(tmp_path / f"weights-{rank}.safetensors") for rank in (0, 1))
    losses = [
        [json.loads(line)["loss"] for line in (Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        for folder in (alone.folder, together.ckpt_output_dir)
    ]
    assert len(losses[1]) == STEPS and losses[1] == pytest.approx(losses[0], abs=1e-4)
    for name, parameter in alone.parameters.items():
        # The second process keeps the last weights, the first returns the best ones.
        assert torch.allclose(first[name], parameter, atol=1e-4), name
        assert first[name].shape == second[name].shape


def test_who_is_alone_leads_and_takes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert rank_and_size() == (0, 1)
    team = Team()
    assert team.leads and team.share([3, 1, 2]) == [3, 1, 2] and team.total(2.5) == 2.5
