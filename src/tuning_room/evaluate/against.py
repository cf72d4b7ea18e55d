"""Two runs of one prompt side by side: on the items that both answered, what got better and what got worse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ConfigDict, ValidationError

from tuning_room.errors import DataError, MissingInputError
from tuning_room.evaluate.gates import Gate, is_wanted
from tuning_room.evaluate.statistics import holm, paired
from tuning_room.records import Record, read_json, read_jsonl

ARM = "baked"


class Reply(Record):
    """A row of a run's samples, as far as it is compared; `turn` tells the replies of one dialogue apart."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    item: str
    turn: int = 0
    prompt: str
    gold: str = ""
    metrics: dict[str, float]


class Identity(Record):
    """What an arm was, by digests."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    base_model: str
    system_prompt: str


class Side(NamedTuple):
    """One of the two: its evaluation folder, its arms' identities, and the baked arm's replies by suite."""

    folder: Path
    identities: dict[str, Identity]
    replies: dict[str, dict[tuple[str, int], Reply]]


@dataclass(frozen=True)
class Change:
    """A metric on the common items of a suite; `difference` is second minus first, `p_holm` over all changes."""

    suite: str
    metric: str
    wanted: bool
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


def read_side(run: Path) -> Side:
    """Read a run folder, a release's folder with `evaluation/`, or such a folder itself.

    Raises MissingInputError if nothing was evaluated there, DataError for a file that is not what it should be.
    """
    folder = next((place for place in (run / "evaluation", run) if (place / "results.json").is_file()), None)
    if folder is None:
        raise MissingInputError(f"{run}: no evaluation/results.json", hint="name the folder of an evaluated run")
    path = folder / "results.json"
    results = read_json(path)
    try:
        identities = {arm: Identity.model_validate(found) for arm, found in results["identities"].items()}
        suites = [suite for suite in results["rates"][ARM] if suite != "all"]
    except (AttributeError, KeyError, TypeError, ValidationError) as error:
        reason = f"the arm {ARM} was not evaluated" if error.args == (ARM,) else "not the results of an evaluation"
        raise DataError(f"{path}: {reason}", hint="run 'tuning-room evaluate' there again") from None
    return Side(folder, identities, {suite: _replies(folder / "samples" / f"{ARM}.{suite}.jsonl") for suite in suites})


def _replies(path: Path) -> dict[tuple[str, int], Reply]:
    return {(reply.item, reply.turn): reply for reply in read_jsonl(path, Reply)}


def compare(first: Side, second: Side, gates: Sequence[Gate] = ()) -> Against:
    """Compare the baked arms of two runs on the items that both have, by id and text.

    `gates` say which way a metric is good. Raises DataError if the two were held to different full prompts, or have no
    item in common.
    """
    notes = _check_identities(first, second)
    changes = []
    for suite, replies in second.replies.items():
        common = _common(first.replies.get(suite, {}), replies)
        notes += _left_out(suite, first.replies.get(suite, {}), replies, common)
        for metric in _metrics(common):
            changes.append(_change(suite, metric, common, is_wanted(metric, suite, gates)))
    if not changes:
        raise DataError(
            f"{first.folder} and {second.folder} have no item in common", hint="compare runs of the same suites"
        )
    notes += [f"{suite}: not in {second.folder}" for suite in first.replies if suite not in second.replies]
    return Against(str(first.folder), str(second.folder), notes, _adjusted(changes))


Common = dict[tuple[str, int], tuple[Reply, Reply]]


def _common(first: Mapping[tuple[str, int], Reply], second: Mapping[tuple[str, int], Reply]) -> Common:
    """Return the replies to the items that both have, word for word, in an order that does not depend on the files."""
    same = {key for key in first.keys() & second.keys() if _asked(first[key]) == _asked(second[key])}
    return {key: (first[key], second[key]) for key in sorted(same)}


def _asked(reply: Reply) -> tuple[str, str]:
    # What a user says later in a dialogue is part of the script as well.
    return reply.prompt, reply.gold


def _left_out(
    suite: str, first: Mapping[tuple[str, int], Reply], second: Mapping[tuple[str, int], Reply], common: Common
) -> list[str]:
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


def _change(suite: str, metric: str, common: Common, wanted: bool) -> Change:
    concerned = {key: both for key, both in common.items() if all(metric in reply.metrics for reply in both)}
    keys = list(concerned)
    first, second = ([both[side].metrics[metric] for both in concerned.values()] for side in (0, 1))
    found = paired(first, second, [item for item, _ in keys])
    was, now = ([_fails(value, wanted) for value in side] for side in (first, second))
    return Change(
        suite=suite,
        metric=metric,
        wanted=wanted,
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


def _fails(value: float, wanted: bool) -> bool:
    return (value >= 0.5) is not wanted


def _labels(keys: Sequence[tuple[str, int]]) -> list[str]:
    """Return each reply's item, with its turn where the item is a dialogue."""
    dialogues = {item for item, turn in keys if turn > 1}
    return [f"{item} turn {turn}" if item in dialogues else item for item, turn in keys]


def _adjusted(changes: list[Change]) -> list[Change]:
    adjusted = holm([change.p_value for change in changes])
    return [replace(change, p_holm=value) for change, value in zip(changes, adjusted, strict=True)]


def _check_identities(first: Side, second: Side) -> list[str]:
    """Return what else differs between the two; DataError if they were held to different full prompts."""
    notes = []
    for arm, of, what in (
        ("prompted", "system_prompt", "full prompt"),
        (ARM, "system_prompt", "short prompt"),
        (ARM, "base_model", "base model"),
    ):
        both = [getattr(side.identities[arm], of) if arm in side.identities else None for side in (first, second)]
        if None in both or both[0] == both[1]:
            continue
        if what == "full prompt":
            raise DataError(
                f"{first.folder} and {second.folder} were evaluated under different full prompts",
                hint="compare runs of one prompt: another prompt asks for another behaviour",
            )
        notes.append(f"the two have a different {what}")
    return notes


def plain(against: Against) -> dict[str, Any]:
    """Return the comparison as plain values, for JSON."""
    from dataclasses import asdict

    return asdict(against)
