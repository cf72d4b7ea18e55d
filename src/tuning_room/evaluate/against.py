"""Two runs of one prompt compared: what got better and what got worse on the items that both answered."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from tuning_room.errors import DataError, MissingInputError
from tuning_room.evaluate.statistics import holm, paired
from tuning_room.gates import REQUIREMENTS
from tuning_room.records import read_jsonl
from tuning_room.results import ALL, Results, Sample, misses, read_results, sample_file
from tuning_room.workspace import Workspace

ARM = "baked"
Turn = tuple[str, int]  # an item and the number of the reply to it
Common = dict[Turn, tuple[Sample, Sample]]


class EvaluatedRun(NamedTuple):
    """One of the two runs: its evaluation folder, its results, and the baked arm's replies by suite."""

    folder: Path
    results: Results
    replies: dict[str, dict[Turn, Sample]]


@dataclass(frozen=True)
class Change:
    """A metric on the common items of a suite; `difference` is second minus first, `p_holm` over all changes."""

    suite: str
    metric: str
    higher_is_better: bool
    replies: int
    dialogues: int
    first_rate: float
    second_rate: float
    only_first: int
    only_second: int
    p_value: float
    p_holm: float
    difference: float
    low: float
    high: float
    newly_failing: list[str]
    newly_passing: list[str]


@dataclass(frozen=True)
class Against:
    """A run (`second`) compared with another (`first`); `notes` list what was left out and what else differs."""

    first: str
    second: str
    notes: list[str]
    changes: list[Change]


def read_run(run: Path) -> EvaluatedRun:
    """Read a run folder, a release folder with `evaluation/`, or an `evaluation/` folder itself.

    Raises MissingInputError if nothing was evaluated there, StageError for what was changed since, and DataError for an
    invalid file.
    """
    folder = next((place for place in (run / "evaluation", run) if (place / "results.json").is_file()), None)
    if folder is None:
        raise MissingInputError(f"{run}: no evaluation/results.json", hint="name the folder of an evaluated run")
    workspace = Workspace(folder.parent)
    if folder == workspace.evaluation:
        workspace.hold(workspace.results, workspace.samples)
    results = read_results(folder / "results.json")
    if ARM not in results.rates:
        raise DataError(
            f"{folder / 'results.json'}: the arm {ARM} was not evaluated", hint="run 'tuning-room evaluate' there again"
        )
    replies = {
        suite: {(sample.item, sample.turn): sample for sample in read_jsonl(sample_file(folder, ARM, suite), Sample)}
        for suite in results.rates[ARM]
        if suite != ALL
    }
    return EvaluatedRun(folder, results, replies)


def compare(first: EvaluatedRun, second: EvaluatedRun) -> Against:
    """Compare the baked arms of two runs on the items that both have, by id and text.

    Whether a higher metric is better is taken from the second run. Raises DataError if the two were held to different
    full prompts, or have no item in common.
    """
    notes = _check_identities(first, second)
    changes = []
    for suite, replies in second.replies.items():
        common = _common(first.replies.get(suite, {}), replies)
        notes += _left_out(suite, first.replies.get(suite, {}), replies, common)
        # Some metrics apply to only part of the items.
        for metric in dict.fromkeys(name for a, b in common.values() for name in a.metrics if name in b.metrics):
            changes.append(_change(suite, metric, common, second.results.suites[suite].metrics[metric]))
    changes += _kept(first, second)
    if not changes:
        raise DataError(
            f"{first.folder} and {second.folder} have no item in common", hint="compare runs of the same suites"
        )
    notes += [f"{suite}: not in {second.folder}" for suite in first.replies if suite not in second.replies]
    adjusted = holm([change.p_value for change in changes])
    changes = [replace(change, p_holm=value) for change, value in zip(changes, adjusted, strict=True)]
    return Against(str(first.folder), str(second.folder), notes, changes)


def _kept(first: EvaluatedRun, second: EvaluatedRun) -> list[Change]:
    """Return what changed in each requirement that both runs tested, on the replies to the same items."""
    common: Common = {}
    for suite, replies in second.replies.items():
        for (item, turn), both in _common(first.replies.get(suite, {}), replies).items():
            one, other = (reply.model_copy(update={"metrics": reply.kept}) for reply in both)
            common[f"{suite}/{item}", turn] = (one, other)
    names = dict.fromkeys(name for a, b in common.values() for name in a.metrics if name in b.metrics)
    return [_change(REQUIREMENTS, name, common, True) for name in names]


def _common(first: Mapping[Turn, Sample], second: Mapping[Turn, Sample]) -> Common:
    """Return the replies to the items that both have, word for word, in an order that does not depend on the files."""
    # Later prompts of a dialogue count as well: they are part of its script.
    both = {key: (first[key], second[key]) for key in sorted(first.keys() & second.keys())}
    return {key: (a, b) for key, (a, b) in both.items() if (a.prompt, a.gold) == (b.prompt, b.gold)}


def _left_out(suite: str, first: Mapping[Turn, Sample], second: Mapping[Turn, Sample], common: Common) -> list[str]:
    """Return a note on how many replies of either side have no counterpart, if any."""
    counts = {
        "only in the first": len(first.keys() - second.keys()),
        "only in the second": len(second.keys() - first.keys()),
        "with the same id but a different text or answer": len(first.keys() & second.keys()) - len(common),
    }
    parts = [f"{count} {where}" for where, count in counts.items() if count]
    return [f"{suite}: compared on {len(common)} replies; left out {', '.join(parts)}"] if parts else []


def _change(suite: str, metric: str, common: Common, higher: bool) -> Change:
    concerned = {key: both for key, both in common.items() if all(metric in reply.metrics for reply in both)}
    keys = list(concerned)
    first, second = ([both[side].metrics[metric] for both in concerned.values()] for side in (0, 1))
    found = paired(first, second, [item for item, _ in keys])
    failed, fails = ([misses(value, higher_is_better=higher) for value in side] for side in (first, second))
    dialogues = {item for item, turn in keys if turn > 1}
    names = [f"{item} turn {turn}" if item in dialogues else item for item, turn in keys]
    return Change(
        suite=suite,
        metric=metric,
        higher_is_better=higher,
        replies=len(keys),
        dialogues=found.total,
        first_rate=sum(first) / len(first),
        second_rate=sum(second) / len(second),
        only_first=found.only_first,
        only_second=found.only_second,
        p_value=found.p_value,
        p_holm=found.p_value,
        difference=found.difference,
        low=found.low,
        high=found.high,
        newly_failing=[name for name, before, now in zip(names, failed, fails, strict=True) if now and not before],
        newly_passing=[name for name, before, now in zip(names, failed, fails, strict=True) if before and not now],
    )


def _check_identities(first: EvaluatedRun, second: EvaluatedRun) -> list[str]:
    """Return what else differs between the two; DataError if they were held to different full prompts."""
    notes = []
    for arm, of, what in (
        ("prompted", "system_prompt", "full prompt"),
        (ARM, "system_prompt", "short prompt"),
        (ARM, "base_model", "base model"),
    ):
        both = [
            getattr(side.results.identities[arm], of) if arm in side.results.identities else None
            for side in (first, second)
        ]
        if None in both or both[0] == both[1]:
            continue
        if what == "full prompt":
            raise DataError(
                f"{first.folder} and {second.folder} were evaluated under different full prompts",
                hint="compare runs of one prompt: another prompt asks for another behaviour",
            )
        notes.append(f"the two runs differ in their {what}")
    return notes
