"""Paths in a recipe are beside it, whatever field they stand in.

Real: pydantic, files, every config class that a recipe is made of.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import hypothesis
import pytest
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from tuning_room.checks import Exchange, registry
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.generate.config import TeacherConfig
from tuning_room.paths import (
    PERMISSIONS,
    Checks,
    ModelReference,
    Permissions,
    RecipeCode,
    RecipeFile,
    RecipeFolder,
    RecipePath,
    RecipeProgram,
    RecipeText,
    context,
    read_outside,
)
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
    assert {name for _, name, leaf in FIELDS if leaf == RecipeProgram} == {"vllm_python"}
    assert {name for _, name, leaf in FIELDS if leaf == RecipeCode} == {"include"}


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
    assert adapter.validate_python(folder / given, context=context(folder)) == folder / given
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


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A recipe's folder among others, in a set of such folders, with a secret further up."""
    for name in (
        "secret.md",
        "set/_all/notes.md",
        "set/.keys/key.md",
        "set/shared/_rules/notes.md",
        "set/shared/.keys/key.md",
        "set/shared/recipe/sub/words.md",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"Words of {name}.", encoding="utf-8")
    return tmp_path / "set" / "shared" / "recipe"


def read(given: str | Path, folder: Path, kind: Any = RecipePath) -> list[Path]:
    """Return what is said to be read outside the folder."""
    found = context(folder)
    TypeAdapter(kind).validate_python(given, context=found)
    return read_outside(found)


def test_a_recipe_reads_its_own_folder_and_by_a_path_what_lies_beside_it(ours: Path) -> None:
    shared = ours.parent / "_rules"
    for given in ("sub", "sub/words.md", "./sub/../sub", ".", "not-written-yet.md", ours / "sub"):
        assert read(given, ours) == [], given
    for given in ("../_rules", "sub/../../_rules", "../recipe/../_rules", shared):
        assert read(given, ours) == [shared], given
    assert read("../_rules/notes.md", ours) == [shared / "notes.md"]
    assert read("../../_all", ours) == [ours.parents[1] / "_all"]


OUTSIDE = (
    "..",
    "../..",
    "../../..",
    "../../../secret.md",
    "/etc/passwd",
    "../.keys/key.md",
    "../../.keys/key.md",
    "../recipe/../../../secret.md",
    "/",
)


@pytest.mark.parametrize("given", OUTSIDE)
def test_a_recipe_reads_nothing_else(given: str, ours: Path) -> None:
    with pytest.raises(ValidationError, match=r"is outside the recipe's folder.*--allow-files"):
        read(given, ours)


def test_a_recipe_at_the_root_has_no_folder_beside_it() -> None:
    with pytest.raises(ValidationError, match="is outside the recipe's folder"):
        read("../etc/passwd", Path("/recipe"))
    with pytest.raises(ValidationError, match="is outside the recipe's folder"):
        read("../../etc/passwd", Path("/set/recipe"))


@pytest.mark.parametrize("home", ["set", "set/someone", "set/shared/someone"])
def test_two_levels_up_is_not_read_where_the_users_home_is(
    home: str, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: ours.parents[2] / home)
    assert read("../_rules", ours)
    with pytest.raises(ValidationError, match="is outside the recipe's folder"):
        read("../../_all/notes.md", ours)


LINKS = {
    "a file": ("sub/words", "../../../../secret.md", "sub"),
    "a folder": ("sub/all", "../../..", "sub"),
    "the named file": ("prompt.md", "../../../secret.md", "prompt.md"),
    "beside, but not named": ("prompt.md", "../_rules/notes.md", "prompt.md"),
    "a folder above the named file": ("up", "../_rules", "up/notes.md"),
    "beside, in the named folder": ("../_rules/more", "../.keys", "../_rules"),
    "the named folder beside": ("../_more", "..", "../_more"),
    "nothing yet": ("sub/later", "/nowhere/to/be/found", "sub"),
    "hidden": ("sub/.words", "/etc/passwd", "sub"),
}


@pytest.mark.parametrize(("place", "target", "given"), LINKS.values(), ids=LINKS)
def test_a_link_that_leads_out_is_refused_and_named(place: str, target: str, given: str, ours: Path) -> None:
    (ours / place).symlink_to(target)
    with pytest.raises(ValidationError, match=r"--allow-files"):
        read(given, ours)


@pytest.mark.parametrize(("place", "target", "given"), LINKS.values(), ids=LINKS)
def test_what_the_user_permits_is_read(
    place: str, target: str, given: str, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ours / place).symlink_to(target)
    monkeypatch.setattr(PERMISSIONS, "folders", [ours.parents[2], Path("/etc"), Path("/nowhere")])
    read(given, ours)


def test_links_that_stay_inside_are_followed(ours: Path) -> None:
    (ours / "prompt.md").symlink_to("sub/words.md")
    (ours / "sub" / "again").symlink_to("..")
    (ours / "sub" / "circle").symlink_to("circle")
    (ours.parent / "_rules" / "words.md").symlink_to("notes.md")
    assert read("prompt.md", ours) == read("sub", ours) == read(".", ours) == []
    assert read("../_rules", ours) == [ours.parent / "_rules"]


@hypothesis.given(
    st.lists(st.sampled_from(["..", ".", "sub", "up", "etc", "_rules", "recipe"]), min_size=1, max_size=7)
)
def test_no_way_of_writing_a_path_leads_further_than_beside(parts: list[str]) -> None:
    with TemporaryDirectory() as place:
        ours = Path(place).resolve() / "top" / "set" / "shared" / "recipe"
        (ours / "sub").mkdir(parents=True)
        (ours.parent / "_rules").mkdir()
        (ours / "up").symlink_to("../..")
        real = (ours / Path(*parts)).resolve()
        try:
            said = read(Path(*parts), ours)
        except ValidationError:
            return
        assert real.is_relative_to(ours) or (said == [real] and ours.parents[1] in real.parents)


def test_a_program_and_code_need_their_own_permission(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, given in ((RecipeProgram, "python"), (RecipeCode, "sub")):
        monkeypatch.setattr(PERMISSIONS, "folders", [Path("/")])
        with pytest.raises(ValidationError, match=r"a recipe is data.*--allow-code"):
            read(given, ours, kind)
        monkeypatch.setattr(PERMISSIONS, "code", True)
        assert read(given, ours, kind) == []
        monkeypatch.setattr(PERMISSIONS, "code", False)


def test_permissions_are_said_as_flags() -> None:
    permissions = Permissions()
    assert permissions.flags() == []
    permissions.grant([Path("/data"), Path("/more")], code=True)
    assert permissions.flags() == ["--allow-files", "/data", "--allow-files", "/more", "--allow-code"]
    permissions.grant()
    assert permissions.flags() == []
