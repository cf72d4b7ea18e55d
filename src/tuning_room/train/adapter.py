"""The adapter that is trained: PEFT's LoRA on a base model, drawn or continued from another one."""

from pathlib import Path
from typing import Any

from tuning_room.errors import TrainingError
from tuning_room.models import WEIGHTS
from tuning_room.train.loop_config import LoopConfig


def with_adapter(model: Any, config: LoopConfig) -> Any:
    """Return a base model with a LoRA adapter to be trained: drawn, or with the weights of `config.start_adapter`.

    Raises TrainingError for more layers left out than there are, and for an adapter of another shape.
    """
    from peft import LoraConfig, get_peft_model

    from tuning_room.train.packing import install

    install(model)
    shape = LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        task_type="CAUSAL_LM",
        **targets(model, config.target_modules, config.skip_layers),
    )
    try:
        adapted = get_peft_model(model, shape).train()
    except ValueError as error:
        raise refused_targets(error) from None
    if config.start_adapter:
        load_weights(adapted, Path(config.start_adapter))
    return adapted


def load_weights(model: Any, folder: Path) -> None:
    """Give a model's adapter the weights of another one of the same shape; TrainingError for any other."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    try:
        weights = load_file(path)
    except Exception as error:
        raise TrainingError(f"{path}: no adapter can be read: {error}", hint="name an adapter's folder") from None
    here = {name: tuple(value.shape) for name, value in get_peft_model_state_dict(model).items()}
    there = {name: tuple(value.shape) for name, value in weights.items()}
    if here != there:
        name = min((n for n in here.keys() | there.keys() if here.get(n) != there.get(n)), default="")
        raise TrainingError(
            f"{path}: {name} is {there.get(name, 'missing')} there and {here.get(name, 'missing')} here",
            hint="let train.rank, target_modules and skip_layers be those of the adapter to start from",
        )
    set_peft_model_state_dict(model, weights)


def refused_targets(error: ValueError) -> TrainingError:
    """Return PEFT's refusal of the modules that shall get an adapter, in the recipe's words."""
    reason = str(error).splitlines()[0][:200]
    return TrainingError(f"train.target_modules: {reason}", hint="name linear modules, or all-linear")


def targets(model: Any, modules: str | list[str], skipped: int) -> dict[str, Any]:
    """Return PEFT's arguments that say which modules get an adapter, in all layers but the `skipped` lowest.

    Raises TrainingError where no layer is left.
    """
    count = model.config.num_hidden_layers
    if not skipped:
        return {"target_modules": modules}
    if skipped >= count:
        raise TrainingError(f"train.skip_layers is {skipped}, but the model has {count} layers")
    if isinstance(modules, str):
        modules = linear_modules(model) if modules == "all-linear" else [modules]
    return {"target_modules": modules, "layers_to_transform": list(range(skipped, count))}


def linear_modules(model: Any) -> list[str]:
    """Return the names of a model's linear modules, the output layer left out."""
    from torch.nn import Linear

    output = model.get_output_embeddings()
    found = {name.rsplit(".", 1)[-1] for name, m in model.named_modules() if isinstance(m, Linear) and m is not output}
    return sorted(found)
