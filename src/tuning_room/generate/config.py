"""The configuration of the generate stage."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from tuning_room.paths import Checks, ModelReference, RecipeFile, RecipePath, RecipeText, model_beside
from tuning_room.workspace import StageConfig

MOST_ROWS = 1_000_000  # a thousand times what a behaviour takes; each is drawn, checked and kept
MOST_TURNS = 8  # exchanges: past that a simulated user repeats itself


class TeacherConfig(BaseModel):
    """Who answers under the full prompt: `rules`, a model in this process, or any OpenAI-compatible endpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["rules", "endpoint", "local"] = Field(
        "rules", description="rules (offline), endpoint, or local (a model in this process)"
    )
    model: str = Field("", description="endpoint: the model's name there; local: a model, the recipe's own if empty")
    address: str = Field("", description="endpoint: its address, ending in /v1")
    key_variable: str = Field("OPENAI_API_KEY", description="endpoint: environment variable that holds the key")
    concurrency: int = Field(8, ge=1, description="endpoint: number of concurrent requests")
    temperature: float = Field(0.7, ge=0, description="endpoint, local: 0 always gives the same reply")
    max_tokens: int = Field(200, ge=1, description="endpoint, local: longest reply in tokens, reasoning included")
    reasoning_tokens: int = Field(
        4096, ge=0, description="endpoint, local: tokens a reply gets on top once the teacher is seen to reason"
    )
    timeout: float = Field(120, gt=0, description="endpoint: timeout of one attempt in seconds, whole answer included")
    retries: int = Field(5, ge=0, description="endpoint: retries after 429, 5xx, timeouts and dropped connections")
    requests_per_minute: float | None = Field(None, gt=0, description="endpoint: limit on requests a minute")
    tokens_per_minute: float | None = Field(None, gt=0, description="endpoint: limit on tokens a minute, in and out")
    max_requests: int | None = Field(None, ge=1, description="budget of this run folder in requests")
    max_tokens_total: int | None = Field(None, ge=1, description="budget of this run folder in tokens, in and out")
    max_cost: float | None = Field(None, gt=0, description="budget of this run folder in money; needs the prices")
    prompt_price: float = Field(0.0, ge=0, description="money for a million tokens in")
    reply_price: float = Field(0.0, ge=0, description="money for a million tokens out")
    tokenizer: ModelReference = Field(
        "", description="endpoint: model whose tokenizer counts for --dry-run; an estimate if empty"
    )

    @field_validator("model")
    @classmethod
    def _local_model(cls, model: str, info: ValidationInfo) -> str:
        # An endpoint knows its model by any name, ./model among them.
        return model_beside(model, info) if info.data.get("kind") == "local" else model

    @model_validator(mode="after")
    def _money_needs_prices(self) -> Self:
        if self.max_cost is not None and not (self.prompt_price or self.reply_price):
            raise ValueError("max_cost needs prompt_price and reply_price, the prices of a million tokens")
        return self

    @property
    def has_budget(self) -> bool:
        """Whether there is any limit on what may be spent."""
        return any(bound is not None for bound in (self.max_requests, self.max_tokens_total, self.max_cost))


class GenerateConfig(StageConfig):
    """Candidate dialogues from the documents, the rules and the example dialogues."""

    model: ModelReference = Field("", exclude=True, description="the recipe's base model, for a teacher of kind local")
    full_prompt: RecipeText = Field(
        description="file with the full prompt; the teacher sees it, the baked model does not"
    )
    seeds: RecipePath | None = Field(None, description="JSONL of example dialogues, all of which become candidates")
    rules: RecipePath | None = Field(
        None, description="folder with families/, situations.yaml and, optionally, notes.yaml"
    )
    columns: RecipePath | None = Field(None, description="YAML of personas and what else differs from row to row")
    flows: RecipePath | None = Field(None, description="folder with flows that take the place of the shipped ones")
    requirements: RecipeFile | None = Field(None, description="YAML file of what the full prompt asks")
    language: str = Field("", description="what replies are in (ISO 639-1), for the rules that read numbers")
    checks: Checks = Field({}, description="the dataset's checks, by which replies are ranked")
    teacher: TeacherConfig = Field(TeacherConfig(), description="who answers")
    families: list[str] = Field([], description="names of the families to draw from; all of them if empty")
    rows: int = Field(800, ge=0, le=MOST_ROWS, description="dialogues drawn from the problem families")
    first_reply_share: float = Field(
        0.0, ge=0, le=1, description="how often a family's first reply is drawn; the others share the rest"
    )
    notes_per_problem: int = Field(4, ge=0, description="guidance notes per problem, each of which becomes a dialogue")
    rows_per_chunk: int = Field(2, ge=0, description="teacher: dialogues about each chunk of the documents")
    prompt_rows: int = Field(
        0,
        ge=0,
        description="teacher: dialogues about the requirements, those with few rows first, or about the prompt's lines",
    )
    grounded: bool = Field(
        False, description="teacher: answer with the passage at hand, and state no number or name from elsewhere"
    )
    turns: list[int] = Field(
        [1, 1], min_length=2, max_length=2, description="teacher: fewest and most exchanges of a dialogue, 1 to 8"
    )
    candidates_per_query: int = Field(
        1, ge=1, le=16, description="teacher: replies to each message, of which the best by the checks is kept"
    )
    critique: bool = Field(False, description="teacher: criticise and rewrite each reply; two more calls per reply")
    judge: bool = Field(
        False, description="teacher: score each reply by a rubric made from the full prompt; one more call per reply"
    )
    follow_up_share: float = Field(0.2, ge=0, le=1, description="share of family dialogues with a second exchange")
    step_reply: str = Field(
        "", description="a template around {step} that replies to every step of a second exchange; '': the family's own"
    )
    on_error: Literal["stop", "skip"] = Field(
        "stop", description="rows of seeds that cannot be used: stop with a list of them all, or skip and count them"
    )
    seed: int = Field(11, description="random seed of every draw")

    @property
    def wants_json(self) -> bool:
        """Whether the dataset's checks let only JSON through."""
        return "json_schema" in self.checks

    @model_validator(mode="before")
    @classmethod
    def _teach_with_the_base_model(cls, values: dict[str, Any]) -> dict[str, Any]:
        teacher = values.get("teacher")
        if isinstance(teacher, dict) and teacher.get("kind") == "local" and not teacher.get("model"):
            return {**values, "teacher": {**teacher, "model": values.get("model", "")}}
        return values

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Self:
        fewest, most = self.turns
        if not 1 <= fewest <= most <= MOST_TURNS:
            raise ValueError(f"turns: [fewest, most] must be in order and from 1 to {MOST_TURNS}")
        if self.candidates_per_query > 1 and self.teacher.kind != "rules" and self.teacher.temperature == 0:
            raise ValueError("candidates_per_query: at teacher.temperature 0 all replies are the same; raise it")
        return self
