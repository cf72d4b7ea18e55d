"""Two runs of one prompt side by side: on the items that both answered, what got better and what got worse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from tuning_room.errors import DataError, MissingInputError
from tuning_room.evaluate.statistics import holm, paired
from tuning_room.records import read_jsonl
from tuning_room.results import ALL, Results, Sample, read_results, sample_file

ARM = "baked"
Turn = tuple[str, int]  # an item and the number of the reply to it
Common = dict[Turn, tuple[Sample, Sample]]


class EvaluatedRun(NamedTuple):
    """One of the two: its evaluation folder, its results, and the baked arm's replies by suite."""

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
    """A run (`second`) compared with another (`first`); `notes` say what was left out and what else differs."""

    first: str
    second: str
    notes: list[str]
    changes: list[Change]


def read_run(run: Path) -> EvaluatedRun:
    """Read a run folder, a release's folder with `evaluation/`, or such a folder itself.

    Raises MissingInputError if nothing was evaluated there, DataError for a file that is not what it should be.
    """
    folder = next((place for place in (run / "evaluation", run) if (place / "results.json").is_file()), None)
    if folder is None:
        raise MissingInputError(f"{run}: no evaluation/results.json", hint="name the folder of an evaluated run")
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

    Which way a metric is good is as the second one has it. Raises DataError if the two were held to different full
    prompts, or have no item in common.
    """
    notes = _check_identities(first, second)
    changes = []
    for suite, replies in second.replies.items():
        common = _common(first.replies.get(suite, {}), replies)
        notes += _left_out(suite, first.replies.get(suite, {}), replies, common)
        for metric in _metrics(common):
            changes.append(_change(suite, metric, common, second.results.suites[suite].metrics[metric]))
    if not changes:
        raise DataError(
            f"{first.folder} and {second.folder} have no item in common", hint="compare runs of the same suites"
        )
    notes += [f"{suite}: not in {second.folder}" for suite in first.replies if suite not in second.replies]
    return Against(str(first.folder), str(second.folder), notes, _adjusted(changes))


def _common(first: Mapping[Turn, Sample], second: Mapping[Turn, Sample]) -> Common:
    """Return the replies to the items that both have, word for word, in an order that does not depend on the files."""
    same = {key for key in first.keys() & second.keys() if _asked(first[key]) == _asked(second[key])}
    return {key: (first[key], second[key]) for key in sorted(same)}


def _asked(reply: Sample) -> tuple[str, str]:
    # What a user says later in a dialogue is part of the script as well.
    return reply.prompt, reply.gold


def _left_out(suite: str, first: Mapping[Turn, Sample], second: Mapping[Turn, Sample], common: Common) -> list[str]:
    """Say how many replies of either side have no counterpart."""
    changed = len(first.keys() & second.keys()) - len(common)
    parts = {
        "only in the first": len(first.keys() - second.keys()),
        "only in the second": len(second.keys() - first.keys()),
        "with one id but another text or answer": changed,
    }
    said = [f"{count} {where}" for where, count in parts.items() if count]
    return [f"{suite}: compared on {len(common)} replies; left out {', '.join(said)}"] if said else []


def _metrics(common: Common) -> list[str]:
    """Return the metrics of any reply that both sides have; some concern only a part of the items."""
    return list(dict.fromkeys(name for a, b in common.values() for name in a.metrics if name in b.metrics))


def _change(suite: str, metric: str, common: Common, higher: bool) -> Change:
    concerned = {key: both for key, both in common.items() if all(metric in reply.metrics for reply in both)}
    keys = list(concerned)
    first, second = ([both[side].metrics[metric] for both in concerned.values()] for side in (0, 1))
    found = paired(first, second, [item for item, _ in keys])
    was, now = ([_fails(value, higher) for value in side] for side in (first, second))
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
        newly_failing=[name for name, a, b in zip(_labels(keys), was, now, strict=True) if b and not a],
        newly_passing=[name for name, a, b in zip(_labels(keys), was, now, strict=True) if a and not b],
    )


def _fails(value: float, higher: bool) -> bool:
    return (value >= 0.5) is not higher


def _labels(keys: Sequence[Turn]) -> list[str]:
    """Return each reply's item, with its turn where the item is a dialogue."""
    dialogues = {item for item, turn in keys if turn > 1}
    return [f"{item} turn {turn}" if item in dialogues else item for item, turn in keys]


def _adjusted(changes: list[Change]) -> list[Change]:
    adjusted = holm([change.p_value for change in changes])
    return [replace(change, p_holm=value) for change, value in zip(changes, adjusted, strict=True)]


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
        notes.append(f"the two have a different {what}")
    return notes
