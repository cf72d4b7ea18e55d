"""What an adapter's folder says of itself: `tuning_room.json`, written by training and read by every later stage."""

from operator import not_
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field, ValidationError

from tuning_room.errors import AdapterMismatchError, DataError, MissingInputError
from tuning_room.files import digest
from tuning_room.models import LINEAGE, WEIGHTS
from tuning_room.records import Record, read_json, write_json
from tuning_room.rendering import template_digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHA256 = r"^[0-9a-f]{64}$"


class Merged(Record):
    """How a merged model compares with base and adapter side by side.

    Over the logits after `tokens` tokens: the largest difference, the most that the adapter moves any of them, and the
    share of tokens after which both models choose the same one greedily.
    """

    tokens: int
    largest_difference: float
    adapter_moves: float
    same_choices: float


class AdapterLineage(Record):
    """Where an adapter comes from; digests are sha256 in hex: of its weights, its chat template, its training rows.

    Fields that another version wrote are kept, so that a merge passes them on.
    """

    model_config = ConfigDict(extra="allow")

    recipe: str = Field(min_length=1)
    base_model: str
    short_prompt: str = ""
    adapter_digest: str = Field(pattern=SHA256)
    template_digest: str = Field(pattern=SHA256)
    train_digest: str = ""
    config: dict[str, Any] = {}
    versions: dict[str, str] = {}
    # Only in the folder of a merged model: how it compares, and which files the merge wrote beside this one.
    merged: Merged | None = Field(None, exclude_if=lambda merged: merged is None)
    files: list[str] = Field([], exclude_if=not_)

    @property
    def name(self) -> str:
        """Return the name under which the adapter is served and released."""
        return adapter_name(self.recipe, self.adapter_digest)


def adapter_name(recipe: str, digest: str) -> str:
    """Return `<recipe>-<first 8 hex digits of the sha256 of the adapter's weights>`.

    The name changes with the weights: vLLM may answer from the prefix cache of an adapter that had the same name.
    """
    return f"{recipe}-{digest[:8]}"


def read_lineage(folder: Path) -> AdapterLineage:
    """Return the lineage in an adapter's folder; MissingInputError or DataError name the file and the field."""
    path = folder / LINEAGE
    try:
        return AdapterLineage.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ": ".join([str(path), ".".join(str(part) for part in first["loc"])]).removesuffix(": ")
        raise DataError(f"{place}: {first['msg']}", hint="train the adapter again") from None


def trained_lineage(folder: Path) -> AdapterLineage:
    """Return the lineage of an adapter whose weights are there too; MissingInputError if they are not."""
    if not (folder / WEIGHTS).is_file():
        raise MissingInputError(f"{folder}: no {WEIGHTS}", hint="run 'tuning-room train' first")
    return read_lineage(folder)


def verify_adapter(folder: Path, tokenizer: "PreTrainedTokenizerBase") -> AdapterLineage:
    """Return an adapter's lineage if its weights are those that were trained, under the tokenizer's chat template.

    Raises AdapterMismatchError if not, and trained_lineage's errors.
    """
    lineage = trained_lineage(folder)
    if digest(folder / WEIGHTS) != lineage.adapter_digest:
        raise AdapterMismatchError(
            f"{folder / WEIGHTS}: not the weights that {LINEAGE} names", hint="copy the folder again, or train again"
        )
    if template_digest(tokenizer) != lineage.template_digest:
        raise AdapterMismatchError(
            f"{folder}: the adapter was trained under another chat template than this model's",
            hint=f"use it with '{lineage.base_model}' as it was when it was trained, or train again",
        )
    return lineage


def write_lineage(folder: Path, lineage: AdapterLineage) -> None:
    """Write the lineage into an adapter's folder, all or nothing."""
    write_json(folder / LINEAGE, lineage.model_dump(mode="json"))
