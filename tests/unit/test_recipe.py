"""Reading recipes, handing down what is shared, and the order of the stages.

Real: files, pydantic, the stages' own configs; the stages that run here are small ones.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room import recipe as module
from tuning_room.errors import ModelNotFoundError, RecipeError
from tuning_room.evaluate.config import Suite
from tuning_room.recipe import ALL_STAGES, SECTIONS, STAGES, Recipe, bake, handed_down, load_recipe, run_stage
from tuning_room.workspace import Stage, StageConfig, StageResult, Workspace

WriteRecipe = Callable[..., Path]


def test_a_recipe_of_a_few_lines_is_enough(write_recipe: WriteRecipe) -> None:
    folder = write_recipe()
    recipe = load_recipe(str(folder))
    assert recipe.name == "cook"
    assert recipe.full_prompt == folder / "prompt.md"
    assert {name: suite.items for name, suite in recipe.suites.items()} == {"kitchen": folder / "items.jsonl"}
    assert (recipe.seeds, recipe.rules) == (None, None)


def test_a_recipe_is_found_by_folder_file_and_name(
    write_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_recipe()
    (tmp_path / "recipes").mkdir()
    folder.rename(tmp_path / "recipes" / "cook")
    monkeypatch.chdir(tmp_path)
    places = ["cook", "recipes/cook", "recipes/cook/", "recipes/cook/recipe.yaml", str(tmp_path / "recipes/cook")]
    assert {load_recipe(place).name for place in places} == {"cook"}


def test_what_is_shared_reaches_every_stage(write_recipe: WriteRecipe) -> None:
    recipe = load_recipe(str(write_recipe(traffic={"users": 20, "messages_per_user": 5})))
    assert recipe.train.short_prompt == recipe.evaluate.short_prompt == "You are a cook."
    assert recipe.dataset.items == [recipe.evaluate.suites["kitchen"].items]
    assert recipe.report.messages_per_day == 100
    assert recipe.advise.traffic.users == 20
    assert recipe.deploy.recipe == recipe.serve.recipe == recipe.train.recipe == "cook"
    for name in (*ALL_STAGES, "advise", "serve"):
        assert isinstance(recipe.config(name), StageConfig)


def test_a_recipe_made_in_python_keeps_its_paths_and_its_items() -> None:
    values: dict[str, Any] = {"name": "cook", "model": "./m", "full_prompt": "p.md", "short_prompt": "You are a cook."}
    recipe = Recipe(**values, suites={"kitchen": Suite(items=Path("items.jsonl")), "safety": "builtin"})  # type: ignore[call-arg]
    assert (recipe.model, recipe.full_prompt) == ("./m", Path("p.md"))
    assert recipe.dataset.items == [suite.items for suite in recipe.evaluate.suites.values()]
    assert recipe.dataset.items[0] == Path("items.jsonl")


def test_a_field_named_like_one_at_the_top_is_filled_from_there(write_recipe: WriteRecipe) -> None:
    recipe = load_recipe(str(write_recipe(seeds="seeds.jsonl", dataset={"checks": {"length": {}}})))
    for section, config in SECTIONS.items():
        for name in config.model_fields.keys() & Recipe.model_fields.keys():
            assert getattr(getattr(recipe, section), name) == getattr(recipe, name), f"{section}.{name}"
            assert name in handed_down(section)
    assert handed_down("dataset") == {"recipe", "short_prompt", "model", "items", "review", "requirements", "language"}
    assert recipe.train.checks == recipe.evaluate.checks == recipe.generate.checks == {"length": {}}
    assert recipe.dataset.review == recipe.full_prompt.parent / "review.jsonl"


def test_knobs_of_a_section_are_kept(write_recipe: WriteRecipe) -> None:
    recipe = load_recipe(str(write_recipe(train={"rank": 4}, convert=None)))
    assert recipe.train.rank == 4
    assert recipe.train.model == "embedded:smollm2-135m"


def test_a_rubric_is_relative_to_the_recipe(write_recipe: WriteRecipe) -> None:
    judge = {"model": "m", "address": "http://localhost:1/v1", "rubric": "prompt.md"}
    folder = write_recipe(evaluate={"judge": judge})
    loaded = load_recipe(str(folder)).evaluate.judge
    assert loaded is not None and loaded.rubric == folder / "prompt.md"


def test_a_recipe_from_elsewhere_has_the_same_digests(
    write_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_recipe()
    absolute = load_recipe(str(folder))
    monkeypatch.chdir(tmp_path)
    relative = load_recipe("recipe")
    for name in ALL_STAGES:
        assert absolute.config(name).digest() == relative.config(name).digest(), name


def test_a_check_reads_its_schema_beside_the_recipe(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    folder = write_recipe(dataset={"checks": {"json_schema": {"schema": "form.json"}, "length": {}}})
    with pytest.raises(RecipeError, match=r"dataset\.checks\.json_schema\.schema: .*form\.json does not exist"):
        load_recipe(str(folder))
    (folder / "form.json").write_text("{}", encoding="utf-8")
    recipe = load_recipe(str(folder))
    for stage in ("dataset", "generate"):
        config: Any = recipe.config(stage)
        assert config.checks == {"json_schema": {"schema": folder / "form.json"}, "length": {}}
        assert folder / "form.json" in ALL_STAGES[stage].inputs(config, Workspace(tmp_path / "run"))


NO_ITEMS = r"suites\.a: needs a file of items; write items: evaluation/items\.jsonl"
SPOILT: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"shrot_prompt": "x"}, r"shrot_prompt: no such key; did you mean 'short_prompt'\?"),
    "unknown knob": ({"train": {"lerning_rate": 1}}, r"train\.lerning_rate: .*did you mean 'learning_rate'\?"),
    "nothing like it": ({"qqq": 1}, "qqq: no such key; known keys: name, "),
    "missing key": ({"short_prompt": None}, "short_prompt: is missing"),
    "missing suites": ({"suites": None}, "suites: is missing"),
    "no suites": ({"suites": {}}, "suites"),
    "suites as a list": ({"suites": ["items.jsonl"]}, "suites"),
    "suites as a word": ({"suites": "items.jsonl"}, "suites"),
    "no such suite": ({"suites": {"a": "nowhere.jsonl"}}, r"suites\.a\.items: .*nowhere.jsonl does not exist"),
    "suite without items": ({"suites": {"a": {"size": 3}}}, r"suites\.a\.items: is missing"),
    "suite with nothing": ({"suites": {"a": None}}, NO_ITEMS),
    "suite with a number": ({"suites": {"a": 3}}, NO_ITEMS),
    "suite with no file": ({"suites": {"a": {"items": None}}}, NO_ITEMS),
    "misspelt key of a suite": ({"suites": {"a": {"itmes": "items.jsonl"}}}, r"suites\.a\.items: is missing"),
    "unknown key of a suite": (
        {"suites": {"items": {"items": "items.jsonl", "sise": 3}}},
        r"suites\.items\.sise: no such key; did you mean 'size'\?",
    ),
    "no such built-in": (
        {"suites": {"cooking": "builtin"}},
        r"suites\.cooking: .*; there are capability, choices, neutral",
    ),
    "a system turn of one's own": (
        {"suites": {"items": {"items": "items.jsonl", "system": "Be kind."}}},
        r"suites\.items\.system: .*'arm' or 'none'",
    ),
    "a folder as prompt": ({"full_prompt": "."}, "full_prompt: .* is not a file"),
    "no such prompt": ({"full_prompt": "nowhere.md"}, "full_prompt: .*nowhere.md does not exist"),
    "prompt is a folder": ({"full_prompt": "documents"}, "full_prompt"),
    "prompt is a number": ({"full_prompt": 5}, "full_prompt"),
    "empty short prompt": ({"short_prompt": ""}, "short_prompt"),
    "bad name": ({"name": "No Spaces!"}, "name"),
    "long name": ({"name": "a" * 35}, "name"),
    "shared key again": ({"train": {"model": "x"}}, r"train\.model: stands at the top of the recipe already"),
    "items again": ({"dataset": {"items": ["items.jsonl"]}}, r"dataset\.items: "),
    "messages a day again": ({"report": {"messages_per_day": 3}}, r"report\.messages_per_day: "),
    "section is a list": ({"train": [1]}, "train: must hold keys and values"),
    "section is a word": ({"dataset": "quick"}, "dataset: must hold keys and values"),
    "traffic is a number": ({"traffic": 5}, "traffic"),
    "traffic is wrong": ({"traffic": {"users": "many"}}, r"traffic\.users"),
    "traffic is unknown": ({"traffic": {"user": 5}}, r"traffic\.user: no such key; did you mean 'users'\?"),
    "no traffic": ({"traffic": {"users": 0}}, r"traffic\.users"),
    "checks as a list": ({"dataset": {"checks": ["json_schema"]}}, r"dataset\.checks"),
    "schema as a number": ({"dataset": {"checks": {"json_schema": 5}}}, r"dataset\.checks\.json_schema"),
    "no rubric": (
        {"evaluate": {"judge": {"model": "m", "address": "http://a/v1", "rubric": "rubric.md"}}},
        r"evaluate\.judge\.rubric: .*rubric\.md does not exist",
    ),
    "no neutral texts": ({"evaluate": {"neutral": "nowhere.jsonl"}}, r"evaluate\.neutral: .*does not exist"),
    "no folder of tasks": (
        {"evaluate": {"standard": {"tasks": ["gsm8k"], "include": "nowhere"}}},
        r"evaluate\.standard\.include: .*nowhere is not a folder",
    ),
    "checks of a later stage": ({"train": {"checks": {}}}, r"train\.checks: stands at the top"),
    "two bounds": ({"evaluate": {"gates": [{"metric": "asks", "at_least": 1, "at_most": 1}]}}, "exactly one"),
}


@pytest.mark.parametrize(("changes", "words"), SPOILT.values(), ids=SPOILT)
def test_a_spoilt_recipe_is_one_clear_line(changes: dict[str, Any], words: str, write_recipe: WriteRecipe) -> None:
    with pytest.raises(RecipeError, match=words) as caught:
        load_recipe(str(write_recipe(**changes)))
    message = str(caught.value)
    assert "recipe.yaml" in message
    assert "\n" not in message
    assert "Value error" not in message
    assert caught.value.hint


@pytest.mark.parametrize(
    "content",
    [b"", b"- a\n- b\n", b"5", b"a: [1\n", b"a: b: c", b"\xff\xfe\x00", b"a: 2024-13-45", b"\x00", b"? {}\n: 1\n"],
)
def test_a_file_that_is_no_recipe_is_one_clear_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_bytes(content)
    with pytest.raises(RecipeError, match=r"recipe\.yaml") as caught:
        load_recipe(str(tmp_path))
    assert "\n" not in str(caught.value)


@given(text=st.text(max_size=40))
def test_any_text_is_a_recipe_or_an_error_of_ours(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("any") / "recipe.yaml"
    file.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(RecipeError):
        load_recipe(str(file))


def test_a_prompt_that_is_not_utf8_is_named(write_recipe: WriteRecipe) -> None:
    folder = write_recipe()
    (folder / "prompt.md").write_bytes(b"caf\xe9")
    with pytest.raises(RecipeError, match=r"full_prompt: .*prompt\.md"):
        load_recipe(str(folder))


@pytest.mark.parametrize("content", ["", " \n\t\n"])
def test_a_prompt_without_words_is_refused(content: str, write_recipe: WriteRecipe) -> None:
    folder = write_recipe()
    (folder / "prompt.md").write_text(content)
    with pytest.raises(RecipeError, match=r"full_prompt: .*prompt\.md"):
        load_recipe(str(folder))


@pytest.mark.parametrize("place", ["nowhere", "", ".", "/", "a\0b"])
def test_a_recipe_that_is_nowhere_is_said(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match="no such file") as caught:
        load_recipe(place)
    assert caught.value.hint


def test_the_stages_stand_in_the_order_of_the_data() -> None:
    assert list(STAGES) == ["convert", "generate", "dataset", "train", "evaluate", "report"]
    assert list(ALL_STAGES) == [*STAGES, "deploy"]
    assert all(stage.name == name for name, stage in ALL_STAGES.items())


def test_every_output_is_anothers_input_or_the_end(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    recipe, workspace = load_recipe(str(write_recipe())), Workspace(tmp_path / "run")
    made: set[Path] = set()
    for name, stage in ALL_STAGES.items():
        inside = [path for path in stage.inputs(recipe.config(name), workspace) if path.is_relative_to(workspace.root)]
        assert set(inside) <= made, f"{name} reads what no stage before it has written"
        made |= set(stage.outputs(workspace))


@pytest.fixture
def small_stages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each stage replaced by one that notes its name; returns the notes."""
    noted: list[str] = []

    def small(name: str) -> Stage[Any, Any]:
        def run(config: Any, workspace: Workspace) -> StageResult:
            noted.append(name)
            return StageResult()

        return Stage(name, StageResult, lambda config, workspace: [], lambda workspace: [], run)

    monkeypatch.setattr(module, "STAGES", {name: small(name) for name in STAGES})
    monkeypatch.setattr(module, "ALL_STAGES", {name: small(name) for name in ALL_STAGES})
    monkeypatch.setattr("tuning_room.models.resolve", lambda reference: Path())
    return noted


