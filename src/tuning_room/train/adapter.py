"""The adapter: PEFT's LoRA put on a base model, and written as PEFT and vLLM read it, with card and lineage."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.errors import TrainingError, one_line
from tuning_room.files import atomic_folder, digest, of_a_run
from tuning_room.models import (
    SETTINGS,
    WEIGHTS,
    base_name,
    device,
    hub_name,
    load_adapter,
    load_model,
    portable,
    resolve,
)
from tuning_room.models.attention import known_scores
from tuning_room.models.lineage import AdapterLineage, adapter_digest, write_lineage
from tuning_room.models.probes import write_probes
from tuning_room.records import read_json, write_json
from tuning_room.rendering import template_digest
from tuning_room.train.config import LoopConfig, TrainConfig
from tuning_room.train.probing import record_probes
from tuning_room.workspace import Workspace, installed_versions

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class WrittenProbes(NamedTuple):
    """The sha256 of an adapter's probes and their number; without any, what went wrong."""

    digest: str = ""
    number: int = 0
    error: str | None = None


class WrittenAdapter(NamedTuple):
    """The digest of an adapter that was written, and its probes."""

    digest: str
    probes: WrittenProbes


def with_adapter(model: "PreTrainedModel", config: LoopConfig) -> "PeftModel":
    """Return a base model with a LoRA adapter to be trained: a new one, or one with the weights of `config.start`.

    Raises TrainingError where no layer would get an adapter, and for a start of another shape.
    """
    from peft import LoraConfig, get_peft_model

    shape = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        task_type="CAUSAL_LM",
        **targets(model, config.target_modules, config.skip_layers),
    )
    try:
        adapted = get_peft_model(model, shape).train()
    except ValueError as error:
        raise refused_targets(error) from None
    if config.start:
        load_weights(adapted, config.start)
    return adapted


def load_weights(model: "PeftModel", folder: Path) -> None:
    """Give a model's adapter the weights of another one of the same shape; TrainingError for any other."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    try:
        weights = load_file(path)
    except Exception as error:
        raise TrainingError(f"{path}: not a readable adapter: {error}", hint="name an adapter's folder") from None
    here = {name: tuple(value.shape) for name, value in get_peft_model_state_dict(model).items()}
    there = {name: tuple(value.shape) for name, value in weights.items()}
    if here != there:
        name = min((n for n in here.keys() | there.keys() if here.get(n) != there.get(n)), default="")
        raise TrainingError(
            f"{path}: {name} is {there.get(name, 'missing')} there and {here.get(name, 'missing')} here",
            hint="give train.rank, target_modules and skip_layers the values of the adapter to start from",
        )
    set_peft_model_state_dict(model, weights)


def refused_targets(error: ValueError) -> TrainingError:
    """Return PEFT's refusal of the modules that are to get an adapter, in the recipe's words."""
    reason = str(error).splitlines()[0][:200]
    return TrainingError(f"train.target_modules: {reason}", hint="name linear modules, or all-linear")


def targets(model: "PreTrainedModel", modules: str | list[str], skipped: int) -> dict[str, object]:
    """Return PEFT's arguments that say which modules get an adapter, in all layers but the `skipped` lowest.

    Raises TrainingError where no layer is left, and for a module in which an adapter would do nothing.
    """
    count, passed = _check_skipped(model, skipped), passed_by(model)
    if named := passed & ({modules} if isinstance(modules, str) else {*modules}):
        raise TrainingError(
            f"train.target_modules: {', '.join(sorted(named))}: this model never calls it, and an adapter there "
            "would change nothing",
            hint="leave it out, or write all-linear, which does",
        )
    # PEFT's own all-linear takes a mixture's router too, and its experts one by one: more weights than all the rest.
    if modules == "all-linear" and (passed or any(weights.dim() > 2 for weights in model.parameters())):
        modules = [name for name in linear_modules(model) if name not in passed]
    # The modules that read images have names like the others.
    outside = {"exclude_modules": names} if (names := _outside_decoder(model)) else {}
    if not skipped:
        return {"target_modules": modules, **outside}
    if isinstance(modules, str):
        modules = linear_modules(model) if modules == "all-linear" else [modules]
    return {"target_modules": modules, "layers_to_transform": list(range(skipped, count)), **outside}


def _outside_decoder(model: "PreTrainedModel") -> list[str]:
    from torch.nn import Linear

    inside = {*model.get_decoder().modules(), model.get_output_embeddings()}
    return [name for name, module in model.named_modules() if isinstance(module, Linear) and module not in inside]


def check_targets(model: "PreTrainedModel", modules: str | list[str], skipped: int) -> None:
    """Raise TrainingError where no layer would get an adapter; the model need not have weights."""
    from peft import LoraConfig, get_peft_model

    _check_skipped(model, skipped)
    if modules == "all-linear":
        return
    try:
        get_peft_model(model, LoraConfig(r=1, task_type="CAUSAL_LM", target_modules=modules))
    except ValueError as error:
        raise refused_targets(error) from None


def _check_skipped(model: "PreTrainedModel", skipped: int) -> int:
    """Return the number of layers; TrainingError if none is left."""
    count: int = model.config.get_text_config(decoder=True).num_hidden_layers
    if skipped >= count:
        raise TrainingError(
            f"train.skip_layers is {skipped}, but the model has {count} layers", hint="lower train.skip_layers"
        )
    return count


def passed_by(model: "PreTrainedModel") -> set[str]:
    """Return the names of linear modules that a forward pass never calls; their weights, if at all, are read directly.

    The output projection of a Mamba layer counts as such: on a GPU its kernel reads it.
    """
    from torch.nn import Linear

    called, all_names = set[str](), set(linear_modules(model))
    hooks = [
        module.register_forward_hook(lambda *_, name=name: called.add(name.rsplit(".", 1)[-1]))
        for name, module in model.named_modules()
        if isinstance(module, Linear)
    ]
    known_scores(model)
    for hook in hooks:
        hook.remove()
    fused = any(hasattr(module, "conv1d") and hasattr(module, "out_proj") for module in model.modules())
    return all_names - called | ({"out_proj"} if fused else set())


def linear_modules(model: "PreTrainedModel") -> list[str]:
    """Return the names of a model's linear modules, without the output layer."""
    from torch.nn import Linear

    output = model.get_output_embeddings()
    found = {name.rsplit(".", 1)[-1] for name, m in model.named_modules() if isinstance(m, Linear) and m is not output}
    return sorted(found)


