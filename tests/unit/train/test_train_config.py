"""One training configuration: every knob has one name, one default and one way to a backend."""

import ast
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_hub.algorithms.lora import LoRASFTAlgorithm
from training_rows import dialogue

from tuning_room import train
from tuning_room.errors import TrainingError
from tuning_room.records import write_jsonl
from tuning_room.train import unsloth
from tuning_room.train.config import LoopConfig, TrainConfig, TrainingKnobs
from tuning_room.workspace import Workspace

PACKAGE = Path(train.__file__).parent
# What a recipe says that no backend needs to know, each with the reason.
NOT_A_KNOB = {
    "model": "handed on as model_path",
    "full_prompt": "handed on as teacher_prompt, its text",
    "recipe": "for the lineage",
    "backend": "chooses who trains",
    "checks": "for a sweep",
    "sweep": "other trainings",
    "mlflow": "after the training",
    "kubeflow": "where it runs",
}
PLACES: dict[str, Any] = {"model_path": "m", "data_path": "rows.jsonl", "ckpt_output_dir": "out"}
# A value for each knob that is not its default.
OTHER: dict[str, Any] = {
    "quantize": "4bit", "precision": "bf16", "rank": 3, "alpha": 5, "target_modules": ["q_proj"], "skip_layers": 1,
    "start": Path("start"),
    "sft": 0.5, "distill": 0.25, "retention": 2.0, "retention_prompts": Path("neutral.txt"), "retention_rows": 3,
    "retention_under": "short_prompt", "on_policy_steps": 4, "on_policy_tokens": 9, "on_policy_clip": 2.0,
    "on_policy_rate": 0.2, "epochs": 2, "batch_size": 3, "learning_rate": 1e-4, "warmup_fraction": 0.5,
    "max_length": 99, "too_long": "leave_out", "save_every": 7, "validate_every": 9, "patience": 2, "max_steps": 11,
    "seed": 8,
}  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "run")
    workspace.train_rows.parent.mkdir(parents=True)
    write_jsonl(workspace.train_rows, [dialogue(1)])
    (tmp_path / "prompt.md").write_text("Ask.\n", encoding="utf-8")
    return workspace


def recipe(tiny_model: Path, workspace: Workspace, **changes: Any) -> TrainConfig:
    given: dict[str, Any] = {
        "model": str(tiny_model),
        "recipe": "r",
        "short_prompt": "Ask.",
        "full_prompt": workspace.root.parent / "prompt.md",
        "backend": "unsloth",
    }
    return TrainConfig(**{**given, **changes})


def test_every_knob_is_inherited_and_none_is_defined_again() -> None:
    """A knob that either class defines for itself would have a second default, and one that neither knows no way."""
    own = set(TrainConfig.__annotations__), set(LoopConfig.__annotations__)
    assert not set(TrainingKnobs.model_fields) & (own[0] | own[1])
    assert own[0] - NOT_A_KNOB.keys() == {"short_prompt"}
    for name, field in TrainingKnobs.model_fields.items():
        assert TrainConfig.model_fields[name].default == LoopConfig.model_fields[name].default == field.default


def test_a_recipe_without_a_word_and_training_hub_without_a_word_train_alike(
    tiny_model: Path, workspace: Workspace
) -> None:
    from_recipe = train.loop_config(recipe(tiny_model, workspace), workspace)
    from_hub = LoopConfig.from_hub(PLACES)
    for name in TrainingKnobs.model_fields:
        assert getattr(from_recipe, name) == getattr(from_hub, name), name


