"""What the evaluate stage is told to do."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from tuning_room.errors import RecipeError
from tuning_room.gates import Arm, Gate
from tuning_room.paths import Checks, ModelReference, RecipeFile, RecipeFolder, RecipeText
from tuning_room.workspace import StageConfig

BUILTIN = Path(__file__).parent / "suites"


class Suite(BaseModel):
    """Held-out items, how many of them are taken, and what is measured of the replies."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    items: RecipeFile = Field(description="JSONL file of items; builtin: the package's own of the suite's name")
    size: int | None = Field(None, ge=1, description="so many items, spread over families and topics; all if left out")
    metrics: list[str] | None = Field(None, min_length=1, description="what is measured; evaluate.metrics if left out")
    arms: list[Arm] | None = Field(None, min_length=1, description="which arms are asked; evaluate.arms if left out")


def long_form(suites: Any) -> Any:
    """Return suites with each as keys and values, and with the file of the package's own items for `builtin`."""
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
        raise RecipeError(f"suites.{name}: there are no built-in items of that name", hint=f"there are {known}")
    return {**values, "items": file}


Suites = Annotated[dict[str, Suite], BeforeValidator(long_form)]


class Endpoint(BaseModel):
    """A server that answers for an arm."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description="the model's name there")
    address: str = Field(description="any OpenAI-compatible address, such as http://localhost:8000/v1")
    key_variable: str = Field("", description="environment variable that holds the key")
    concurrency: int = Field(8, ge=1, description="requests under way at once")


class Judge(Endpoint):
    """A model that compares the baked replies with the prompted ones; the verdict does not look at it."""

    rubric: RecipeText | None = Field(
        None, description="file that says what a good reply is; the judge writes one if left out"
    )
    max_tokens: int = Field(512, ge=16, description="longest answer of the judge, its rubric among them")


class Standard(BaseModel):
    """Tasks that lm-evaluation-harness ships, on base and baked; their data comes from the hub or its cache."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: list[str] = Field(min_length=1, description="names that the harness knows: gsm8k, ifeval, hellaswag, ...")
    limit: int | None = Field(50, ge=1, description="documents of each task; all of them if null")
    include: RecipeFolder | None = Field(None, description="folder with task files of your own")


class EvaluateConfig(StageConfig):
    """The arms on held-out items, and the gates that decide."""

    model: ModelReference = Field(description="base model: embedded:<name>, a folder, or a hub id")
    full_prompt: RecipeText = Field(description="file with the full prompt, the system turn of the prompted arms")
    short_prompt: str = Field(description="the system turn of the arm `baked`")
    suites: Suites = Field(description="held-out items by suite: a JSONL file, or `items`, `size`, `metrics`")
    checks: Checks = Field({}, description="the dataset's checks, for the metric `accepted`")
    arms: list[Arm] = Field(["base", "prompted", "baked", "baked_prompted"], description="ways to serve to compare")
    endpoints: dict[Arm, Endpoint] = Field({}, description="servers that answer for an arm, `reference` among them")
    judge: Judge | None = Field(None, description="a model that compares `baked` with `prompted`; none if left out")
    metrics: list[str] = Field(["asks", "tells", "leaks", "on_topic"], description="what is measured of each reply")
    standard: Standard | None = Field(None, description="tasks that the harness ships, on base and baked; none if null")
    trained_families: list[str] = Field([], description="families of attacks that the training data has too")
    neutral: RecipeFile | None = Field(
        BUILTIN / "neutral.jsonl", description="texts on which the adapter should change nothing (KL to the base)"
    )
    economics: bool = Field(True, description="measure what a request takes, prompted and baked, cold and warm")
    max_tokens: int = Field(64, ge=1, description="longest reply in tokens; a reply is greedy")
    batch_size: int = Field(128, ge=1, description="replies made at once")
    limit: int | None = Field(None, ge=1, description="only the first so many items of each suite (for a trial)")
    all_items: bool = Field(False, description="take every item of every suite, whatever its size")
    margin: float = Field(0.05, ge=0, lt=1, description="a difference from the prompted arm that does not matter")
    seed: int = Field(5, description="decides which items a suite with a size takes")
    gates: list[Gate] = Field([], description="all must be met for the verdict `ship`")

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
            raise ValueError("judge: it compares the arms 'prompted' and 'baked', which `arms` must name")
        return self

    def metrics_of(self, suite: str) -> list[str]:
        """Return the metrics of a suite."""
        return self.suites[suite].metrics or self.metrics
