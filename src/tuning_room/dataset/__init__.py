"""Dataset: candidates checked, deduplicated, kept apart from the evaluation, and split."""

from collections import Counter
from pathlib import Path

from tuning_room.dataset.config import DatasetConfig
from tuning_room.workspace import Stage, StageResult, Workspace


class DatasetResult(StageResult):
    """How many rows there are, and how many were rejected for what."""

    accepted: int
    train: int
    valid: int
    rejected: dict[str, int]
    topics: dict[str, int]
    situations: dict[str, int]


def inputs(config: DatasetConfig, workspace: Workspace) -> list[Path]:
    """Return what the stage reads."""
    return [workspace.candidates, *config.items]


def outputs(workspace: Workspace) -> list[Path]:
    """Return what the stage writes."""
    return [workspace.train_rows, workspace.valid_rows, workspace.rejected_rows, *workspace.dataset_description]


def run(config: DatasetConfig, workspace: Workspace) -> DatasetResult:
    """Write `dataset/`: train and valid as chat messages, the rejected with their reasons, and a card.

    Raises MissingInputError, DataError, RecipeError for a check that does not exist, and StageError when fewer
    dialogues are accepted than the recipe asks for.
    """
    from tuning_room.checks import validate
    from tuning_room.dataset.card import describe
    from tuning_room.dataset.selection import select, split
    from tuning_room.files import atomic_folder
    from tuning_room.records import Candidate, Item, read_jsonl, write_jsonl

    validate(config.checks)
    held_out = [item for path in config.items for item in read_jsonl(path, Item)]
    accepted, rejected = select(list(read_jsonl(workspace.candidates, Candidate)), held_out, config)
    _enough(len(accepted), rejected, config)
    train, valid = split(accepted, config)
    result = DatasetResult(
        accepted=len(accepted),
        train=len(train),
        valid=len(valid),
        rejected=dict(Counter(r.reason for r in rejected)),
        topics=dict(Counter(c.topic for c in accepted)),
        situations=dict(Counter(c.situation for c in accepted)),
    )
    with atomic_folder(workspace.train_rows.parent) as folder:
        write_jsonl(folder / workspace.train_rows.name, train)
        write_jsonl(folder / workspace.valid_rows.name, valid)
        write_jsonl(folder / workspace.rejected_rows.name, rejected)
        describe(folder, config, result)
    return result


def _enough(count: int, rejected: list, config: DatasetConfig) -> None:  # type: ignore[type-arg]
    from tuning_room.errors import StageError

    if count < config.minimum:
        reasons = ", ".join(f"{n} {name}" for name, n in Counter(r.reason for r in rejected).most_common(4))
        raise StageError(
            f"only {count} dialogues were accepted, fewer than dataset.minimum = {config.minimum} ({reasons})",
            hint="generate more, or look at why they were rejected with 'tuning-room dataset --json'",
        )


STAGE = Stage("dataset", DatasetResult, inputs, outputs, run)
