"""What is installed for reading documents: Docling's models, the packages that run them, and text recognition.

Knows nothing of Docling itself: this is asked before anything heavy is imported.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from tuning_room.convert.config import ConvertConfig
from tuning_room.errors import MissingPrerequisiteError, ModelNotFoundError

PdfLayout = Literal["rules", "models"]
LAYOUT_MODEL = "docling-project/docling-layout-heron"
TABLE_MODEL = "docling-project/docling-models"
# What Docling imports to run these models; its slim packages come without.
MODEL_PACKAGES = ("docling_ibm_models", "torchvision", "transformers")
OCR_PACKAGES = ("rapidocr", "onnxruntime", "cv2")
DOWNLOAD_HINT = "get them with 'docling-tools models download layout tableformer', or set 'layout: rules'"


def pdf_layout(config: ConvertConfig) -> PdfLayout:
    """Return how PDFs will be read.

    Raises MissingPrerequisiteError or ModelNotFoundError if models are asked for and cannot be run.
    """
    if config.artifacts and not config.artifacts.is_dir():
        raise ModelNotFoundError(f"{config.artifacts}: no such folder", hint=f"'artifacts': {DOWNLOAD_HINT}")
    if config.layout == "rules":
        return "rules"
    missing = [package for package in MODEL_PACKAGES if find_spec(package) is None]
    found = _has_models(config.artifacts)
    if config.layout == "auto":
        return "models" if found and not missing else "rules"
    if missing:
        raise MissingPrerequisiteError(
            f"reading PDFs with models needs {', '.join(missing)}", hint="pip install docling, or set 'layout: rules'"
        )
    if not found:
        raise ModelNotFoundError("Docling's layout models are not installed", hint=DOWNLOAD_HINT)
    return "models"


def models_folder(artifacts: Path | None) -> Path | None:
    """Return the folder that Docling's models should be in; None if that is the hub's cache."""
    folder = artifacts or os.environ.get("DOCLING_ARTIFACTS_PATH")
    return Path(folder) if folder else None


def _has_models(artifacts: Path | None) -> bool:
    names = [model.replace("/", "--") for model in (LAYOUT_MODEL, TABLE_MODEL)]
    if folder := models_folder(artifacts):
        return all((folder / name).is_dir() for name in names)
    from huggingface_hub.constants import HF_HUB_CACHE

    return all(any(Path(HF_HUB_CACHE, f"models--{name}", "snapshots").glob("*")) for name in names)


def recognises(config: ConvertConfig) -> bool:
    """Say whether text is recognised: it is wanted, and what it needs is installed."""
    return config.ocr and all(find_spec(package) for package in OCR_PACKAGES)
