"""What can be said of a model before it is loaded: whether it is a causal language model that can be trained here.

Only its config.json is read, and a model without weights is built from it. No code that comes with a model is run.
"""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning_room.errors import ModelError, one_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CAUSAL = ("ForCausalLM", "LMHeadModel")  # what such models are called that the library has under other names by now


def check_architecture(
    reference: str, folder: Path, *, fits: "Callable[[PreTrainedModel], None] | None" = None
) -> None:
    """Raise ModelError for a model that cannot be trained and evaluated here, as far as its folder says.

    `fits` is called with a model of its shape that has no weights, and raises what speaks against that.
    """
    settings = _settings(folder)
    # What is needed to build a model comes with the stages that need one.
    if not settings or any(find_spec(package) is None for package in ("transformers", "torch")):
        return
    if problem := _no_causal_model(settings):
        raise ModelError(f"model '{reference}': {problem}", hint="name a causal language model that transformers has")
    if problem := _unreadable_weights(settings):
        raise ModelError(
            f"model '{reference}': its weights are quantized, and here {problem}",
            hint="name the model's folder or id with unquantized weights",
        )
    shape = _without_weights(reference, folder)
    if fits:
        fits(shape)


def _settings(folder: Path) -> dict[str, Any]:
    """Return a model's config.json, empty if it is none: loading says what is wrong with it."""
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _no_causal_model(settings: dict[str, Any]) -> str:
    """Return what keeps a model from being loaded as a causal language model, '' if nothing does."""
    from transformers import __version__
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind, named = settings.get("model_type"), settings.get("architectures") or []
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING_NAMES:
        own = "; it needs code of its own, which is never run" if "auto_map" in settings else ""
        return f"transformers {__version__} knows no models of type {kind!r}{own}"
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or settings.get("is_encoder_decoder"):
        return f"models of type '{kind}' are no causal language models"
    known = {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()}
    if named and not any(str(name) in known or str(name).endswith(CAUSAL) for name in named):
        return f"its weights are those of a {named[0]}, not of a causal language model"
    return ""


def _unreadable_weights(settings: dict[str, Any]) -> str:
    """Return why quantized weights cannot be loaded on this machine, '' if they can or are not quantized."""
    from transformers.quantizers import AutoHfQuantizer

    if not (quantization := settings.get("quantization_config")):
        return ""
    try:
        quantizer: Any = AutoHfQuantizer.from_config(quantization, pre_quantized=True)
        quantizer.validate_environment(device_map=None, weights_only=True)
    except Exception as error:
        return f"they cannot be read ({one_line(error)})"
    return ""


def _without_weights(reference: str, folder: Path) -> "PreTrainedModel":
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:
        raise ModelError(
            f"model '{reference}': transformers cannot build it ({one_line(error)})",
            hint="install what it asks for, correct its config.json, or name another model",
        ) from None
    return model
