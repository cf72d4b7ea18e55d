"""What an adapter's folder says of it, and whether it belongs to the model that is to serve it."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tuning_room.engines.naming import adapter_name
from tuning_room.errors import AdapterMismatchError, DataError, MissingInputError
from tuning_room.files import digest
from tuning_room.models import LINEAGE, WEIGHTS
from tuning_room.records import read_json
from tuning_room.rendering import template_digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SETTINGS = "adapter_config.json"
SHA256 = r"^[0-9a-f]{64}$"


class AdapterLineage(BaseModel):
    """The part of tuning_room.json that serving needs; digests are sha256 in hex."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    recipe: str = Field(min_length=1)
    base_model: str
    short_prompt: str = ""
    adapter_digest: str = Field(pattern=SHA256)
    template_digest: str = Field(pattern=SHA256)

    @property
    def name(self) -> str:
        """Return the name under which the adapter is served."""
        return adapter_name(self.recipe, self.adapter_digest)


def read_lineage(folder: Path) -> AdapterLineage:
    """Return what an adapter's folder says of it; MissingInputError or DataError name the file and the field."""
    path = folder / LINEAGE
    if not (folder / WEIGHTS).is_file():
        raise MissingInputError(f"{folder}: no {WEIGHTS}", hint="run 'tuning-room train' first")
    try:
        return AdapterLineage.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {field}: {first['msg']}", hint="train the adapter again") from None


def verify_adapter(folder: Path, tokenizer: "PreTrainedTokenizerBase") -> AdapterLineage:
    """Return an adapter's lineage if its weights are those that were trained, under the tokenizer's chat template.

    Raises AdapterMismatchError if not, and read_lineage's errors.
    """
    lineage = read_lineage(folder)
    if digest(folder / WEIGHTS) != lineage.adapter_digest:
        raise AdapterMismatchError(
            f"{folder / WEIGHTS}: not the weights that {LINEAGE} names", hint="copy the folder again, or train again"
        )
    if template_digest(tokenizer) != lineage.template_digest:
        raise AdapterMismatchError(
            f"{folder}: the adapter was trained under another chat template than this model's",
            hint=f"serve it with '{lineage.base_model}' as it was when it was trained, or train again",
        )
    return lineage


def adapter_rank(folder: Path) -> int:
    """Return the highest rank of an adapter's layers; DataError if its settings name none."""
    settings = read_json(folder / SETTINGS)
    ranks = [settings.get("r"), *(settings.get("rank_pattern") or {}).values()] if isinstance(settings, dict) else []
    if not ranks or not all(isinstance(rank, int) and rank > 0 for rank in ranks):
        raise DataError(f"{folder / SETTINGS}: r: not a rank", hint="train the adapter again")
    return int(max(ranks))
