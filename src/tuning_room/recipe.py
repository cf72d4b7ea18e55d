"""The recipe: what to bake, as typed stage configs; and the one place that knows the order of the stages."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from tuning_room import convert, dataset, deploy, evaluate, generate, report, train
from tuning_room.advise.config import AdviseConfig, Traffic
from tuning_room.checks.languages import unread
from tuning_room.convert.config import ConvertConfig
from tuning_room.dataset.config import DatasetConfig
from tuning_room.deploy.config import DeployConfig
from tuning_room.errors import DataError, RecipeError
from tuning_room.evaluate.checking import check
from tuning_room.evaluate.config import EvaluateConfig, Suites, long_form
from tuning_room.generate.config import GenerateConfig
from tuning_room.paths import ModelReference, RecipeFile, RecipePath, RecipeText, context, read_outside
from tuning_room.prerequisites import require
from tuning_room.report.config import ReportConfig
from tuning_room.requirements import Requirement
from tuning_room.serve.config import ServeConfig
from tuning_room.train.config import TrainConfig
from tuning_room.workspace import Stage, StageConfig, StageResult, Workspace
from tuning_room.yaml_files import QUOTE, read_yaml

STAGES: dict[str, Stage[Any, Any]] = {
    "convert": convert.STAGE,
    "generate": generate.STAGE,
    "dataset": dataset.STAGE,
    "train": train.STAGE,
    "evaluate": evaluate.STAGE,
    "report": report.STAGE,
}
ALL_STAGES: dict[str, Stage[Any, Any]] = {**STAGES, "deploy": deploy.STAGE}

Values = dict[str, Any]  # as YAML gives them: nothing is known of them before they are validated


class Recipe(BaseModel):
    """What to bake; every path is relative to the recipe's folder. docs/recipes.md explains each key.

    A stage's field that has the name of a field here is filled from here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*[a-z0-9]$", max_length=34, description="also the run folder's name")
    description: str = Field("", description="what is baked, in a sentence, for the report and the model card")
    model: ModelReference = Field(description="base model: `embedded:<name>`, a folder with safetensors, or a hub id")
    language: str = Field(
        "",
        pattern=r"^([a-z]{2})?$",
        description="what replies are in (ISO 639-1); how numbers are read, and which rules do not read it",
    )
    system_turn: Literal["own", "fold"] = Field(
        "own",
        description="`fold` puts the system turn before the user's first message: for a chat template that takes none",
    )
    full_prompt: RecipeText = Field(description="file with the full prompt, UTF-8")
    short_prompt: str = Field(min_length=1, description="the system turn that remains after baking")
    documents: RecipePath | None = Field(None, description="folder with the documents; its subfolders are read too")
    requirements: RecipeFile | None = Field(
        None, description="file of what the full prompt asks (docs/requirements.md)"
    )
    seeds: RecipePath | None = Field(None, description="file of dialogues by hand, all of which become candidates")
    rules: RecipePath | None = Field(None, description="folder with the rules of the offline teacher")
    columns: RecipePath | None = Field(None, description="file of personas and what else varies, for a teacher")
    flows: RecipePath | None = Field(None, description="folder with flows that replace the shipped ones, for a teacher")
    review: RecipePath = Field(Path("review.jsonl"), description="file of what people decided about rows")
    suites: Suites = Field(min_length=1, description="held-out items by suite: a file, or the keys below")
    traffic: Traffic = Field(default_factory=Traffic, description="how much the assistant is used (`users`, ...)")
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
    def _hand_down(cls, values: Values) -> Values:
        optional = {name: field for name, field in cls.model_fields.items() if not field.is_required()}
        top = {name: field.get_default(call_default_factory=True) for name, field in optional.items()} | values
        if "suites" in top:
            top["suites"] = long_form(top["suites"])
        shared = top | {name: work_out(top) for name, work_out in WORKED_OUT.items()}
        for section in SECTIONS:
            given = top.get(section) or {}
            if not isinstance(given, dict):
                raise ValueError(f"{section}: must hold keys and values")
            names = handed_down(section)
            if doubled := sorted(names & given.keys()):
                raise ValueError(f"{section}.{doubled[0]}: stands at the top of the recipe already; remove it here")
            top[section] = given | {name: shared[name] for name in names & shared.keys()}
        return top

    @model_validator(mode="after")
    def _evaluation_can_be_held(self, info: ValidationInfo) -> "Recipe":
        # A name that nothing has should be found before anything is trained; without a context no file is looked up.
        if info.context:
            check(self.evaluate)
        return self

    def unread(self) -> Iterator[str]:
        """Yield what the rules do not know of the recipe's language or region, in words (docs/languages.md)."""
        from tuning_room.dataset.accounts import regions

        metrics = [name for suite in self.evaluate.suites for name in self.evaluate.metrics_of(suite)]
        names = list(unread(self.language, [*self.dataset.checks, *metrics])) if self.language else []
        if names:
            yield f"the rules of {', '.join(names)} do not read '{self.language}'; let a judge answer instead"
        pii = self.dataset.pii
        if self.language and "phone" in pii.kinds and list(unread(self.language, ["dataset.pii"])):
            yield f"dataset.pii does not know the words for phone numbers in '{self.language}': only their form tells"
        if "national_id" in pii.kinds and pii.region not in regions():
            yield f"dataset.pii knows no numbers of persons for the region '{pii.region}'"

    def read_requirements(self) -> list[Requirement]:
        """Return what the full prompt asks, empty without a file; RecipeError for a quote that stands there no more."""
        return self.evaluate.read_requirements()

    def config(self, stage: str) -> StageConfig:
        """Return a stage's configuration."""
        config: StageConfig = getattr(self, stage)
        return config


