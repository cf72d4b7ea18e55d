"""Finding and loading a base model: a hub id, a folder, or an embedded one."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tuning_room.errors import (
    AdapterMismatchError,
    MissingPrerequisiteError,
    ModelError,
    ModelNotFoundError,
    TuningRoomError,
    one_line,
)
from tuning_room.records import LINEAGE as LINEAGE
from tuning_room.records import SETTINGS as SETTINGS
from tuning_room.records import WEIGHTS as WEIGHTS

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class EmbeddedModel(NamedTuple):
    """A model that a package ships: its reference here, its id on the hub, its licence, and what differs from there."""

    reference: str
    hub_id: str
    licence: str
    note: str


EMBEDDED = (
    EmbeddedModel(
        "embedded:smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0",
        "dequantised from a GGUF file, matrices from Q4_1 (5 bits a weight) and embeddings from Q8_0: close to the "
        "hub's weights, not equal to them",
    ),
)  # fmt: skip
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
DEVICE = "TUNING_ROOM_DEVICE"


def cache_folder() -> Path:
    """Return the folder for converted models: TUNING_ROOM_CACHE, or the user's cache."""
    named = os.environ.get("TUNING_ROOM_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "tuning-room"


def resolve(reference: str) -> Path:
    """Return the folder with the safetensors and tokenizer of a model reference; ModelNotFoundError without one.

    A reference is `embedded:<name>`, a folder, or a hub id.
    """
    if reference.startswith("embedded:"):
        return _embedded(reference)
    if Path(reference).is_dir():
        return _checked(Path(reference))
    if reference.startswith((".", "/", "~")):
        raise ModelNotFoundError(f"model '{reference}': no such folder", hint=_choices())
    return _from_hub(reference)


def local_folder(reference: str) -> Path | None:
    """Return the folder of a model that is on this machine already, None for another one and for an embedded one."""
    if Path(reference).is_dir():
        return Path(reference)
    if not HUB_ID.fullmatch(reference):
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ModuleNotFoundError:
        return None
    found = try_to_load_from_cache(reference, "config.json")
    return Path(found).parent if isinstance(found, str) else None


def embedding_folder(reference: str) -> Path:
    """Return the folder of an embedding model: the packaged one, a folder, or a hub id.

    Raises MissingPrerequisiteError if the package is not installed, ModelNotFoundError for the others.
    """
    from tuning_room.models.embeddings import PACKAGED, packaged_folder

    return packaged_folder() if reference == PACKAGED else resolve(reference)


def portable(reference: str) -> str:
    """Return a model reference that may leave this machine: of an absolute path only the folder's name."""
    return Path(reference).name if Path(reference).is_absolute() else reference


def hub_name(reference: str) -> tuple[str | None, str | None]:
    """Return a model's id on the hub and its licence, as a model card names them; None for what is not known.

    A folder has neither, and of a hub id the licence is not known here. The embedded model counts as the hub's that
    it was made from.
    """
    for model in EMBEDDED:
        if reference == model.reference:
            return model.hub_id, model.licence
    is_id = HUB_ID.fullmatch(reference) and not reference.startswith(".") and not Path(reference).is_dir()
    return (reference if is_id else None), None


def base_name(reference: str) -> str:
    """Return the name under which a base model is served: the last part of its reference."""
    if reference.startswith("embedded:"):
        return reference.partition(":")[2]
    return Path(reference).name or Path(reference).resolve().name


def check_base(folder: Path, trained_for: str, reference: str) -> None:
    """Raise AdapterMismatchError unless an adapter was trained for the base model that a reference names."""
    if portable(trained_for) != portable(reference):
        raise AdapterMismatchError(
            f"{folder}: the adapter was trained for '{trained_for}', not for '{reference}'",
            hint="train again for this base model, or change `model` back",
        )


def check_recipe(folder: Path, trained_by: str, recipe: str) -> None:
    """Raise AdapterMismatchError unless an adapter was trained by the recipe that it is about to be used for."""
    if trained_by != recipe:
        raise AdapterMismatchError(
            f"{folder}: the adapter was trained by the recipe '{trained_by}', not by '{recipe}'",
            hint="run 'tuning-room train', or copy the right adapter there",
        )


def _embedded(reference: str) -> Path:
    from tuning_room.models.embedded import converted

    if reference not in [model.reference for model in EMBEDDED]:
        raise ModelNotFoundError(f"model '{reference}': no such embedded model", hint=_choices())
    return converted(cache_folder() / "models")


def _checked(folder: Path) -> Path:
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise ModelNotFoundError(
            f"model '{folder}': config.json or *.safetensors is missing",
            hint="name a folder in the Hugging Face layout; pickled weights are not loaded",
        )
    return folder


def _from_hub(reference: str) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
    try:
        return _checked(Path(snapshot_download(reference, allow_patterns=patterns)))
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelNotFoundError(f"model '{reference}': not found ({reason})", hint=_choices()) from None


def _choices() -> str:
    return f"name {EMBEDDED[0].reference}, a folder with safetensors, or a model id on the hub"


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a model folder; no remote code is run.

    Where its chat template takes no system turn, that is put into the user's first message (`system_turn: fold`).
    """
    from transformers import AutoTokenizer

    from tuning_room.models.templates import fold_system

    with _readable(folder, "tokenizer"):
        tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    fold_system(tokenizer)
    return tokenizer


def device() -> str:
    """Return where this process trains and answers, `cpu` or `cuda`: TUNING_ROOM_DEVICE, or else `cpu`.

    `auto` is `cuda` where torch finds a GPU. Raises ModelError for any other name, and MissingPrerequisiteError for
    `cuda` without a GPU.
    """
    named = os.environ.get(DEVICE) or "cpu"
    if named not in ("cpu", "cuda", "auto"):
        raise ModelError(f"{DEVICE}: no such device: '{named}'", hint="set it to cpu, cuda or auto")
    if named == "cpu":
        return named
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if named == "auto":
        return "cpu"
    lacking = "a GPU with its driver" if torch.version.cuda else "a build of torch for CUDA (this one is for CPUs)"
    raise MissingPrerequisiteError(
        f"{DEVICE} is cuda, but torch {torch.__version__} finds no GPU",
        hint=f"install {lacking}, or unset {DEVICE} to compute on the CPU",
    )


def gpu_name() -> str:
    """Return the name of the GPU that this process trains and answers on, empty on a CPU; the errors are `device`'s."""
    if device() == "cpu":
        return ""
    import torch

    return str(torch.cuda.get_device_name())


def load_model(folder: Path, device: str = "cpu", precision: str = "fp32") -> "PreTrainedModel":
    """Return the causal language model of a folder, on a device, in fp32 or bf16, from safetensors only."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    with _readable(folder, "model"):
        model: Any = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
        return model.to(device).eval()


@contextmanager
def _readable(folder: Path, what: str) -> Iterator[None]:
    """Turn whatever a library says of files that are cut, odd or too large for the memory into a ModelError."""
    try:
        yield
    except TuningRoomError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            hint = "end other programs, use a smaller model, or a machine with more memory"
            raise ModelError(f"{folder}: not enough memory for this {what}", hint=hint) from None
        hint = "copy the folder again" if what != "adapter" else "copy the folder again, or train again"
        raise ModelError(f"{folder}: the {what} cannot be read ({one_line(error)})", hint=hint) from None


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that there was not enough memory; torch says so only in its text."""
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | OSError) and ("allocate" in text or "out of memory" in text)
    )