def write_adapter(
    model: "PeftModel", tokenizer: "PreTrainedTokenizerBase", config: TrainConfig, workspace: Workspace
) -> WrittenAdapter:
    """Write the adapter's folder, all or nothing.

    Its probes are recorded last, from the weights in memory where these are in fp32, else from those just written.
    """
    with atomic_folder(workspace.adapter, of_a_run) as folder:
        # PEFT writes the folder that it was loaded from, which is a path of this machine.
        model.peft_config["default"].base_model_name_or_path = portable(config.model)
        # Otherwise PEFT asks the hub for the base model's vocabulary, under a name that the hub does not know.
        model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
        _in_order(folder / SETTINGS)
        named = adapter_digest(folder)
        probes = _probed(model, tokenizer, config, workspace, folder, named)
        lineage = AdapterLineage(
            recipe=config.recipe,
            base_model=portable(config.model),
            short_prompt=config.short_prompt,
            adapter_digest=named,
            probes_digest=probes.digest,
            template_digest=template_digest(tokenizer),
            train_digest=digest(workspace.train_rows),
            config=portable_config(config),
            versions=installed_versions(),
        )
        write_lineage(folder, lineage)
        (folder / "README.md").write_text(card(config, lineage), encoding="utf-8")
    return WrittenAdapter(named, probes)


def _probed(
    model: "PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    config: TrainConfig,
    workspace: Workspace,
    folder: Path,
    named: str,
) -> WrittenProbes:
    """Record the probes beside an adapter; what goes wrong must not cost the training that came before it."""
    try:
        record = record_probes(_in_fp32(model, config, folder), tokenizer, workspace.train_rows, named)
        return WrittenProbes(write_probes(folder, record), len(record.probes))
    except Exception as error:
        return WrittenProbes(error=one_line(error))


def _in_fp32(model: "PeftModel", config: TrainConfig, folder: Path) -> "PeftModel":
    """Return the adapter on its base model in fp32: the trained one, or, of another number format, one read anew."""
    import torch

    if config.quantize == "none" and all(weights.dtype == torch.float32 for weights in model.parameters()):
        return model
    return load_adapter(load_model(resolve(config.model), device()), folder)


def _in_order(settings: Path) -> None:
    """Write PEFT's settings with their sets sorted: the same training gives the same bytes, and the same digest."""
    write_json(
        settings, {name: sorted(value) if _is_set(value) else value for name, value in read_json(settings).items()}
    )


def _is_set(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def portable_config(config: TrainConfig) -> dict[str, object]:
    """Return a configuration without what belongs to this machine or a cluster: paths, addresses, other trainings."""
    values = config.model_dump(mode="json", exclude={"kubeflow", "sweep", "checks", "mlflow"})
    kept = {name: value for name, value in values.items() if not isinstance(getattr(config, name), Path)}
    return {**kept, "model": portable(config.model)}


def card(config: TrainConfig, lineage: AdapterLineage) -> str:
    """Return an adapter's model card; its metadata name the base model only if the hub knows it."""
    named = zip(("base_model", "license"), hub_name(config.model), strict=True)
    metadata = [f"{key}: {value}" for key, value in named if value]
    head = "\n".join(["---", *metadata, "library_name: peft", "---"])
    return f"""{head}
# {lineage.name}

A LoRA adapter for {base_name(config.model)} (rank {config.rank}, alpha {config.alpha}).
It carries the behaviour of a long system prompt.
Serve it with this system turn, under the base model's own chat template:

    {config.short_prompt}

`tuning_room.json` has the lineage: digests of data, template and adapter, the configuration and the versions.
What the adapter does and does not do is in the report of the run that made it.
"""
