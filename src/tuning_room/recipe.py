"""The recipe: what to bake, as typed stage configs; and the one place that knows the order of the stages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tuning_room import convert, dataset, deploy, evaluate, generate, report, train
from tuning_room.advise.config import AdviseConfig, Traffic
from tuning_room.convert.config import ConvertConfig
from tuning_room.dataset.config import DatasetConfig
from tuning_room.deploy.config import DeployConfig
from tuning_room.errors import RecipeError
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.generate.config import GenerateConfig
from tuning_room.prerequisites import require
from tuning_room.report.config import ReportConfig
from tuning_room.serve.config import ServeConfig
from tuning_room.train.config import TrainConfig
from tuning_room.workspace import Stage, StageConfig, StageResult, Workspace

STAGES: dict[str, Stage[Any, Any]] = {
    "convert": convert.STAGE,
    "generate": generate.STAGE,
    "dataset": dataset.STAGE,
    "train": train.STAGE,
    "evaluate": evaluate.STAGE,
    "report": report.STAGE,
}
ALL_STAGES: dict[str, Stage[Any, Any]] = {**STAGES, "deploy": deploy.STAGE}

PATHS = ("full_prompt", "documents", "seeds", "rules", "columns", "flows", "review")
# What several stages need to know stands once in the recipe, and is handed to each.
SHARED: dict[str, dict[str, str]] = {
    "advise": {"full_prompt": "full_prompt", "short_prompt": "short_prompt", "model": "model", "traffic": "traffic"},
    "convert": {"documents": "documents"},
    "generate": {name: name for name in ("model", "full_prompt", "seeds", "rules", "columns", "flows")},
    "dataset": {"recipe": "name", "short_prompt": "short_prompt", "model": "model", "review": "review"},
    "train": {"recipe": "name", **{name: name for name in ("model", "full_prompt", "short_prompt")}},
    "evaluate": {"model": "model", "full_prompt": "full_prompt", "short_prompt": "short_prompt", "suites": "suites"},
    "report": {
        "recipe": "name",
        "description": "description",
        "model": "model",
        "full_prompt": "full_prompt",
        "short_prompt": "short_prompt",
    },
    "serve": {"recipe": "name", "model": "model"},
    "deploy": {"recipe": "name", "model": "model"},
}
# Worked out from what stands at the top.
DERIVED = {
    "generate": ("checks",),
    "train": ("checks",),
    "dataset": ("items",),
    "evaluate": ("checks",),
    "report": ("messages_per_day",),
}
BUILTIN = "builtin"  # the package's own items of the suite's name


class Recipe(BaseModel):
    """What to bake; every path is relative to the recipe's folder. docs/recipes.md explains each knob."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*[a-z0-9]$", max_length=34, description="also the run folder's name")
    description: str = ""
    model: str
    full_prompt: Path
    short_prompt: str = Field(min_length=1)
    documents: Path | None = None
    seeds: Path | None = None
    rules: Path | None = None
    columns: Path | None = None
    flows: Path | None = None
    review: Path = Path("review.jsonl")
    suites: dict[str, Any] = Field(min_length=1)
    traffic: Traffic = Field(default_factory=Traffic)
    advise: AdviseConfig
    convert: ConvertConfig
    generate: GenerateConfig
    dataset: DatasetConfig
    train: TrainConfig
    evaluate: EvaluateConfig
    report: ReportConfig
    serve: ServeConfig
    deploy: DeployConfig

    @model_validator(mode="before")
    @classmethod
    def _hand_down(cls, values: dict[str, Any]) -> dict[str, Any]:
        filled = dict(values)
        for section, shared in SHARED.items():
            given = filled.get(section) or {}
            if not isinstance(given, dict):
                raise ValueError(f"{section}: must hold keys and values")
            if doubled := sorted(set(given) & {*shared, *DERIVED.get(section, ())}):
                raise ValueError(f"{section}.{doubled[0]}: stands at the top of the recipe already; remove it here")
            handed = {name: filled[source] for name, source in shared.items() if source in filled}
            filled[section] = {**given, **handed}
        suites = filled.get("suites")
        filled["dataset"]["items"] = [s.get("items") for s in suites.values()] if _is_sound(suites) else []
        checks = _checks(filled["dataset"].get("checks"))
        for section in ("generate", "train", "evaluate"):
            filled[section]["checks"] = checks
        filled["report"]["messages_per_day"] = _messages_per_day(filled.get("traffic"))
        return filled

    def config(self, stage: str) -> StageConfig:
        """Return a stage's configuration."""
        config: StageConfig = getattr(self, stage)
        return config