def _checks(top: Values) -> object:
    return top["dataset"].get("checks", {}) if isinstance(top.get("dataset"), dict) else {}


def _items(top: Values) -> list[object]:
    suites = top["suites"].values() if isinstance(top.get("suites"), dict) else []
    return [suite.get("items") if isinstance(suite, dict) else suite.items for suite in suites]


def _messages_per_day(top: Values) -> int | None:
    try:
        traffic = Traffic.model_validate(top["traffic"])
    except ValidationError:
        # The field `traffic` itself says what is wrong with it.
        return None
    return traffic.users * traffic.messages_per_user


# What stages need that does not stand at the top under the same name, by the name of their field.
WORKED_OUT: dict[str, Callable[[Values], object]] = {
    "recipe": lambda top: top.get("name"),
    "checks": _checks,
    "items": _items,
    "messages_per_day": _messages_per_day,
}

SECTIONS: dict[str, type[StageConfig]] = {
    name: field.annotation
    for name, field in Recipe.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, StageConfig)
}


def handed_down(section: str) -> set[str]:
    """Return the fields of a section that are filled from the rest of the recipe, and so cannot be written there."""
    names = SECTIONS[section].model_fields.keys() & {*Recipe.model_fields, *WORKED_OUT}
    return names - {"checks"} if section == "dataset" else names


def load_recipe(place: str, tell: Callable[[str], None] = lambda _: None) -> Recipe:
    """Return the recipe at a path: a folder with `recipe.yaml`, such a file, or the name of one in ./recipes.

    `tell` gets a line for each path that it reads outside its folder. Raises RecipeError, which names file and field.
    """
    file = recipe_file(place)
    values = read_yaml(file)
    if not isinstance(values, dict):
        raise RecipeError(f"{file}: must hold keys and values", hint="start from recipes/socratic-tutor/recipe.yaml")
    found = context(file.parent)
    try:
        recipe = Recipe.model_validate(values, context=found)
    except ValidationError as error:
        message, hint = _first(error)
        raise RecipeError(f"{file}: {message}", hint=hint) from None
    for path in read_outside(found):
        tell(f"the recipe reads {path}, outside its folder")
    return recipe


def recipe_file(place: str) -> Path:
    """Return the file of the recipe at a path; RecipeError if there is none."""
    path = Path(place)
    for candidate in (path, path / "recipe.yaml", Path("recipes") / place / "recipe.yaml"):
        if candidate.is_file():
            return candidate
    raise RecipeError(
        f"recipe '{place}': there is no such file, and no recipe.yaml in such a folder",
        hint="name a folder such as recipes/socratic-tutor",
    )