def test_no_default_stands_in_two_places() -> None:
    """Nowhere else in the room is a knob's name, or Training Hub's for it, followed by a number or a text."""
    names = {*TrainingKnobs.model_fields, *LoopConfig.hub_names()} - {"seed", "start", "rank"}
    for path in sorted(PACKAGE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
                texts = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
                assert not (len(node.args) == 2 and set(texts) & names - {"learning_rate"}), where
            elif isinstance(node, ast.Dict):
                keys = {
                    key.value
                    for key, value in zip(node.keys, node.values, strict=True)
                    if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
                }
                assert not keys & names - {"on_policy_steps"}, where  # a sweep has no last phase
            elif isinstance(node, ast.arguments):
                defaulted = node.args[len(node.args) - len(node.defaults) :] if node.defaults else []
                assert not {arg.arg for arg in defaulted} & names, where


def test_there_is_another_value_for_every_knob() -> None:
    assert OTHER.keys() == TrainingKnobs.model_fields.keys()
    assert all(OTHER[name] != field.default for name, field in TrainingKnobs.model_fields.items())


@pytest.mark.parametrize("name", OTHER)
def test_what_a_recipe_says_reaches_the_backend_through_training_hub(
    name: str, tiny_model: Path, workspace: Workspace
) -> None:
    loop = train.loop_config(recipe(tiny_model, workspace, **{name: OTHER[name]}), workspace)
    assert getattr(loop, name) == OTHER[name]
    assert LoopConfig.from_hub(loop.as_hub()) == loop
    if name != "save_every":
        plain = train.loop_config(recipe(tiny_model, workspace), workspace)
        assert loop.fingerprint() != plain.fingerprint(), f"a checkpoint of another {name} would be resumed"


def test_texts_and_files_that_a_step_depends_on_change_the_fingerprint(tmp_path: Path) -> None:
    for name in ("m", "rows.jsonl", "valid.jsonl"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    given: dict[str, Any] = {
        "model_path": tmp_path / "m",
        "data_path": tmp_path / "rows.jsonl",
        "eval_data_path": tmp_path / "valid.jsonl",
        "ckpt_output_dir": tmp_path / "out",
    }
    plain = LoopConfig(**given)
    for changes in ({"teacher_prompt": "Ask."}, {"short_prompt": "Ask."}, {"warmup_steps": 3}):
        assert LoopConfig(**given, **changes).fingerprint() != plain.fingerprint(), changes
    same: dict[str, Any] = {
        "ckpt_output_dir": tmp_path / "other",
        "targets_dir": tmp_path,
        "save_every": 3,
        "on_step": print,
    }
    assert plain.model_copy(update=same).fingerprint() == plain.fingerprint()
    before = plain.fingerprint()
    (tmp_path / "valid.jsonl").write_text("other", encoding="utf-8")
    assert plain.fingerprint() != before


def test_training_hubs_names_are_training_hubs() -> None:
    aliases = {field.serialization_alias for field in TrainingKnobs.model_fields.values()} - {None}
    # By any other name a backend of Training Hub's own would not get it.
    verb = LoRASFTAlgorithm(backend=unsloth.UnslothBackend())
    assert aliases <= {*verb.get_required_params(), *verb.get_optional_params()}
    assert aliases == {
        "load_in_4bit", "lora_r", "lora_alpha", "num_epochs", "effective_batch_size", "max_seq_len", "save_steps",
        "eval_steps",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["lora_r", "eval_steps", "num_epochs"])
def test_a_recipe_knows_its_own_names_only(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        TrainConfig(model="m", recipe="r", short_prompt="Ask.", **{name: 3})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rank": 3}, "no such parameter: rank"),
        ({"lora_r": 0}, "train.rank: Input should be greater than or equal to 1"),
        ({"num_epochs": "many"}, "train.epochs: Input should be a valid integer"),
    ],
    ids=str,
)
def test_a_parameter_that_does_not_fit_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        LoopConfig.from_hub({**PLACES, **changes})


@given(st.integers(1, 5000), st.floats(0, 0.99))
def test_the_warm_up_is_a_share_of_the_steps_and_never_none(steps: int, fraction: float) -> None:
    config = LoopConfig(**PLACES, warmup_fraction=fraction)
    assert config.warmup(steps) == max(1, round(steps * fraction))
    assert config.model_copy(update={"warmup_steps": 0}).warmup(steps) == 0