def _checks(given: Any) -> dict[str, Any]:
    """Return the dataset's checks; none if they are not well formed, which the dataset's own field says."""
    return given if _is_sound(given) else {}


def _is_sound(given: Any) -> TypeGuard[dict[str, dict[str, Any]]]:
    return isinstance(given, dict) and all(isinstance(values, dict) for values in given.values())


def _messages_per_day(given: Any) -> int:
    try:
        traffic = Traffic.model_validate(given or {})
    except ValidationError:
        # The field `traffic` itself says what is wrong with it.
        return 1
    return traffic.users * traffic.messages_per_user


def load_recipe(place: str) -> Recipe:
    """Return the recipe at a path: a folder with `recipe.yaml`, such a file, or the name of one in ./recipes.

    Raises RecipeError, which names file and field.
    """
    file = _find(place)
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"{file}: not YAML ({' '.join(str(error).split())})", hint="mend the file") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{file}: must hold keys and values", hint="start from recipes/socratic-tutor/recipe.yaml")
    try:
        return Recipe.model_validate(_anchored(values, file))
    except ValidationError as error:
        raise RecipeError(f"{file}: {_first(error)}", hint=_closest(error)) from None


def _find(place: str) -> Path:
    path = Path(place)
    for candidate in (path, path / "recipe.yaml", Path("recipes") / place / "recipe.yaml"):
        if candidate.is_file():
            return candidate
    raise RecipeError(
        f"recipe '{place}': there is no such file, and no recipe.yaml in such a folder",
        hint="name a folder such as recipes/socratic-tutor",
    )


def _anchored(values: dict[str, Any], file: Path) -> dict[str, Any]:
    anchored, folder = {"review": "review.jsonl", **values}, file.parent
    for name in PATHS:
        if isinstance(anchored.get(name), str):
            anchored[name] = folder / anchored[name]
    if "model" in anchored:
        anchored["model"] = _anchored_model(anchored["model"], folder)
    _anchor_evaluate(anchored, file)
    if isinstance(suites := anchored.get("suites"), dict):
        anchored["suites"] = {name: _suite(name, given, file) for name, given in suites.items()}
    if isinstance(training := anchored.get("train"), dict):
        places = {
            name: training[name] for name in ("start", "retention_prompts") if isinstance(training.get(name), str)
        }
        anchored["train"] = {**training, **{name: folder / place for name, place in places.items()}}
    if isinstance(anchored.get("dataset"), dict):
        anchored["dataset"] = _anchored_dataset(anchored["dataset"], file)
    if isinstance(prompt := anchored.get("full_prompt"), Path):
        _check_file(prompt, f"{file}: full_prompt")
        _check_words(prompt, f"{file}: full_prompt")
    return anchored


def _anchor_evaluate(values: dict[str, Any], file: Path) -> None:
    section = values.get("evaluate")
    if not isinstance(section, dict):
        return
    values["evaluate"] = section = dict(section)
    for name, key in (("judge", "rubric"), ("standard", "include")):
        given = section.get(name)
        if isinstance(given, dict) and isinstance(given.get(key), str):
            section[name] = {**given, key: file.parent / given[key]}
            if key == "include" and not section[name][key].is_dir():
                raise RecipeError(f"{file}: evaluate.standard.include: no such folder", hint="correct its name")
            if key == "rubric":
                _check_file(section[name][key], f"{file}: evaluate.judge.rubric")
                _check_words(section[name][key], f"{file}: evaluate.judge.rubric", hint="write what a good reply is")


