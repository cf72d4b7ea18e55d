"""What an adapter's folder says of itself: `tuning_room.json`, written by training and read by every later stage."""

from operator import not_
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field, ValidationError

from tuning_room.errors import AdapterMismatchError, DataError, MissingInputError
from tuning_room.files import digest, digest_of
from tuning_room.models import LINEAGE, SETTINGS, WEIGHTS
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
    """Where an adapter comes from; digests are sha256 in hex: of the adapter, its chat template, its training rows.

    That of the adapter is what `adapter_digest` makes of its weights and its configuration.

    Fields that another version wrote are kept, so that a merge passes them on.
    """

    model_config = ConfigDict(extra="allow")

    recipe: str = Field(min_length=1)
    base_model: str
    short_prompt: str = ""
    adapter_digest: str = Field(pattern=SHA256)
    template_digest: str = Field(pattern=SHA256)
    train_digest: str = ""
    # Of probes.json, which says what the adapter was seen to do; empty for an adapter from before there were probes.
    probes_digest: str = Field("", exclude_if=not_)
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
    """Return `<recipe>-<first 8 hex digits of the adapter's digest>`.

    The name changes with the adapter: vLLM may answer from the prefix cache of an adapter that had the same name.
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


def adapter_digest(folder: Path) -> str:
    """Return the sha256 of what an adapter does: its weights and its configuration; MissingInputError without them.

    The configuration counts since it scales the weights (`lora_alpha`) and says where they belong.
    """
    files = [folder / SETTINGS, folder / WEIGHTS]
    for file in files:
        if not file.is_file():
            raise MissingInputError(f"{folder}: no {file.name}", hint="run 'tuning-room train' first")
    return digest_of(folder, files)


def trained_lineage(folder: Path) -> AdapterLineage:
    """Return an adapter's lineage if the adapter is the one that was trained.

    Raises AdapterMismatchError if it is not, MissingInputError if a part of it is missing, and read_lineage's errors.
    """
    found = adapter_digest(folder)
    lineage = read_lineage(folder)
    if found == lineage.adapter_digest:
        return lineage
    if digest(folder / WEIGHTS) == lineage.adapter_digest:
        raise AdapterMismatchError(
            f"{folder / LINEAGE}: from a version that held the weights alone to their digest, not {SETTINGS}",
            hint="run 'tuning-room train --force'",
        )
    raise AdapterMismatchError(
        f"{folder}: {WEIGHTS} and {SETTINGS} are not those that {LINEAGE} names",
        hint="copy the folder again, or run 'tuning-room train'",
    )


def verify_adapter(folder: Path, tokenizer: "PreTrainedTokenizerBase") -> AdapterLineage:
    """Return an adapter's lineage if it is the one that was trained, under the tokenizer's chat template.

    Raises AdapterMismatchError if not, and trained_lineage's errors.
    """
    lineage = trained_lineage(folder)
    if template_digest(tokenizer) != lineage.template_digest:
        raise AdapterMismatchError(
            f"{folder}: the adapter was trained under another chat template than this model's",
            hint=f"use it with '{lineage.base_model}' as it was when it was trained, or train again",
        )
    return lineage


def write_lineage(folder: Path, lineage: AdapterLineage) -> None:
    """Write the lineage into an adapter's folder, all or nothing."""
    write_json(folder / LINEAGE, lineage.model_dump(mode="json"))
