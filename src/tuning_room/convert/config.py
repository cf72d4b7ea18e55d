"""What the convert stage is told to do, and what it has to say of its work."""

from typing import Literal

from pydantic import Field

from tuning_room.paths import RecipePath
from tuning_room.workspace import StageConfig, StageResult

Layout = Literal["auto", "rules", "models"]


class ConvertConfig(StageConfig):
    """Which documents are converted, and how."""

    documents: RecipePath | None = Field(None, description="folder with the documents; its subfolders are read too")
    layout: Layout = Field(
        default="auto",
        description="how the structure of a PDF is found: by Docling's models, by rules, or (auto) by the models "
        "if they are on this machine and by rules if not",
    )
    artifacts: RecipePath | None = Field(
        default=None,
        description="folder with Docling's models; without it DOCLING_ARTIFACTS_PATH and the hub's cache are searched",
    )
    max_chunk_characters: int = Field(
        default=2000, ge=200, description="longest chunk, in characters; a single paragraph or table is never cut"
    )
    ocr: bool = Field(
        default=True, description="recognise the text of images, and of the pages of a PDF that have none"
    )
    on_error: Literal["fail", "skip"] = Field(
        default="fail",
        description="a file that cannot be converted: fail the stage once the others are done, "
        "or skip it and say so in the result",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        description="processes that convert at once; as many as pay off, up to the cores, if not set",
    )
    timeout: int = Field(
        default=1800,
        ge=1,
        description="longest that one PDF or image may take, in seconds; then its process is ended, and it is an error",
    )
    max_file_mb: int = Field(default=200, ge=1, description="larger files are refused, in megabytes")
    max_unpacked_mb: int = Field(
        default=500, ge=1, description="DOCX, PPTX and XLSX that unpack to more are refused, in megabytes"
    )


class SkippedFile(StageResult):
    """A file of the documents folder that was not converted, and why."""

    name: str
    reason: str


class FailedDocument(StageResult):
    """A document that cannot be converted: what is wrong with it, and what to do about it."""

    name: str
    error: str


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
    """What was read and what came of it; pages count only where a format has pages.

    `reused` of the documents had been converted before.
    """

    documents: int
    pages: int
    chunks: int
    tables: int
    headings: int
    list_items: int
    reused: int = 0
    files: list[ConvertedDocument] = Field(default_factory=list)
    skipped: list[SkippedFile] = Field(default_factory=list)
    failed: list[FailedDocument] = Field(default_factory=list)
