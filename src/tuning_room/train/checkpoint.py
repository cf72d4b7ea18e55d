"""A training state on disk: whole or absent, and in safetensors only."""

from pathlib import Path
from typing import Any, NamedTuple

from tuning_room.files import atomic_folder, holding
from tuning_room.records import read_json, write_json

PARTS = ("parameter", "exp_avg", "exp_avg_sq")


class Progress(NamedTuple):
    """How far training has come, and which run the state belongs to."""

    step: int
    fingerprint: str


def save(folder: Path, parameters: dict[str, Any], optimizer: Any, progress: Progress) -> None:
    """Write trainable parameters and AdamW's moments, replacing the checkpoint before."""
    from safetensors.torch import save_file

    tensors = {}
    for name, parameter in parameters.items():
        state = optimizer.state[parameter]
        tensors[f"parameter.{name}"] = parameter.detach().contiguous()
        tensors |= {f"{part}.{name}": state[part].contiguous() for part in PARTS[1:]}
    with atomic_folder(folder, holding("progress.json")) as temporary:
        save_file(tensors, temporary / "state.safetensors")
        write_json(temporary / "progress.json", progress._asdict())


def load(folder: Path, parameters: dict[str, Any], optimizer: Any, fingerprint: str) -> int:
    """Restore a checkpoint of the same run and return its step; 0 if there is none."""
    import torch
    from safetensors.torch import load_file

    if not (folder / "progress.json").is_file():
        return 0
    progress = Progress(**read_json(folder / "progress.json"))
    if progress.fingerprint != fingerprint:
        return 0
    tensors = load_file(folder / "state.safetensors")
    for name, parameter in parameters.items():
        parameter.data.copy_(tensors[f"parameter.{name}"])
        moments = {part: tensors[f"{part}.{name}"] for part in PARTS[1:]}
        optimizer.state[parameter] = {"step": torch.tensor(float(progress.step)), **moments}
    return progress.step
