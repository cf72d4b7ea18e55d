"""What the convert stage is told to do, and what it has to say of its work."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from tuning_room.workspace import StageConfig, StageResult

Layout = Literal["auto", "rules", "models"]


class ConvertConfig(StageConfig):
    """Which documents are converted, and how."""

    documents: Path | None = Field(None, description="folder with the documents; its subfolders are read too")
    layout: Layout = Field(
        default="auto",
        description="how the structure of a PDF is found: by Docling's models, by rules, or (auto) by the models "
        "if they are on this machine and by rules if not",
    )
    artifacts: Path | None = Field(
        default=None,
        description="folder with Docling's models; without it DOCLING_ARTIFACTS_PATH and the hub's cache are searched",
    )
    max_chunk_characters: int = Field(
        default=2000, ge=200, description="longest chunk, in characters; a single paragraph or table is never cut"
    )


class SkippedFile(StageResult):
    """A file of the documents folder that was not converted, and why."""

    name: str
    reason: str


class ConvertedDocument(StageResult):
    """One document's share of the result; seconds are wall time, layout is '' for anything but a PDF."""

    name: str
    pages: int
    chunks: int
    tables: int
    headings: int
    list_items: int
    seconds: float
    layout: Literal["", "rules", "models"] = ""


class ConvertResult(StageResult):
    """What was read and what came of it; pages count only where a format has pages."""

    documents: int
    pages: int
    chunks: int
    tables: int
    headings: int
    list_items: int
    files: list[ConvertedDocument] = Field(default_factory=list)
    skipped: list[SkippedFile] = Field(default_factory=list)
