"""Which candidates become training data. Real here: MinHash, the checks, the files."""

import json
import re
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning_room import dataset
from tuning_room.dataset.config import PII_KINDS, DatasetConfig
from tuning_room.dataset.selection import Contamination, select
from tuning_room.dataset.split import Split, dialogue
from tuning_room.errors import DataError, MissingInputError, RecipeError, StageError
from tuning_room.records import Candidate, Dialogue, Item, Message, Rejection, read_jsonl, write_jsonl
from tuning_room.workspace import Workspace

SHORT = "You are Canopy."
CHECKS = {"asks_question": {"at_most": 1}, "states_no_result": {}}


def candidate(*said: str, name: str = "a", **changes: Any) -> Candidate:
    roles = ["user", "assistant"] * len(said)
    messages = [Message(role=role, content=text) for role, text in zip(roles, said, strict=False)]  # type: ignore[arg-type]
    given = {"id": name, "source": "test", "group": name, "messages": messages}
    return Candidate.model_validate({**given, **changes})


def config(**changes: Any) -> DatasetConfig:
    given = {"recipe": "r", "short_prompt": SHORT, "checks": CHECKS, "minimum": 1}
    return DatasetConfig.model_validate({**given, **changes})


def selected(
    rows: Iterable[Candidate], items: list[Item], configured: DatasetConfig
) -> tuple[list[Candidate], list[Rejection]]:
    with TemporaryDirectory() as folder, closing(select(rows, items, configured, Path(folder))) as selection:
        judged = list(selection)
    rejected = [
        Rejection(reason=row.reason, detail=row.detail, candidate=row.candidate) for row in judged if row.reason
    ]
    return [row.candidate for row in judged if not row.reason], rejected


ITEM = Item(id="held", prompt="What is 23 * 45?", gold="1035")
STORY = Item(
    id="story", prompt="A garden is nine metres long and four metres wide, what is its area?", gold="36 square metres"
)


@pytest.mark.parametrize(
    ("said", "gold", "reason"),
    [
        (("What is 7 + 8?", "What is 7 + 3?"), "15", ""),
        (("What is 7 + 8?", "Let's see."), "15", "asks_question"),
        (("What is 7 + 8?", "It is 15. Do you see why?"), "15", "states_no_result"),
        # The second reply is checked as well, against all that the user has said.
        (("What is 7 + 8?", "What is 7 + 3?", "10", "Then it is 15. Fine?"), "15", "states_no_result"),
        (("What is 7 + 8?", "What is 7 + 3?", "So 15", "15 is right. How did you get it?"), "15", ""),
        (("What is 23 * 45?", "What is 20 * 45?"), "1035", "held_out"),
    ],
)
def test_the_reason_of_a_rejection(said: tuple[str, ...], gold: str, reason: str) -> None:
    accepted, rejected = selected([candidate(*said, gold=gold)], [ITEM], config())
    assert [row.reason for row in rejected] == [reason] * bool(reason)
    assert len(accepted) + len(rejected) == 1


def test_a_row_that_failed_is_rejected_with_its_error_alone() -> None:
    failed = candidate(error="answered 400")
    _, (rejection,) = selected([failed, candidate("7 + 8?", "What is 7 + 3?", name="b")], [], config())
    assert (rejection.reason, rejection.detail, rejection.candidate) == ("error", "answered 400", failed)


def test_every_candidate_is_accepted_or_rejected_once() -> None:
    rows = [candidate(f"What is {n % 5} + 9?", "What is 9 + 1?" if n % 3 else "Yes.", name=f"{n}") for n in range(30)]
    accepted, rejected = selected(rows, [], config())
    assert sorted(int(row.id) for row in [*accepted, *(r.candidate for r in rejected)]) == list(range(30))
    assert {rejection.reason for rejection in rejected} == {"asks_question", "duplicate"}


def test_what_was_rejected_is_no_twin_of_what_comes_later() -> None:
    bad, good = candidate("What is 7 + 8?", "No.", name="bad"), candidate("What is 7 + 8?", "Why 7?", name="good")
    assert [row.id for row in selected([bad, good], [], config())[0]] == ["good"]


def test_two_candidates_with_one_id_are_refused() -> None:
    twins = [candidate("What is 7 + 8?", "Why 7?"), candidate("Who made this handbook, and when?", "Who told you?")]
    with pytest.raises(DataError, match="'a'"):
        selected(twins, [], config())


