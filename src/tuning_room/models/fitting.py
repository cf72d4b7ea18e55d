"""Whether an adapter's weights are those that its settings ask for on a base model, read from names and shapes alone.

PEFT leaves out what it finds no place for, and starts what it finds no weights for at zero, with a warning at most;
vLLM ignores modules that it does not know. Either way another model than the trained one would be served.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning_room.errors import AdapterMismatchError, DataError, ModelError, one_line
from tuning_room.records import SETTINGS, WEIGHTS

if TYPE_CHECKING:
    from torch.nn import Module

Shapes = Mapping[str, tuple[int, ...]]

SHOWN = 2  # modules that an error names


class BaseShapes:
    """A base model without its weights, against which any number of adapters are checked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self, adapter: Path) -> None:
        """Raise AdapterMismatchError unless an adapter has just the modules that its settings ask for.

        Raises ModelError for weights that cannot be read, and DataError for settings that are none of LoRA.
        """
        found, expected = stored_shapes(adapter / WEIGHTS), self._expected(adapter)
        lacking, odd = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
        if lacking or odd:
            raise AdapterMismatchError(_counted(adapter, expected, found, lacking, odd), hint=_advice(adapter))
        for name, shape in sorted(expected.items()):
            if found[name] != shape:
                raise AdapterMismatchError(
                    f"{adapter / WEIGHTS}: {name} is {found[name]}, {SETTINGS} asks for {shape} on this base model",
                    hint=_advice(adapter),
                )

    def _expected(self, adapter: Path) -> Shapes:
        """Return the shapes of the weights that PEFT would write for these settings."""
        from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

        path = adapter / SETTINGS
        try:
            settings = LoraConfig.from_pretrained(str(adapter))
            settings.inference_mode = False
            # Other ways of drawing them would need the base model's weights; the shapes are the same.
            if hasattr(settings, "init_lora_weights"):
                settings.init_lora_weights = True
            adapted: Any = get_peft_model(self._empty(), settings)
        except ModelError:
            raise
        except Exception as error:
            raise DataError(
                f"{path}: does not fit this base model ({one_line(error)})", hint=_advice(adapter)
            ) from None
        weights = get_peft_model_state_dict(adapted, save_embedding_layers=False)
        return {name: tuple(value.shape) for name, value in weights.items()}

    def _empty(self) -> "Module":
        """Return the base model's modules on no device."""
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        try:
            config = AutoConfig.from_pretrained(str(self.folder), trust_remote_code=False)
            with torch.device("meta"):
                empty: Module = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        except Exception as error:
            raise ModelError(f"{self.folder}: the model cannot be read ({one_line(error)})") from None
        return empty


def stored_shapes(path: Path) -> Shapes:
    """Return the shapes of a safetensors file's tensors by name; ModelError for a file that is cut or none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ModelError(
            f"{path}: the adapter cannot be read ({one_line(error)})", hint="copy the folder again, or train again"
        ) from None


def _counted(adapter: Path, expected: Shapes, found: Shapes, lacking: Sequence[str], odd: Sequence[str]) -> str:
    parts = [f"{what} {', '.join(names[:SHOWN])}" for what, names in (("lacks", lacking), ("has", odd)) if names]
    return (
        f"{adapter}: {SETTINGS} asks for {len(expected)} weights on this base model, {WEIGHTS} has {len(found)}: it "
        f"{' and '.join(parts)}"
    )


def _advice(adapter: Path) -> str:
    return f"copy {adapter.name}/ again, or train again"
