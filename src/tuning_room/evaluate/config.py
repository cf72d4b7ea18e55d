"""The configuration of the evaluate stage."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from tuning_room.checks import CHECK
from tuning_room.errors import RecipeError
from tuning_room.gates import Arm, Gate
from tuning_room.paths import Checks, ModelReference, RecipeCode, RecipeFile, RecipeText
from tuning_room.requirements import Requirement, read_requirements
from tuning_room.workspace import StageConfig

BASE, ADAPTER = "base", "adapter"  # the models of an engine in this process
BUILTIN = Path(__file__).parent / "suites"


class Suite(BaseModel):
    """Held-out items, how many of them are used, and which metrics apply to the replies."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    items: RecipeFile = Field(description="JSONL file of items; builtin: the package's own suite of that name")
    size: int | None = Field(None, ge=1, description="number of items, spread over families and topics; default: all")
    metrics: list[str] | None = Field(None, min_length=1, description="its metrics; default: evaluate.metrics")
    arms: list[Arm] | None = Field(None, min_length=1, description="the arms to ask; default: evaluate.arms")
    system: Literal["arm", "none"] = Field("arm", description="the system turn above its items: the arm's own, or none")
    requirements: list[str] = Field([], description="ids of the requirements that all of its items test")
    breaks: list[str] | None = Field(
        None, min_length=1, description="metrics that break the behaviour in its dialogues; default: the gated ones"
    )

    @property
    def is_usual(self) -> bool:
        """Return whether its items are asked and measured as the recipe has it for all."""
        return self.metrics is None and self.system == "arm"


def long_form(suites: Any) -> Any:
    """Return suites with each as keys and values, and with the path of the package's own items for `builtin`."""
    if not isinstance(suites, dict):
        return suites
    return {name: suite if isinstance(suite, Suite) else _long(name, suite) for name, suite in suites.items()}


def _long(name: str, suite: Any) -> dict[str, Any]:
    values = suite if isinstance(suite, dict) else {"items": suite}
    if not isinstance(values.get("items", ""), str | Path):
        raise RecipeError(f"suites.{name}: needs a file of items", hint="write items: evaluation/items.jsonl")
    if values.get("items") != "builtin":
        return values
    file = BUILTIN / f"{name}.jsonl"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in BUILTIN.glob("*.jsonl")))
        raise RecipeError(f"suites.{name}: there is no built-in suite of that name", hint=f"there are {known}")
    return {**values, "items": file}


Suites = Annotated[dict[str, Suite], BeforeValidator(long_form)]


class Endpoint(BaseModel):
    """A server that answers for an arm."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str = Field(description="the model's name at the server")
    address: str = Field(description="any OpenAI-compatible address, such as http://localhost:8000/v1")
    key_variable: str = Field("", description="environment variable that holds the key")
    concurrency: int = Field(8, ge=1, description="number of requests in flight at once")


class Judge(Endpoint):
    """A model that compares the baked replies with the prompted ones, and answers the questions of requirements."""

    rubric: RecipeText | None = Field(
        None, description="file that describes a good reply; the judge writes one if left out"
    )
    max_tokens: int = Field(
        512, ge=16, description="longest answer of the judge in tokens, its rubric and reasoning included"
    )


class Standard(BaseModel):
    """Tasks that ship with lm-evaluation-harness, run on base and baked; their data comes from the hub or its cache."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    tasks: list[str] = Field(min_length=1, description="the harness's names: gsm8k, ifeval, hellaswag, ...")
    limit: int | None = Field(50, ge=1, description="number of documents per task; all of them if null")
    include: RecipeCode | None = Field(
        None, description="folder with task files of your own, whose code runs: needs `--allow-code`"
    )


