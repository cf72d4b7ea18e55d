"""A training's state on disk: what comes back, and what never stands there in part."""

from pathlib import Path
from typing import Any

import pytest
import torch
from training_rows import assert_equal

from tuning_room.files import digest
from tuning_room.train import checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")


def stepped(seed: int, steps: int) -> tuple[dict[str, Any], Any]:
    torch.manual_seed(seed)
    parameters = {"b.x": torch.nn.Parameter(torch.randn(3, 2)), "a": torch.nn.Parameter(torch.randn(4))}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.1)
    advance(parameters, optimizer, steps)
    return parameters, optimizer


def advance(parameters: dict[str, Any], optimizer: Any, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        sum((parameter**2 + parameter).sum() for parameter in parameters.values()).backward()
        optimizer.step()


def test_a_checkpoint_brings_back_weights_moments_and_step(tmp_path: Path) -> None:
    parameters, optimizer = stepped(1, 3)
    checkpoint.save(tmp_path / "c", parameters, optimizer, checkpoint.Progress(3, "run"))
    others, fresh = stepped(2, 0)
    assert checkpoint.load(tmp_path / "c", others, fresh, "run") == 3
    advance(parameters, optimizer, 2)
    advance(others, fresh, 2)
    assert_equal(parameters, others)
    assert {path.suffix for path in (tmp_path / "c").iterdir()} == {".safetensors", ".json"}


def test_a_checkpoint_of_another_run_or_none_is_not_loaded(tmp_path: Path) -> None:
    parameters, optimizer = stepped(1, 3)
    assert checkpoint.load(tmp_path / "c", parameters, optimizer, "run") == 0
    checkpoint.save(tmp_path / "c", parameters, optimizer, checkpoint.Progress(3, "run"))
    others, fresh = stepped(2, 0)
    before = {name: value.detach().clone() for name, value in others.items()}
    assert checkpoint.load(tmp_path / "c", others, fresh, "another run") == 0
    assert_equal(before, others)


def test_a_later_checkpoint_replaces_the_one_before_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters, optimizer = stepped(1, 3)
    checkpoint.save(tmp_path / "c", parameters, optimizer, checkpoint.Progress(3, "run"))
    kept = digest(tmp_path / "c")
    advance(parameters, optimizer, 1)
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "write_json", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            checkpoint.save(tmp_path / "c", parameters, optimizer, checkpoint.Progress(4, "run"))
    assert digest(tmp_path / "c") == kept
    checkpoint.save(tmp_path / "c", parameters, optimizer, checkpoint.Progress(4, "run"))
    assert checkpoint.load(tmp_path / "c", *stepped(2, 0), "run") == 4
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