def _first(error: ValidationError) -> tuple[str, str]:
    """Return the first error, where it was written rather than where it was handed down to, and what to do."""
    places = error.errors()
    first = next((found for found in places if not _is_handed_down(found["loc"])), places[0])
    field = ".".join(map(str, first["loc"]))
    message, hint = first["msg"].removeprefix("Value error, "), "see docs/recipes.md"
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, RecipeError | DataError):
        message, hint = cause.args[0], cause.hint
    elif first["type"] == "string_type" and isinstance(first["input"], bool):
        hint = QUOTE
    elif first["type"] == "missing":
        message = "is missing"
    elif first["type"] == "extra_forbidden":
        message, hint = "no such key", _closest(first["loc"])
    return f"{field}: {message}" if field else message, hint


def _is_handed_down(place: tuple[int | str, ...]) -> bool:
    return len(place) > 1 and place[0] in SECTIONS and place[1] in handed_down(str(place[0]))


def _closest(place: tuple[int | str, ...]) -> str:
    """Return which key was probably meant."""
    from difflib import get_close_matches

    model: type[BaseModel] = Recipe
    for part in place[:-1]:
        if part in model.model_fields:
            model = next(_models(model.model_fields[str(part)].annotation), model)
    keys = list(model.model_fields)
    close = get_close_matches(str(place[-1]), keys, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(keys)}"


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models in a field's type, such as Suite in dict[str, Suite]."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


class Done(NamedTuple):
    """A stage that is finished: what came of it, and whether it had to be run."""

    stage: str
    result: StageResult
    ran: bool
    seconds: float


# The stages that read what people write by hand.
BY_HAND = {"generate", "dataset", "evaluate"}


def check_filled_in(recipe: Recipe) -> None:
    """Raise RecipeError with a list of what 'tuning-room init' has marked and nobody has written yet."""
    from tuning_room.scaffold import MARK, unfilled

    files = {f"suites.{name}": suite.items for name, suite in recipe.suites.items()}
    seeds = {"seeds": recipe.seeds} if recipe.seeds else {}
    if left := unfilled({**seeds, **files}, recipe.model_dump(mode="json")):
        lines = "".join(f"\n  {line}" for line in left)
        raise RecipeError(
            f"recipe '{recipe.name}' is not filled in yet{lines}",
            hint=f"write what each {MARK} asks for, or delete its line",
        )


def check_template(recipe: Recipe) -> None:
    """Raise RenderingError for a model on this machine that takes no system turn, unless the recipe says to fold it.

    A model of the hub counts as soon as it has been fetched.
    """
    from tuning_room.models import local_folder
    from tuning_room.models.templates import check_system

    if folder := local_folder(recipe.model):
        check_system(recipe.model, folder, folds=recipe.system_turn == "fold")


def check_model(recipe: Recipe) -> None:
    """Raise ModelError or TrainingError for a model on this machine that cannot be trained as the recipe says.

    A model of the hub counts as soon as it has been fetched.
    """
    from tuning_room.models import local_folder
    from tuning_room.models.architectures import check_architecture

    # What is needed to put an adapter on a model comes with training.
    fits = _fits(recipe) if find_spec("peft") else None
    if folder := local_folder(recipe.model):
        check_architecture(recipe.model, folder, fits=fits)


def _fits(recipe: Recipe) -> "Callable[[Any], None]":
    from tuning_room.train.adapter import check_targets

    return lambda model: check_targets(model, recipe.train.target_modules, recipe.train.skip_layers)


def run_stage(recipe: Recipe, workspace: Workspace, stage: str, *, force: bool = False) -> Done:
    """Run one stage of a recipe, unless nothing that it depends on has changed."""
    if stage in BY_HAND:
        check_filled_in(recipe)
    check_template(recipe)
    if stage == "train":
        check_model(recipe)
    result, ran = workspace.perform(ALL_STAGES[stage], recipe.config(stage), force=force)
    return Done(stage, result, ran, workspace.record(stage).seconds)


def bake(recipe: Recipe, workspace: Workspace, *, force: bool = False) -> Iterator[Done]:
    """Run all stages in order, yielding each as it is finished; what is up to date is not run again."""
    from tuning_room.models import device, resolve

    # What is missing should fail here, a GPU that was asked for included, not minutes later in the stage that needs it.
    check_filled_in(recipe)
    finished = {name for name, record in workspace.records().items() if record.state == "done"}
    require(stage for stage in STAGES if stage not in finished)
    device()
    resolve(recipe.model)
    check_template(recipe)
    check_model(recipe)
    for stage in STAGES:
        yield run_stage(recipe, workspace, stage, force=force)