def _suite(name: str, given: Any, file: Path) -> Any:
    """Return a suite in its long form, with the place of its items."""
    suite = dict(given) if isinstance(given, dict) else {"items": given}
    if not isinstance(suite.get("items"), str):
        raise RecipeError(f"{file}: suites.{name}: needs a file of items", hint="write items: evaluation/items.jsonl")
    is_builtin = suite["items"] == BUILTIN
    suite["items"] = evaluate.BUILTIN / f"{name}.jsonl" if is_builtin else file.parent / suite["items"]
    if is_builtin and not suite["items"].is_file():
        known = ", ".join(sorted(path.stem for path in evaluate.BUILTIN.glob("*.jsonl")))
        raise RecipeError(f"{file}: suites.{name}: no builtin items of that name", hint=f"there are {known}")
    _check_file(suite["items"], f"{file}: suites.{name}")
    return suite


def _anchored_model(reference: Any, folder: Path) -> Any:
    is_beside = str(reference).startswith(("./", "../"))
    return str((folder / reference).resolve()) if is_beside else reference


def _anchored_dataset(values: dict[str, Any], file: Path) -> dict[str, Any]:
    anchored, checks = dict(values), values.get("checks")
    if "embedding_model" in anchored:
        anchored["embedding_model"] = _anchored_model(anchored["embedding_model"], file.parent)
    given = checks.get("json_schema") if isinstance(checks, dict) else None
    if isinstance(checks, dict) and isinstance(given, dict) and isinstance(schema := given.get("schema"), str):
        _check_file(file.parent / schema, f"{file}: dataset.checks.json_schema.schema")
        anchored["checks"] = {**checks, "json_schema": {**given, "schema": file.parent / schema}}
    return anchored


def _check_file(path: Path, where: str) -> None:
    if not path.is_file():
        raise RecipeError(f"{where}: {path} does not exist", hint="write the file, or correct its name")


def _check_words(path: Path, where: str, hint: str = "write the prompt that is to be baked") -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise RecipeError(f"{where}: {path} is not UTF-8", hint="save it as UTF-8") from None
    if not text.strip():
        raise RecipeError(f"{where}: {path} has no words", hint=hint)


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    message = {"extra_forbidden": "no such key", "missing": "is missing"}.get(first["type"], first["msg"])
    message = message.removeprefix("Value error, ")
    return f"{field}: {message}" if field else message


def _closest(error: ValidationError) -> str:
    """Return which key was probably meant."""
    from difflib import get_close_matches

    first = error.errors()[0]
    owner: Any = Recipe
    for part in first["loc"][:-1]:
        owner = owner.model_fields[part].annotation if part in getattr(owner, "model_fields", {}) else None
    fields = list(getattr(owner, "model_fields", {}))
    if first["type"] != "extra_forbidden" or not fields:
        return "see docs/recipes.md"
    close = get_close_matches(str(first["loc"][-1]), fields, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(fields)}"


class Done(NamedTuple):
    """A stage that is finished: what came of it, and whether it had to be run."""

    stage: str
    result: StageResult
    ran: bool
    seconds: float


def run_stage(recipe: Recipe, workspace: Workspace, stage: str, *, force: bool = False) -> Done:
    """Run one stage of a recipe, unless nothing that it depends on has changed."""
    result, ran = workspace.perform(ALL_STAGES[stage], recipe.config(stage), force=force)
    return Done(stage, result, ran, workspace.record(stage).seconds)


def bake(recipe: Recipe, workspace: Workspace, *, force: bool = False) -> Iterator[Done]:
    """Run all stages in order, yielding each as it is finished; what is up to date is not run again."""
    from tuning_room.models import resolve

    # What is missing should fail here, not minutes later in the stage that needs it.
    finished = workspace.records()
    require(stage for stage in STAGES if stage not in finished)
    resolve(recipe.model)
    for stage in STAGES:
        yield run_stage(recipe, workspace, stage, force=force)