class EvaluateConfig(StageConfig):
    """The arms, the held-out items put to them, and the gates that decide."""

    model: ModelReference = Field(description="base model: embedded:<name>, a folder, or a hub id")
    full_prompt: RecipeText = Field(description="file with the full prompt, the system turn of the prompted arms")
    short_prompt: str = Field(description="the system turn of the arm `baked`")
    suites: Suites = Field(description="held-out items by suite: a JSONL file, or `items`, `size`, `metrics`")
    requirements: RecipeFile | None = Field(None, description="YAML file of what the full prompt asks")
    language: str = Field("", description="what replies are in (ISO 639-1), for the rules that read numbers")
    checks: Checks = Field({}, description="the dataset's checks, for the metric `accepted`")
    arms: list[Arm] = Field(["base", "prompted", "baked", "baked_prompted"], description="the arms to compare")
    endpoints: dict[Arm, Endpoint] = Field({}, description="servers that answer for an arm, including `reference`")
    judge: Judge | None = Field(None, description="a model that compares `baked` with `prompted`; default: none")
    metrics: list[str] = Field(["asks", "tells", "leaks", "on_topic"], description="the metrics of each reply")
    standard: Standard | None = Field(None, description="the harness's own tasks, run on base and baked; default: none")
    trained_families: list[str] = Field([], description="attack families that also occur in the training data")
    neutral: RecipeFile | None = Field(
        BUILTIN / "neutral.jsonl", description="texts on which the adapter should change nothing (KL to the base)"
    )
    economics: bool = Field(True, description="time a request, prompted and baked, with a cold and a warm cache")
    max_tokens: int = Field(64, ge=1, description="maximum length of a reply in tokens; decoding is greedy")
    batch_size: int = Field(128, ge=1, description="number of replies generated at once")
    limit: int | None = Field(None, ge=1, description="number of items per suite, from its start, for a trial")
    all_items: bool = Field(False, description="use every item of every suite, whatever its `size`")
    margin: float = Field(0.05, ge=0, lt=1, description="largest difference between two arms that does not matter")
    seed: int = Field(5, description="random seed that picks the items of a suite with a `size`")
    gates: list[Gate] = Field([], description="the gates; all must be met for the verdict `ship`")
    recipe: str = Field("RECIPE", description="the recipe's name, for the commands in the advice")

    @field_validator("suites")
    @classmethod
    def _names(cls, suites: dict[str, Suite]) -> dict[str, Suite]:
        # A suite's name becomes a file's name and a task's name.
        if wrong := [name for name in suites if name == "all" or not re.fullmatch(r"[A-Za-z0-9_-]+", name)]:
            raise ValueError(f"a suite cannot be named '{wrong[0]}': use letters, digits, - and _, and not 'all'")
        return suites

    @model_validator(mode="after")
    def _reference(self) -> "EvaluateConfig":
        if "reference" in self.arms and "reference" not in self.endpoints:
            raise ValueError("endpoints: the arm 'reference' needs one")
        if self.judge and not {"prompted", "baked"} <= set(self.arms):
            raise ValueError("judge: it compares the arms 'prompted' and 'baked', so `arms` must name both")
        return self

    def metrics_of(self, suite: str) -> list[str]:
        """Return the metrics of a suite; beside `accepted` stands each check by itself."""
        named = self.suites[suite].metrics or self.metrics
        each = [f"{CHECK}{name}" for name in self.checks] if "accepted" in named else []
        return list(dict.fromkeys([*named, *each]))

    def arms_of(self, suite: str) -> list[Arm]:
        """Return the arms that are asked a suite."""
        return [arm for arm in self.arms if arm in (self.suites[suite].arms or self.arms)]

    @property
    def needs_adapter(self) -> bool:
        """Whether an arm in this process has the adapter: what servers answer needs none here."""
        return any(name.startswith("baked") and name not in self.endpoints for name in self.arms)

    def read_requirements(self) -> list[Requirement]:
        """Return what the full prompt asks, empty without a file; RecipeError for a quote that stands there no more."""
        if self.requirements is None:
            return []
        return read_requirements(self.requirements, self.full_prompt.read_text(encoding="utf-8-sig"))


class ArmSetup(NamedTuple):
    """Which model answers under which system turn, in this process or at a server."""

    name: str
    model: str
    system: str
    endpoint: Endpoint | None = None

    @property
    def has_adapter(self) -> bool:
        """Whether the run's adapter answers in this process; a server's model may have any name."""
        return self.model == ADAPTER and self.endpoint is None


def setup(arm: Arm, config: EvaluateConfig) -> ArmSetup:
    """Return an arm's model and system turn."""
    full = config.full_prompt.read_text(encoding="utf-8-sig").strip()
    models = {"base": BASE, "prompted": BASE, "baked": ADAPTER, "baked_prompted": ADAPTER, "reference": "reference"}
    systems = {"base": "", "baked": config.short_prompt}
    endpoint = config.endpoints.get(arm)
    return ArmSetup(arm, endpoint.model if endpoint else models[arm], systems.get(arm, full), endpoint)
