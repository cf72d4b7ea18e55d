"""The configuration and the result of the dataset stage."""

import re
from importlib.util import find_spec
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tuning_room.paths import Checks, ModelReference, RecipeFile, RecipePath
from tuning_room.workspace import StageConfig, StageResult

PiiKind = Literal["email", "iban", "card", "ip", "national_id", "phone", "student_id"]
PII_KINDS: tuple[PiiKind, ...] = get_args(PiiKind)
STUDENT_IDS = [
    r"(?i)\b(?:student|matriculation|matric|enrol?ment)\s*(?:id|no|nr|number)\W{0,3}(?:is\s+)?"
    r"(?P<id>[a-z]{0,3}-?\d{5,10})\b",
    r"\b(?P<id>[A-Z]{1,2}\d{7,9})\b",
]


def _regions() -> set[str]:
    """Return the countries that the library knows, none where it is not installed: other stages do without it."""
    if find_spec("phonenumbers") is None:
        return set()
    from phonenumbers import SUPPORTED_REGIONS

    return set(SUPPORTED_REGIONS)


class Balance(BaseModel):
    """How much of the dataset one topic, situation and the like may take up."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    by: list[Literal["topic", "situation", "source", "group"]] = Field(
        ["topic"], min_length=1, description="fields of a row that are balanced"
    )
    largest_share: float | None = Field(None, gt=0, le=1, description="largest share of the rows with one value")
    most: int | None = Field(None, ge=1, description="most rows with one value")


class Pii(BaseModel):
    """Personal data that is masked in every row."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kinds: list[PiiKind] = Field([*PII_KINDS], description="what is masked; nothing if empty")
    region: str = Field("US", description="country of phone numbers without a country code and of ids (ISO 3166-1)")
    student_ids: list[str] | None = Field(
        None,
        description="regular expressions; their group `id`, or all they find, is masked; defaults: docs/selection.md",
    )

    @field_validator("region")
    @classmethod
    def _is_known(cls, region: str) -> str:
        # Not looked up for the default, so that reading most recipes stays cheap.
        known = _regions() if region != "US" else set()
        if known and region not in known:
            near = {"UK": "GB", "EL": "GR", "EN": "GB"}.get(region.upper(), region.upper())
            meant = f"; '{near}' is" if near in known else ""
            raise ValueError(
                f"'{region}' is no country whose phone numbers are known{meant} (ISO 3166-1, two capitals)"
            )
        return region

    @field_validator("student_ids")
    @classmethod
    def _compile(cls, patterns: list[str] | None) -> list[str] | None:
        for pattern in patterns or []:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"'{pattern}' is not a regular expression ({error})") from None
        return patterns


class DatasetConfig(StageConfig):
    """Which candidates become training data."""

    recipe: str = Field(description="the recipe's name, for the dataset's card")
    short_prompt: str = Field(description="system turn of every row: the prompt that remains after baking")
    model: ModelReference = Field("", description="the model whose tokens are counted; nothing else depends on it")
    items: list[RecipeFile] = Field([], description="held-out evaluation items, which must not be in the training data")
    review: RecipePath | None = Field(None, description="JSONL of what people decided about rows, by 'dataset review'")
    requirements: RecipeFile | None = Field(None, description="YAML file of what the full prompt asks")
    language: str = Field("", description="what replies are in (ISO 639-1), for the rules that read numbers")
    checks: Checks = Field({}, description="checks that every reply must pass, with parameters")
    near_duplicate: float = Field(0.9, gt=0, le=1, description="Jaccard similarity from which a row is a duplicate")
    semantic_duplicate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="cosine similarity from which a row with the same numbers is a duplicate; off if not set",
    )
    embedding_model: ModelReference = Field(
        "embedded:all-minilm-l6-v2",
        description="model that embeds rows for that: the packaged one, a folder with safetensors, or a hub id",
    )
    overlap: int = Field(
        8, ge=3, description="length in words of a run that a dialogue may not share with a held-out item"
    )
    valid_fraction: float = Field(0.05, ge=0, lt=0.5, description="share of the problems that is kept for validation")
    split_by: Literal["group", "problem"] = Field(
        "problem",
        description="what is never split: a group (problem, section, example), or all groups that share a problem",
    )
    minimum: int = Field(20, ge=1, description="fewer accepted dialogues than this are an error")
    seed: int = Field(3, description="random seed that decides which problems are kept for validation")
    pii: Pii = Field(default_factory=Pii, description="personal data that is masked in every row")
    rows_per_requirement: int = Field(24, ge=0, description="a requirement that fewer rows teach is warned about")
    balance: Balance = Field(default_factory=Balance, description="how much one topic or situation may take up")


class DatasetResult(StageResult):
    """The number of rows, and of those rejected, by reason; `requirements` counts the rows that teach each."""

    accepted: int
    train: int
    valid: int
    rejected: dict[str, int]
    topics: dict[str, int]
    situations: dict[str, int]
    masked: dict[str, int] = {}
    requirements: dict[str, int] = {}
    warnings: list[str] = []
