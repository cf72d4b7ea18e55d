"""Dataset: candidates are checked, deduplicated, kept apart from the evaluation, and split."""

from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from tuning_room.dataset.config import DatasetConfig, DatasetResult
from tuning_room.workspace import Stage, Workspace

if TYPE_CHECKING:
    from tuning_room.dataset.pii import Masks
    from tuning_room.dataset.selection import Selection


def inputs(config: DatasetConfig, workspace: Workspace) -> list[Path]:
    """Return what the stage reads."""
    from tuning_room.checks import code, files
    from tuning_room.requirements import read_requirements

    # A run from before the first decision stays up to date until there is one.
    decided = [config.review] if config.review and config.review.is_file() else []
    asked = [config.requirements] if config.requirements else []
    asked += [file for path in asked for one in read_requirements(path) for file in files(one.checks)]
    return [workspace.candidates, *config.items, code(), *files(config.checks), *decided, *asked]


def outputs(workspace: Workspace) -> list[Path]:
    """Return what the stage writes."""
    rows = [workspace.train_rows, workspace.valid_rows, workspace.rejected_rows]
    return [*rows, workspace.pii_report, *workspace.dataset_description]


def run(config: DatasetConfig, workspace: Workspace) -> DatasetResult:
    """Write `dataset/`: train and valid as chat messages, the rejected with their reasons, what was masked, and a card.

    The candidates are streamed; only digests of each stay in memory. Raises MissingInputError, DataError,
    RecipeError for a check that does not exist, and StageError when fewer dialogues are accepted than the recipe asks
    for.
    """
    from tuning_room.checks import validate
    from tuning_room.dataset.card import describe
    from tuning_room.dataset.pii import masking
    from tuning_room.dataset.selection import select
    from tuning_room.files import atomic_folder, of_a_run
    from tuning_room.records import Candidate, Item, read_jsonl

    validate(config.checks)
    held_out = [item for path in config.items for item in read_jsonl(path, Item)]
    with atomic_folder(workspace.train_rows.parent, of_a_run) as folder:
        with masking(config.pii, folder / workspace.pii_report.name) as masks:
            candidates = map(masks.mask, read_jsonl(workspace.candidates, Candidate))
            selection = select(candidates, held_out, config, folder, masks.again)
        with closing(selection):
            result = _write(selection, config, workspace, folder, masks)
            result = result.model_copy(update=selection.coverage.summary())
        _enough(result, config)
        describe(folder, config, result)
    return result


def _write(
    selection: "Selection", config: DatasetConfig, workspace: Workspace, folder: Path, masks: "Masks"
) -> DatasetResult:
    from tuning_room.dataset.split import dialogue
    from tuning_room.records import Rejection, jsonl_writer

    rejected, topics, situations, sides = (Counter[str]() for _ in range(4))
    names = (workspace.train_rows.name, workspace.valid_rows.name, workspace.rejected_rows.name)
    with ExitStack() as files:
        train, valid, thrown_away = (files.enter_context(jsonl_writer(folder / name)) for name in names)
        for candidate, reason, detail, is_valid in selection:
            if reason:
                rejected[reason] += 1
                thrown_away(Rejection(reason=reason, detail=masks.text(detail), candidate=candidate))
                continue
            (valid if is_valid else train)(dialogue(candidate, config.short_prompt))
            sides["valid" if is_valid else "train"] += 1
            selection.coverage.count(candidate)
            topics[candidate.topic] += 1
            situations[candidate.situation] += 1
    return DatasetResult(
        accepted=sides.total(),
        train=sides["train"],
        valid=sides["valid"],
        rejected=dict(rejected),
        topics=dict(topics),
        situations=dict(situations),
        masked=masks.found,
    )


def _enough(result: DatasetResult, config: DatasetConfig) -> None:
    from tuning_room.errors import StageError

    if result.accepted < config.minimum:
        reasons = ", ".join(f"{n} {name}" for name, n in Counter(result.rejected).most_common(4))
        raise StageError(
            f"only {result.accepted} dialogues were accepted, fewer than dataset.minimum = {config.minimum}"
            f" ({reasons})",
            hint="generate more, or look at why they were rejected with 'tuning-room dataset --json'",
        )


STAGE = Stage("dataset", DatasetResult, inputs, outputs, run)
