"""Running rows through SDG Hub flows: the shipped ones, or a recipe's own in their place."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning_room.errors import RecipeError, StageError, TuningRoomError
from tuning_room.generate.prompts import PromptFile
from tuning_room.records import Role
from tuning_room.yaml_files import read_yaml

if TYPE_CHECKING:
    from tuning_room.generate.cleaning import Writes
    from tuning_room.generate.teacher import Teacher

SHIPPED = Path(__file__).parent / "flows"
# The columns that each flow has to add; a recipe's own flow may add more.
OUTPUTS = {
    "rules": ("messages", "problem", "gold", "topic", "error"),
    "query": ("question",),
    "answer": ("reply",),
    "user": ("question",),
    "rewrite": ("rewritten",),
    "rubric": ("rubric",),
    "judge": ("score", "judgement"),
}
# Whose message a flow writes; what the others write is read, and never taught.
WRITES: dict[str, "Writes"] = {"query": "user", "user": "user", "answer": "assistant", "rewrite": "assistant"}
# A recipe from elsewhere runs no code. Of SDG Hub's blocks, only those that move columns about are allowed.
HARMLESS = {"RenameColumnsBlock", "DuplicateColumnsBlock", "TextConcatBlock", "JSONStructureBlock"}
# The blocks with a prompt file, and whose its last message is.
PROMPTED: dict[str, Role] = {"ChatPromptBlock": "user", "SystemPromptBlock": "system"}
FlowRow = dict[str, Any]
Parameters = dict[str, dict[str, Any]]


class Flows:
    """The flows by name, each a folder with `flow.yaml` and its prompts; a recipe's own take precedence."""

    def __init__(self, own: Path | None = None, teacher: "Teacher | None" = None) -> None:
        self.own = own
        self.teacher = teacher
        # A mistake in the last flow is found before the first one is paid for.
        for folder in _folders(own) if own else []:
            _check_flow(folder / "flow.yaml")

    def run(self, name: str, rows: list[FlowRow], parameters: Parameters | None = None) -> list[FlowRow]:
        """Return the rows with the columns that the flow added, in the same order; RecipeError names a faulty flow."""
        if not rows:
            return []
        _register()
        # SDG Hub refuses identical rows, and two documents may say the same: with a number, no two are identical.
        numbered = [{**row, "row": number} for number, row in enumerate(rows)]
        try:
            with _silent():
                made = self._made(name, numbered, parameters or {})
        except Exception as error:
            raise _own(error, name) from error
        self._check(name, made, len(rows))
        return made

    def _file(self, name: str) -> Path:
        own = self.own / name / "flow.yaml" if self.own else None
        return own if own and own.parent.is_dir() else SHIPPED / name / "flow.yaml"

    def _made(self, name: str, rows: list[FlowRow], parameters: Parameters) -> list[FlowRow]:
        import pandas as pd
        from sdg_hub import Flow

        from tuning_room.generate.blocks import TeacherBlock

        flow = Flow.from_yaml(str(self._file(name)))
        asking = [block for block in flow.blocks if isinstance(block, TeacherBlock)]
        # A block after the last one may rename the column that a flow has to make.
        writing = next((block for block in asking if block.output_cols[0] in OUTPUTS[name]), [None, *asking][-1])
        given = dict(parameters)
        for block in asking:
            writes = WRITES.get(name, "notes") if block is writing else "notes"
            given[block.block_name] = {"teacher": self.teacher, "writes": writes}
        return list(flow.generate(pd.DataFrame(rows), runtime_params=given).to_dict("records"))

    def _check(self, name: str, made: list[FlowRow], count: int) -> None:
        file = self._file(name)
        if [row["row"] for row in made] != list(range(count)):
            raise RecipeError(f"{file}: the flow dropped or reordered rows", hint="mark a row in 'error' instead")
        if missing := [column for column in OUTPUTS[name] if column not in made[0]]:
            raise RecipeError(f"{file}: the flow makes no column '{missing[0]}'", hint="see docs/generate.md")


def _folders(own: Path) -> list[Path]:
    if not own.is_dir():
        raise RecipeError(f"{own}: no such folder", hint="set 'flows' to the folder with your own flows")
    found = sorted(path for path in own.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    if unknown := [path.name for path in found if path.name not in OUTPUTS]:
        raise RecipeError(f"{own}: no flow is called '{unknown[0]}'", hint=f"choose from {', '.join(OUTPUTS)}")
    return found


def _check_flow(file: Path) -> None:
    flow = read_yaml(file)
    blocks = flow.get("blocks") if isinstance(flow, dict) else None
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise RecipeError(f"{file}: needs a list of blocks", hint="see docs/generate.md")
    if not (flow.get("metadata") or {}).get("id"):
        # SDG Hub would write one into the file.
        raise RecipeError(f"{file}: metadata.id is missing", hint="write one in lower-case letters, digits and hyphens")
    _register()
    for block in blocks:
        _check_block(file, block)


def _check_block(file: Path, block: FlowRow) -> None:
    from sdg_hub import BlockRegistry

    kind, config = block.get("block_type"), block.get("block_config") or {}
    allowed = {*BlockRegistry.list_blocks(category="tuning_room"), *HARMLESS}
    if kind not in allowed:
        raise RecipeError(f"{file}: a recipe has no block '{kind}'", hint=f"choose from {', '.join(sorted(allowed))}")
    if kind in PROMPTED:
        prompt = PromptFile(_prompt_place(file, str(config.get("prompt_config_path", ""))), PROMPTED[kind])
        given = config.get("input_cols") or []
        if unknown := sorted(prompt.names - set(given.values() if isinstance(given, dict) else given)):
            raise RecipeError(f"{prompt.path}: no value '{unknown[0]}'", hint=f"add it to input_cols in {file}")


def _prompt_place(flow: Path, named: str) -> Path:
    # Where links lead was checked when the recipe was read; this path stands in a file that nobody had read then.
    place = flow.parent / named
    if not Path(os.path.normpath(place)).is_relative_to(os.path.normpath(flow.parents[1])):
        raise RecipeError(
            f"{flow}: prompt_config_path: '{named}' is outside the flows", hint="keep prompts beside them"
        )
    return place


def _register() -> None:
    # Without this, importing SDG Hub asks the network for a list of prices.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    # Importing our blocks registers them under the names that the flows use.
    import_module("tuning_room.generate.blocks")


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the flow's tables off stdout, which is for our own output, and limit its log to warnings."""
    logging.disable(logging.INFO)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _own(error: BaseException, name: str) -> TuningRoomError:
    """Return our own error that SDG Hub wrapped, or a new one with SDG Hub's message."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TuningRoomError):
            return cause
        cause = cause.__cause__
    return StageError(f"the flow '{name}' failed: {error}")
