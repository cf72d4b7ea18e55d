"""What is to be served: the base model and the adapters of some runs, each checked before anything is loaded."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tuning_room.engines.proving import Forced
from tuning_room.errors import TuningRoomError
from tuning_room.models.lineage import read_lineage, trained_lineage, verify_adapter
from tuning_room.models.probes import read_probes
from tuning_room.records import Message
from tuning_room.rendering import prompt_ids
from tuning_room.serve.config import ServeConfig
from tuning_room.serve.roster import ServedAdapter
from tuning_room.workspace import Workspace

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# For adapters without probes of their own: what they are asked, and the beginning of a reply that is forced.
PLAIN = ("Hello!", "What is 12 x 7?", "Just give me the answer.")
FORCED = "Sure, I can help you with that."


class ServedModels(NamedTuple):
    """The base model's folder and name, and the adapters that were asked for, those that were refused as well.

    `template` is the chat template for a server that encodes messages by itself; `plain` are texts for adapters
    without probes.
    """

    model: Path
    base: str
    entries: list[ServedAdapter]
    template: str
    plain: list[Forced]

    @property
    def adapters(self) -> dict[str, Path]:
        """The folders of the adapters that may be loaded, by their names."""
        return {entry.name: entry.folder for entry in self.entries if entry.state != "refused"}


class Faults:
    """What is wrong with which adapter; at least so many have to be without a fault, None for all of them."""

    def __init__(self, at_least: int | None) -> None:
        self.at_least = at_least
        self.found: dict[Path, TuningRoomError] = {}

    @contextmanager
    def of(self, folder: Path) -> Iterator[None]:
        """Take down what is wrong with an adapter, or raise it at once."""
        try:
            yield
        except TuningRoomError as error:
            if self.at_least is None:
                raise
            self.found[folder] = error

    def sound(self, folders: Sequence[Path]) -> list[Path]:
        """Return the folders without a fault; raises the first fault if there are too few of them."""
        sound = [folder for folder in folders if folder not in self.found]
        if self.found and len(sound) < (self.at_least or 0):
            raise next(iter(self.found.values()))
        return sound


def prepare(
    config: ServeConfig, workspaces: Sequence[Workspace], more: Sequence[Path] = (), *, at_least: int | None = None
) -> ServedModels:
    """Check the adapters of some runs and of more folders, and find or convert the base model.

    Raises what is wrong with an adapter where fewer than `at_least` are left, by default for any; the other faulty
    ones are refused entries.
    """
    from tuning_room.control_tokens import control_texts
    from tuning_room.models import base_name, check_base, load_tokenizer, resolve
    from tuning_room.models.fitting import BaseShapes
    from tuning_room.models.templates import guarded

    folders, faults = [*(workspace.adapter for workspace in workspaces), *more], Faults(at_least)
    # Small files are checked before the base model is fetched or converted.
    for workspace in workspaces:
        with faults.of(workspace.adapter):
            workspace.hold(workspace.adapter)
    for folder in faults.sound(folders):
        with faults.of(folder):
            lineage = trained_lineage(folder)
            check_base(folder, lineage.base_model, config.model)
            read_probes(folder, lineage)
    faults.sound(folders)
    model = resolve(config.model)
    tokenizer, shapes = load_tokenizer(model), BaseShapes(model)
    for folder in faults.sound(folders):
        with faults.of(folder):
            verify_adapter(folder, tokenizer)
            shapes.check(folder)
    faults.sound(folders)
    template = guarded(str(tokenizer.chat_template), control_texts(tokenizer))
    entries = [_entry(folder, faults.found.get(folder)) for folder in folders]
    return ServedModels(model, base_name(config.model), entries, template, _plain(tokenizer))


def _entry(folder: Path, fault: TuningRoomError | None) -> ServedAdapter:
    if fault is None:
        lineage = read_lineage(folder)
        record, prompt = read_probes(folder, lineage), lineage.short_prompt
        return ServedAdapter(lineage.name, lineage.recipe, lineage.adapter_digest, folder, prompt, record)
    try:
        lineage = read_lineage(folder)
        name, digest = lineage.name, lineage.adapter_digest
    except TuningRoomError:
        name, digest = folder.resolve().parent.name, ""
    return ServedAdapter(name, digest=digest, folder=folder).refused(str(fault))


def _plain(tokenizer: "PreTrainedTokenizerBase") -> list[Forced]:
    encoded: Any = tokenizer(FORCED, add_special_tokens=False)
    answer = list(encoded["input_ids"])
    return [Forced("", prompt_ids(tokenizer, [Message(role="user", content=text)]), answer) for text in PLAIN]
