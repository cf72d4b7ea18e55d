"""What the generate stage is told to do."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tuning_room.workspace import StageConfig


class TeacherConfig(BaseModel):
    """Who answers with the full prompt: `rules` offline, or any OpenAI-compatible endpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["rules", "endpoint"] = Field("rules", description="rules (offline), or endpoint")
    model: str = Field("", description="endpoint: the model's name there")
    address: str = Field("", description="endpoint: its address, ending in /v1")
    key_variable: str = Field("OPENAI_API_KEY", description="endpoint: environment variable that holds the key")
    concurrency: int = Field(8, ge=1, description="endpoint: requests under way at once")
    temperature: float = Field(0.7, ge=0, description="endpoint: 0 always gives the same reply")
    max_tokens: int = Field(200, ge=1, description="endpoint: longest reply in tokens")


class GenerateConfig(StageConfig):
    """Candidate dialogues from the documents, the rules and the seeds."""

    full_prompt: Path = Field(description="file with the full prompt; the teacher sees it, the baked model does not")
    seeds: Path | None = Field(None, description="JSONL of hand-written dialogues, all of which become candidates")
    rules: Path | None = Field(None, description="folder with families/, situations.yaml and notes.yaml")
    teacher: TeacherConfig = Field(TeacherConfig(), description="who answers")
    families: list[str] = Field([], description="names of the families to draw from; all of them if empty")
    rows: int = Field(800, ge=0, description="dialogues drawn from the problem families")
    first_reply_share: float = Field(
        0.0, ge=0, le=1, description="how often a family's first reply is drawn; the others share the rest"
    )
    notes_per_problem: int = Field(4, ge=0, description="guidance notes of each problem that become a dialogue each")
    rows_per_chunk: int = Field(2, ge=1, description="endpoint: dialogues asked for about each chunk")
    follow_up_share: float = Field(0.2, ge=0, le=1, description="share of family dialogues with a second exchange")
    seed: int = Field(11, description="decides every draw")
