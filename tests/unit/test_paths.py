"""Paths in a recipe are beside it, whatever field they stand in.

Real: pydantic, files, every config class that a recipe is made of.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from tuning_room.checks import Exchange, registry
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.generate.config import TeacherConfig
from tuning_room.paths import Checks, ModelReference, RecipeFile, RecipeFolder, RecipePath, RecipeText, context
from tuning_room.recipe import Recipe

ANCHORED = {"RecipePath": RecipePath, "RecipeFile": RecipeFile, "RecipeText": RecipeText, "RecipeFolder": RecipeFolder}


def configs(annotation: object = Recipe) -> Iterator[type[BaseModel]]:
    """Yield every class that a recipe's values become."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for hint in get_type_hints(annotation, include_extras=True).values():
            yield from configs(hint)
    for inner in get_args(annotation):
        yield from configs(inner)


def leaves(hint: Any) -> Iterator[Any]:
    """Yield the types that a field's type is made of, an annotated one whole."""
    if get_origin(hint) is Annotated and get_args(hint)[0] in (Path, str, get_args(Checks)[0]):
        yield hint
        return
    inner = [leaf for part in get_args(hint) for leaf in leaves(part)]
    yield from inner or [hint]


CONFIGS = sorted(set(configs()), key=lambda config: config.__name__)
FIELDS = [
    (config.__name__, name, leaf)
    for config in CONFIGS
    for name, hint in get_type_hints(config, include_extras=True).items()
    for leaf in leaves(hint)
    if name != "model_config"
]


def is_bare(leaf: Any) -> bool:
    """Return whether a type would take a path as it is given, so that it is looked for in the working directory."""
    plain, *marks = get_args(leaf) if get_origin(leaf) is Annotated else (leaf,)
    is_path = isinstance(plain, type) and issubclass(plain, Path)
    return leaf is Any or (is_path and get_args(RecipePath)[1] not in marks)


def test_the_walk_finds_the_configs_and_their_paths() -> None:
    assert {"Recipe", "TrainConfig", "Suite", "Judge", "Standard", "TeacherConfig"} <= {c.__name__ for c in CONFIGS}
    found = {(config, name) for config, name, leaf in FIELDS if leaf in ANCHORED.values()}
    assert {("Recipe", "review"), ("Suite", "items"), ("DatasetConfig", "items"), ("Judge", "rubric")} <= found
    assert {leaf for _, name, leaf in FIELDS if name == "checks"} == {Checks}


BARE = [Path, Path | None, list[Path], dict[str, Path], Annotated[Path, Field(description="x")], Any, dict[str, Any]]


@pytest.mark.parametrize("hint", BARE, ids=str)
def test_the_rule_would_see_a_bare_path(hint: Any) -> None:
    assert any(map(is_bare, leaves(hint)))


def test_no_field_takes_a_path_as_it_is_given() -> None:
    assert not [f"{config}.{name}" for config, name, leaf in FIELDS if is_bare(leaf)]


def test_every_reference_to_the_base_model_is_one() -> None:
    elsewhere = {"Endpoint", "Judge", "TeacherConfig"}  # a server's own name for its model
    named = {leaf for config, name, leaf in FIELDS if name == "model" and config not in elsewhere}
    assert named == {ModelReference}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    (tmp_path / "file.md").write_text("Words.", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", ANCHORED)
def test_an_anchored_path_is_beside_the_recipe(name: str, folder: Path) -> None:
    adapter: TypeAdapter[Path] = TypeAdapter(ANCHORED[name])
    given = "place" if name == "RecipeFolder" else "file.md"
    assert adapter.validate_python(given, context=context(folder)) == folder / given
    assert adapter.validate_python(folder / given, context=context(Path("elsewhere"))) == folder / given
    assert adapter.validate_python("nowhere") == Path("nowhere"), "without a recipe a path stays as it is given"


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("RecipeFile", "nowhere", "does not exist"),
        ("RecipeFile", "place", "place is not a file"),
        ("RecipeText", "nowhere", "does not exist"),
        ("RecipeText", ".", "is not a file"),
        ("RecipeText", "blank.md", "is empty"),
        ("RecipeText", "latin.md", "not UTF-8"),
        ("RecipeFolder", "nowhere", "not a folder"),
        ("RecipeFolder", "file.md", "not a folder"),
    ],
)
def test_what_has_to_be_there_is_looked_for(name: str, given: str, words: str, folder: Path) -> None:
    (folder / "blank.md").write_text(" \n", encoding="utf-8")
    (folder / "latin.md").write_bytes(b"caf\xe9")
    with pytest.raises(ValidationError, match=words):
        TypeAdapter(ANCHORED[name]).validate_python(given, context=context(folder))