@pytest.mark.parametrize(
    ("said", "gold", "hit"),
    [
        (("what is 23*45",), "", True),
        (("Hello! WHAT IS 23 * 45 ? Please.",), "", True),
        # The same numbers and answer in other words, whatever else is said later.
        (("45 rows of 23 seats, how many?",), "1035", True),
        (("45 rows of 23 seats, how many?", "What is 40 * 23?", "920 I think", "And 5 * 23?"), "1035", True),
        (("45 rows of 23 seats, how many?",), "1036", False),
        (("What is 23 * 46?",), "1058", False),
        (("What is 123 * 45?",), "", False),
        (("My garden is nine metres long and four metres wide. What now?",), "", True),
        (("My garden is nine metres long and five metres wide. What now?",), "", False),
        # What the assistant says does not count.
        (("Help me", "What is 23 * 45?"), "", False),
    ],
)
def test_a_dialogue_that_shares_a_problem_with_a_held_out_item_is_found(
    said: tuple[str, ...], gold: str, hit: bool
) -> None:
    found = Contamination([ITEM, STORY], 8).hit(candidate(*said, gold=gold))
    assert bool(found) is hit
    assert not hit or found.startswith(("held:", "story:"))


WORDS = st.lists(st.sampled_from("apple pear für später Число дом 7 12 3.5 + = why".split()), max_size=14)


@settings(max_examples=150, deadline=None)
@given(WORDS, st.lists(WORDS.filter(bool), min_size=1, max_size=3), st.integers(3, 8))
def test_contamination_is_a_shared_run_of_words(said: list[str], prompts: list[list[str]], overlap: int) -> None:
    items = [Item(id=f"i{n}", prompt=" ".join(words), gold="-") for n, words in enumerate(prompts)]
    hit = Contamination(items, overlap).hit(candidate(" ".join(said) or "?"))

    def runs(words: list[str], size: int) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}

    lowered = [word.lower() for word in said]
    others = [[word.lower() for word in words] for words in prompts]
    shared = any(runs(lowered, overlap) & runs(words, overlap) for words in others)
    whole = any(tuple(words) in runs(lowered, len(words)) for words in others)
    assert bool(hit) == (shared or whole)


def sides(rows: list[Candidate], configured: DatasetConfig) -> list[bool]:
    split = Split(configured)
    for row in rows:
        split.add(row)
    return [bool(side) for side in split.valid()]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=40), st.floats(0, 0.49), st.integers(0, 99))
def test_no_group_stands_on_both_sides(groups: list[str], fraction: float, seed: int) -> None:
    rows = [candidate("Q", "A?", name=f"{n}", group=group) for n, group in enumerate(groups)]
    configured = config(valid_fraction=fraction, seed=seed)
    side = dict(zip(groups, sides(rows, configured), strict=True))
    assert [side[group] for group in groups] == sides(rows, configured)
    assert fraction > 0 or not any(side.values())
    # A group's side depends on nothing but itself and the seed.
    fewer = groups[::-1][: len(groups) // 2]
    again = sides([candidate("Q", "A?", group=group) for group in fewer], configured)
    assert again == [side[group] for group in fewer]


def test_the_split_is_about_the_fraction() -> None:
    rows = [candidate("Q", "A?", name=f"{n}", group=f"g{n}") for n in range(2000)]
    assert 320 < sum(sides(rows, config(valid_fraction=0.2))) < 480


def test_rows_carry_the_short_prompt_and_their_origin() -> None:
    row = dialogue(candidate("Q", "A?", topic="t", situation="s"), SHORT)
    assert [message.as_dict() for message in row.messages] == [
        {"role": "system", "content": SHORT},
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "A?"},
    ]
    assert (row.id, row.source, row.group, row.topic, row.situation) == ("a", "test", "a", "t", "s")


def stage(tmp_path: Path, **changes: Any) -> tuple[DatasetConfig, Workspace]:
    workspace = Workspace(tmp_path / "run")
    rows = [candidate(f"What is {n} + {n * n}?", f"What is {n} + 1?", name=f"r{n}", topic="sums") for n in range(2, 30)]
    write_jsonl(workspace.candidates, [*rows, candidate("Hi", "Hello.", name="bad"), candidate(name="e", error="400")])
    write_jsonl(tmp_path / "items.jsonl", [ITEM])
    return config(items=[tmp_path / "items.jsonl"], valid_fraction=0.2, **changes), workspace