def test_a_bake_runs_the_stages_in_order_and_once(
    small_stages: list[str], write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    recipe, workspace = load_recipe(str(write_recipe())), Workspace(tmp_path / "run")
    first = list(bake(recipe, workspace))
    assert [done.stage for done in first] == small_stages == list(STAGES)
    assert all(done.ran for done in first)

    again = list(bake(recipe, workspace))
    assert [done.stage for done in again] == list(STAGES)
    assert not any(done.ran for done in again)
    assert len(small_stages) == len(STAGES)

    assert all(done.ran for done in bake(recipe, workspace, force=True))
    assert run_stage(recipe, workspace, "deploy").ran


def test_a_changed_knob_runs_its_stage_alone(
    small_stages: list[str], write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "run")
    list(bake(load_recipe(str(write_recipe())), workspace))
    done = list(bake(load_recipe(str(write_recipe(dataset={"minimum": 3}))), workspace))
    assert [stage.stage for stage in done if stage.ran] == ["dataset"]


def test_a_model_that_does_not_exist_is_said_before_any_work(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    recipe, workspace = load_recipe(str(write_recipe(model="embedded:nothing"))), Workspace(tmp_path / "run")
    with pytest.raises(ModelNotFoundError, match="embedded:nothing"):
        list(bake(recipe, workspace))
    assert not workspace.root.exists()


def test_a_recipe_cannot_be_changed(write_recipe: WriteRecipe) -> None:
    recipe: Recipe = load_recipe(str(write_recipe()))
    with pytest.raises(ValueError, match="frozen"):
        recipe.name = "other"  # type: ignore[misc]


def test_the_example_that_ships_is_named_in_help_and_hints_rightly() -> None:
    root = Path(__file__).parents[2]
    assert (root / "recipes" / "socratic-tutor" / "recipe.yaml").is_file()


def test_a_stage_that_failed_once_is_asked_for_what_it_needs_again(
    small_stages: list[str], write_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was uninstalled, or never installed, should fail before the stages that come first take their minutes."""
    recipe, workspace = load_recipe(str(write_recipe())), Workspace(tmp_path / "run")
    list(bake(recipe, workspace))
    records = {name: record.model_dump(mode="json") for name, record in workspace.records().items()}
    records["evaluate"]["state"] = "failed"
    workspace.manifest.write_text(json.dumps(records), encoding="utf-8")
    asked: list[str] = []
    monkeypatch.setattr(module, "require", asked.extend)
    list(bake(recipe, workspace))
    assert asked == ["evaluate"]
