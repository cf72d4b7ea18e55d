"""What an adapter's folder says of it, and whether it belongs to the model that is to serve it."""

from pathlib import Path
from typing import TYPE_CHECKING

from tuning_room.errors import AdapterMismatchError, DataError
from tuning_room.files import digest
from tuning_room.models import LINEAGE, WEIGHTS
from tuning_room.models.lineage import AdapterLineage, trained_lineage
from tuning_room.records import read_json
from tuning_room.rendering import template_digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SETTINGS = "adapter_config.json"


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