def test_a_model_beside_the_recipe_is_a_folder(folder: Path) -> None:
    adapter: TypeAdapter[str] = TypeAdapter(ModelReference)
    beside = {given: adapter.validate_python(given, context=context(folder / "recipe")) for given in ("./m", "../m")}
    assert beside == {"./m": str(folder / "recipe" / "m"), "../m": str(folder / "m")}
    for given in ("embedded:m", "org/m", "/models/m"):
        assert adapter.validate_python(given, context=context(folder)) == given
    assert adapter.validate_python("./m") == "./m"


def test_a_local_teacher_is_beside_the_recipe_and_an_endpoints_name_stays(folder: Path) -> None:
    given = [{"kind": kind, "model": "./m", "tokenizer": "./m"} for kind in ("local", "endpoint")]
    local, endpoint = (TeacherConfig.model_validate(values, context=context(folder)) for values in given)
    assert (local.model, endpoint.model) == (str(folder / "m"), "./m")
    assert endpoint.tokenizer == str(folder / "m")


def reads_words(exchange: Exchange, *, words: Path | None = None, note: str = "") -> str:
    return f"{words} {note}"


def test_a_checks_signature_says_which_of_its_parameters_are_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "CHECKS", {"words": reads_words})
    adapter: TypeAdapter[dict[str, dict[str, Any]]] = TypeAdapter(Checks)
    given = {"words": {"words": "file.md", "note": "file.md"}, "unknown": {"words": "file.md"}}
    anchored = adapter.validate_python(given, context=context(folder))
    assert anchored == {"words": {"words": folder / "file.md", "note": "file.md"}, "unknown": {"words": "file.md"}}
    assert adapter.validate_python(given)["words"]["words"] == Path("file.md")
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python({"words": {"words": "nowhere"}}, context=context(folder))
    assert caught.value.errors()[0]["loc"] == ("words", "words")


def test_each_set_of_a_checks_parameters_has_its_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CHECKS", {"words": reads_words})
    adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(Checks)
    given = {"words": [{"words": "file.md"}, {"note": "file.md"}]}
    anchored = adapter.validate_python(given, context=context(folder))
    assert anchored == {"words": [{"words": folder / "file.md"}, {"note": "file.md"}]}
    assert registry.files(anchored) == [folder / "file.md"]
    with pytest.raises(ValidationError, match="does not exist"):
        adapter.validate_python({"words": [{}, {"words": "nowhere"}]}, context=context(folder))
    with pytest.raises(ValidationError, match="an empty list checks nothing"):
        adapter.validate_python({"words": []})


def test_built_in_items_are_the_packages_own() -> None:
    given: dict[str, Any] = {"model": "m", "full_prompt": "p.md", "short_prompt": "s"}
    config = EvaluateConfig(**given, suites={"capability": "builtin", "safety": {"items": "builtin", "size": 3}})
    assert [suite.items.name for suite in config.suites.values()] == ["capability.jsonl", "safety.jsonl"]
    assert all(suite.items.is_file() for suite in config.suites.values())
    with pytest.raises(ValidationError, match=r"suites\.cooking: there is no built-in suite of that name"):
        EvaluateConfig(**given, suites={"cooking": "builtin"})
