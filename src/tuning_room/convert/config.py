"""The settings of the convert stage, and its result."""

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
        "if they are installed and by rules otherwise",
    )
    artifacts: RecipePath | None = Field(
        default=None,
        description="folder with Docling's models; if unset, DOCLING_ARTIFACTS_PATH and the hub's cache are searched",
    )
    max_chunk_characters: int = Field(
        default=2000, ge=200, description="longest chunk, in characters; a single paragraph or table is never split"
    )
    ocr: bool = Field(
        default=True, description="recognise the text of images, and of the pages of a PDF that have none"
    )
    on_error: Literal["fail", "skip"] = Field(
        default="fail",
        description="what a file that cannot be converted does: it fails the stage once the others are done, "
        "or is skipped and listed in the result",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        description="processes that convert in parallel; if unset, as many as pay off, at most one a core",
    )
    timeout: int = Field(
        default=1800,
        ge=1,
        description="time limit for a PDF, an image or a large file, in seconds; past it, its process is killed and "
        "the file fails",
    )
    max_file_mb: int = Field(default=200, ge=1, description="largest file that is read, in megabytes")
    max_text_mb: int = Field(
        default=10, ge=1, description="largest file of text (md, txt, html, csv, adoc, tex) that is read, in megabytes"
    )
    max_unpacked_mb: int = Field(
        default=500, ge=1, description="largest size that a DOCX, PPTX or XLSX may unpack to, in megabytes"
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
    """What was found in one document; seconds are wall time, layout is '' for anything but a PDF.

    `left_out` says which words are set apart on purpose, `missing` which others of those that a person sees in the
    file are not in its markdown, or in its chunks: a phrase for each kind.
    """

    name: str
    pages: int
    chunks: int
    tables: int
    headings: int
    list_items: int
    seconds: float
    layout: Literal["", "rules", "models"] = ""
    left_out: list[str] = Field(default_factory=list)
    missing: list[str] = Field(default_factory=list)


class ConvertResult(StageResult):
    """What was read and what was found; pages count only where a format has pages.

    `reused` of the documents had been converted before. `warnings` name the files of which words are missing.
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
    warnings: list[str] = Field(default_factory=list)
