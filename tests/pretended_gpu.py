"""A GPU that is pretended: its tensors have values, and bear no company from the CPU.

torch's FakeTensorMode finds operations over two devices as well, but its tensors have no values, and a loop that reads
losses or tokens does not get far with them. Here the device is torch's `meta`, which needs no driver; each of its
tensors carries one on the CPU, and is computed by it. An operation with tensors of both devices fails, as it does on a
GPU, and so does the CPU's own attention. Drawing leaves the CPU's generator as it was: a GPU has its own.

Not shown: a GPU's kernels, rounding, memory and speed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
import torch
from peft.tuners.lora.layer import LoraLayer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = "meta"
optimizers = import_module("torch.optim.optimizer")  # torch deletes the name
aten = torch.ops.aten
COPIES = (aten._to_copy, aten.copy_)
INDEXING = (aten.index, aten.index_put, aten.index_put_, aten._unsafe_index)  # a GPU takes indices from the CPU


class PretendedTensor(torch.Tensor):
    """A tensor on the pretended GPU, and the one on the CPU that has its values."""

    inner: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls: type, inner: torch.Tensor) -> "PretendedTensor":
        made: PretendedTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device(DEVICE),
        )
        made.inner = inner
        return made

    def tolist(self) -> Any:
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class Pretending(TorchDispatchMode):
    """Has what is made on the pretended GPU be a tensor of its own kind."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


def computed(func: Any, args: Any, kwargs: Any) -> Any:
    """Compute an operation on the CPU, and say where its result is."""
    mine = {id(t.inner): t for t in tree_leaves((args, kwargs)) if isinstance(t, PretendedTensor)}
    check_one_device(func, args, kwargs, is_there=bool(mine))
    is_there = stays_there(func, args, kwargs, bool(mine))
    if kwargs.get("device") is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree_map(lambda t: t.inner if isinstance(t, PretendedTensor) else t, (args, kwargs))
    before = torch.get_rng_state()
    result = func(*args, **kwargs)
    if not is_there:
        return result
    torch.set_rng_state(before)

    def there(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        # What an operation in place returns is the tensor that it was given.
        return mine[id(value)] if id(value) in mine else PretendedTensor(value)

    return tree_map(there, result)


def check_one_device(func: Any, args: Any, kwargs: Any, *, is_there: bool) -> None:
    name = func.overloadpacket
    if not is_there or name in COPIES:
        return
    assert name is not aten._scaled_dot_product_flash_attention_for_cpu, "the CPU's attention on a GPU"
    here = [
        t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor) and t.device.type == "cpu" and t.dim()
    ]
    if here and not (name in INDEXING and isinstance(args[0], PretendedTensor)):
        raise AssertionError(f"{func}: tensors on a CPU beside those on a GPU: {[tuple(t.shape) for t in here]}")


def stays_there(func: Any, args: Any, kwargs: Any, some_are: bool) -> bool:
    """Return whether an operation's result is on the pretended GPU."""
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"]).type == DEVICE
    if func.overloadpacket is aten.copy_:
        return isinstance(args[0], PretendedTensor)
    return some_are and func.overloadpacket is not aten._local_scalar_dense


@contextmanager
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Have the training loop and the engine compute on a pretended GPU, and yield its name."""
    with monkeypatch.context() as patched:
        for place in ("tuning_room.train.loop.device", "tuning_room.engines.local.chosen_device"):
            patched.setattr(place, lambda: DEVICE)
        # What torch and PEFT do with tensors on `meta`, and not with those on a GPU.
        patched.setattr(torch, "tensor", with_values(torch.tensor))
        patched.setattr(torch, "inference_mode", torch.no_grad)
        patched.setattr(optimizers, "_get_fused_kernels_supported_devices", lambda: ["cpu", DEVICE])
        patched.setattr(LoraLayer, "_move_adapter_to_device_of_base_layer", beside_the_base)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            with Pretending():
                yield DEVICE
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(False)


def with_values(plain: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def with_device(*args: Any, device: Any = None, **more: Any) -> torch.Tensor:
        made = plain(*args, **more)
        return made if device is None else made.to(device)

    return with_device


def beside_the_base(layer: Any, name: str, device: Any = None) -> None:
    """Move an adapter to its base layer's device; PEFT passes over layers with an adapter on `meta`."""
    for kind in layer.adapter_layer_names:
        adapters = getattr(layer, kind)
        if isinstance(adapters, torch.nn.ModuleDict) and name in adapters:
            adapters[name] = adapters[name].to(layer.get_base_layer().weight.device)