def load_adapter(model: "PreTrainedModel", adapter: Path) -> "PeftModel":
    """Return the model with a PEFT adapter on it, in evaluation mode; the weights are not merged."""
    return load_adapters(model, {"default": adapter})


def load_adapters(model: "PreTrainedModel", adapters: Mapping[str, Path]) -> "PeftModel":
    """Return the model with PEFT adapters on it, by names without a dot; the first one is switched on."""
    from peft import PeftModel

    (first, folder), *others = adapters.items()
    with _readable(folder, "adapter"):
        adapted = PeftModel.from_pretrained(model, str(folder), adapter_name=first)
    for name, folder in others:
        with _readable(folder, "adapter"):
            adapted.load_adapter(str(folder), adapter_name=name)
    return adapted.eval()


# Returns (rows, tokens, heads, size), or None for a call that the library's own attention should answer.
Attend = Callable[..., "Tensor | None"]
# What layers hand to their attention besides queries, keys and values, and what no attention of ours computes.
CHANGES = ("softcap", "s_aux", "position_bias", "sliding_window")


def attend_by(model: "PreTrainedModel", name: str, attend: Attend) -> None:
    """Make a model attend through `attend(module, query, key, value, mask, **more)`, or else by the library's SDPA.

    Query, key and value are (rows, heads, tokens, size); key and value may have fewer heads. A call that asks for more
    than plain attention raises ModelError.
    """
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    def attention(
        module: "Module", query: "Tensor", key: "Tensor", value: "Tensor", mask: "Tensor | None", **more: object
    ) -> "tuple[Tensor, None]":
        found = attend(module, query, key, value, mask, **more)
        if found is None:
            found = sdpa_attention_forward(module, query, key, value, mask, **more)[0]
        elif changed := [argument for argument in CHANGES if more.get(argument) is not None]:
            raise ModelError(f"attention with {changed[0]} is not plain attention")
        return found, None

    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, sdpa_mask)
    model.set_attn_implementation(name)


def limit_threads() -> None:
    """Use one OpenMP thread per core: more can make a step ten times slower (docs/lab_log.md)."""
    os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