def test_the_stage_writes_its_files_and_says_what_is_in_them(tmp_path: Path) -> None:
    configured, workspace = stage(tmp_path)
    result = dataset.run(configured, workspace)
    train, valid = (list(read_jsonl(path, Dialogue)) for path in (workspace.train_rows, workspace.valid_rows))
    rejected = list(read_jsonl(workspace.rejected_rows, Rejection))
    assert (result.train, result.valid, result.accepted) == (len(train), len(valid), 28)
    assert len(train) + len(valid) == 28 and train and valid
    assert result.rejected == {"asks_question": 1, "error": 1} and len(rejected) == 2
    assert result.topics == {"sums": 28}
    card = workspace.dataset_card.read_text(encoding="utf-8")
    assert re.search(rf"train\.jsonl \| {len(train)} ", card) and SHORT in card


def test_too_few_rows_are_an_error_that_says_why_and_leaves_what_was_there(tmp_path: Path) -> None:
    configured, workspace = stage(tmp_path)
    dataset.run(configured, workspace)
    before = workspace.train_rows.read_bytes()
    with pytest.raises(StageError, match=r"only 28 .* 99 \(1 asks_question, 1 error\)"):
        dataset.run(configured.model_copy(update={"minimum": 99}), workspace)
    assert workspace.train_rows.read_bytes() == before


@pytest.mark.parametrize("checks", [{"no_such": {}}, {"length": {"no_such": 1}}])
def test_checks_that_do_not_exist_are_recipe_errors(tmp_path: Path, checks: dict[str, Any]) -> None:
    configured, workspace = stage(tmp_path, checks=checks)
    with pytest.raises(RecipeError, match="no_such"):
        dataset.run(configured, workspace)


def test_the_stage_runs_again_when_the_schema_file_holds_something_else(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "string"}', encoding="utf-8")
    configured, workspace = stage(tmp_path, checks={"json_schema": {"schema": schema}})
    said = [candidate(f"What is {n}?", f'"Why {n}?"', name=f"{n}") for n in range(3)]
    write_jsonl(workspace.candidates, said)
    assert workspace.perform(dataset.STAGE, configured)[0].accepted == 3
    assert not workspace.perform(dataset.STAGE, configured)[1]
    schema.write_text('{"type": "string", "pattern": "[01]"}', encoding="utf-8")
    result, ran = workspace.perform(dataset.STAGE, configured)
    assert (ran, result.accepted, result.rejected) == (True, 2, {"json_schema": 1})


def test_candidates_that_are_missing_are_named(tmp_path: Path) -> None:
    configured, workspace = stage(tmp_path)
    workspace.candidates.unlink()
    with pytest.raises(MissingInputError, match=r"candidates\.jsonl"):
        dataset.run(configured, workspace)


def test_personal_data_is_in_no_file_of_the_dataset(tmp_path: Path) -> None:
    configured, workspace = stage(tmp_path)
    rows = [*read_jsonl(workspace.candidates, Candidate)]
    told = candidate("I am jo@x.edu. What is 71 + 9?", "What is 71 + 1?", name="told", topic="sums")
    bad = candidate("Call me at 415-555-2671.", "Sure, student ID 1234567.", name="thrown-away")
    write_jsonl(workspace.candidates, [*rows, told, bad])
    result = dataset.run(configured.model_copy(update={"valid_fraction": 0}), workspace)
    assert result.masked == dict.fromkeys(PII_KINDS, 0) | {"email": 1, "phone": 1, "student_id": 1}
    found = {path.name: path.read_text(encoding="utf-8") for path in dataset.outputs(workspace)}
    assert "[email]" in found["train.jsonl"] and "[phone]" in found["rejected.jsonl"]
    assert not [name for name, text in found.items() if re.search("jo@x|415-555|1234567", text)]
    assert [row["id"] for row in json.loads(found["pii.json"])["rows"]] == ["told", "thrown-away"]


def test_surplus_rows_of_a_topic_are_rejected_as_such(tmp_path: Path) -> None:
    configured, workspace = stage(tmp_path, balance={"most": 10})
    result = dataset.run(configured, workspace)
    assert (result.accepted, result.topics) == (10, {"sums": 10})
    dropped = [row for row in read_jsonl(workspace.rejected_rows, Rejection) if row.reason == "balance"]
    assert len(dropped) == 18 == result.rejected["balance"]
    assert {row.detail for row in dropped} == {"topic 'sums': no more than 10 rows are kept"}
