"""What has been converted already: a folder for each document, named by all that its content depends on."""

import hashlib
import json
import shutil
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from tuning_room.convert.config import ConvertConfig
from tuning_room.convert.sources import Source, Task
from tuning_room.errors import DocumentError
from tuning_room.files import digest
from tuning_room.workspace import installed_versions

MARKDOWN, DOCLING, CHUNKS, REPORT = "document.md", "document.json", "chunks.jsonl", "report.json"
# What decides about failing and speed, and nothing about a document's content.
NOT_CONTENT = {"documents", "artifacts", "on_error", "workers", "timeout"}
PACKAGES = ("tuning-room", "docling-slim", "docling-core", "docling-parse", "pypdfium2", "rapidocr", "onnxruntime")


class Conversions:
    """The converted documents below a folder; `layout` and `models` say how PDFs are read on this machine."""

    def __init__(self, root: Path, config: ConvertConfig, *, layout: str, models: Path | None) -> None:
        self.root = root
        self._config = config
        self._layout = layout
        self._models = models

    def task(self, source: Source) -> Task:
        """Return where a document's conversion belongs; DocumentError for a file that cannot be read."""
        try:
            content = digest(source.path)
        except OSError as error:
            raise DocumentError(
                f"{source.path}: cannot be read ({error.strerror})", hint="see who may read the file"
            ) from error
        parts = [source.name, source.format, content, self._way]
        return Task(source, self.root / hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32], content)

    @cached_property
    def _way(self) -> str:
        """Everything but the document itself that its conversion depends on, our own code too."""
        knobs = self._config.model_dump(mode="json", exclude=NOT_CONTENT)
        models = _listing(self._models) if self._layout == "models" else []
        parts = [knobs, self._layout, models, installed_versions(PACKAGES), digest(Path(__file__).parent)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def keep_only(self, tasks: Iterable[Task]) -> None:
        """Delete every conversion but these."""
        wanted = {task.folder.name for task in tasks}
        for folder in [path for path in self.root.glob("*") if path.name not in wanted]:
            shutil.rmtree(folder, ignore_errors=True)


def _listing(models: Path | None) -> list[tuple[str, int]]:
    # Names and sizes: the files hold gigabytes, and a new version of a model has a new name.
    files = sorted(path for path in models.rglob("*") if path.is_file()) if models else []
    return [(path.as_posix(), path.stat().st_size) for path in files]
