"""What people decide about rows. Real: the command line in a pseudo-terminal, the stage, the files."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room import dataset
from tuning_room.dataset.config import DatasetConfig
from tuning_room.dataset.review import DatasetRows, Review, RowDecision, content_key
from tuning_room.errors import DataError
from tuning_room.records import Candidate, Dialogue, Message, Rejection, read_jsonl, write_jsonl
from tuning_room.workspace import Workspace

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-c", "from tuning_room.cli import main; main()"]


def turns(*said: str) -> list[Message]:
    roles = ["user", "assistant"] * len(said)
    return [Message(role=role, content=text) for role, text in zip(roles, said, strict=False)]  # type: ignore[arg-type]


def candidate(name: str, *said: str) -> Candidate:
    return Candidate(id=name, source="test", group=name, messages=turns(*said))


def edit(before: list[Message], after: list[Message]) -> RowDecision:
    return RowDecision(key=content_key(before), decision="edit", messages=after)


def drop(messages: list[Message], why: str = "") -> RowDecision:
    return RowDecision(key=content_key(messages), decision="drop", why=why)


def review(path: Path, *decisions: RowDecision) -> Review:
    made = Review(path)
    for decision in decisions:
        made.decide(decision)
    return Review(path)


A, B, C = turns("Hi", "Why?"), turns("Hi", "Why not?"), turns("Hi", "And then?")


def test_a_decision_is_kept_by_content_and_the_last_one_counts(tmp_path: Path) -> None:
    found = review(tmp_path / "review.jsonl", drop(A, "dull"), drop(B), edit(A, B))
    assert list(found.decisions) == [content_key(A), content_key(B)]
    assert found.edited(candidate("any", "Hi", "Why?")).messages == B
    assert found.dropped(candidate("other", "Hi", "Why not?")) == "dropped by hand"
    assert found.dropped(candidate("third", "Hi", "And then?")) == ""


def test_the_system_turn_is_no_content() -> None:
    assert content_key([Message(role="system", content="S"), *A]) == content_key(A) != content_key(B)


def test_an_edit_of_an_edit_is_followed_and_a_circle_ends(tmp_path: Path) -> None:
    assert review(tmp_path / "a", edit(A, B), edit(B, C)).edited(candidate("x", "Hi", "Why?")).messages == C
    circle = review(tmp_path / "b", edit(A, B), edit(B, A))
    assert circle.edited(candidate("x", "Hi", "Why?")).messages == A
    assert review(tmp_path / "c", edit(A, B), drop(B, "no")).dropped(candidate("x", "Hi", "Why not?")) == "no"


def test_what_an_edit_made_is_settled(tmp_path: Path) -> None:
    assert review(tmp_path / "a", edit(A, B)).settled() == {content_key(A), content_key(B)}


@given(said=st.lists(st.text(min_size=1), min_size=2, max_size=5), other=st.text(min_size=1))
def test_every_word_counts(said: list[str], other: str) -> None:
    changed = [*said[:-1], other]
    assert (content_key(turns(*said)) == content_key(turns(*changed))) == (said == changed)


@pytest.mark.parametrize(
    "line", ["{", '{"key": "k"}', '{"key": "k", "decision": "burn"}', '{"key": "k", "decision": "edit"}', "\xff"]
)
def test_a_broken_decision_is_named_with_its_line(line: str, tmp_path: Path) -> None:
    good = drop(A).model_dump_json()
    (tmp_path / "review.jsonl").write_text(f"{good}\n{line}\n", encoding="latin-1")
    with pytest.raises(DataError, match=r"review\.jsonl:2"):
        Review(tmp_path / "review.jsonl")


def test_rows_are_found_by_number_without_those_that_are_settled(tmp_path: Path) -> None:
    files = [tmp_path / "train.jsonl", tmp_path / "valid.jsonl"]
    rows = [Dialogue(id=f"é{n}", source="s", group="g", messages=turns(f"Hi {n}", "Why?")) for n in range(10)]
    write_jsonl(files[0], rows[:7])
    write_jsonl(files[1], rows[7:])
    found = DatasetRows(files, {content_key(rows[3].messages)})
    assert [found[n].id for n in range(len(found))] == [row.id for row in rows if row.id != "é3"]


def stage(tmp_path: Path) -> tuple[DatasetConfig, Workspace]:
    workspace = Workspace(tmp_path / "run")
    write_jsonl(
        workspace.candidates, [candidate(f"r{n}", f"What is {n} + {n * n}?", f"What is {n} + 1?") for n in range(9)]
    )
    checks: dict[str, Any] = {"asks_question": {}}
    return DatasetConfig(
        recipe="r", short_prompt="S", minimum=1, checks=checks, review=tmp_path / "review.jsonl"
    ), workspace


def accepted(workspace: Workspace) -> dict[str, str]:
    rows = [row for path in (workspace.train_rows, workspace.valid_rows) for row in read_jsonl(path, Dialogue)]
    return {row.id: row.messages[-1].content for row in rows}


def test_decisions_are_applied_at_the_next_build_and_edits_are_checked_again(tmp_path: Path) -> None:
    configured, workspace = stage(tmp_path)
    before = list(read_jsonl(workspace.candidates, Candidate))
    assert workspace.perform(dataset.STAGE, configured)[1]
    bad, good = (turns(before[n].messages[0].content, text) for n, text in ((3, "It is 12."), (4, "What is 4 x 4?")))
    decided = (drop(before[2].messages, "dull"), edit(before[3].messages, bad), edit(before[4].messages, good))
    review(tmp_path / "review.jsonl", *decided)
    result, ran = workspace.perform(dataset.STAGE, configured)
    assert ran, "a decision is an input of the stage"
    assert result.rejected == {"reviewed": 1, "asks_question": 1}
    rejected = {row.candidate.id: (row.reason, row.detail) for row in read_jsonl(workspace.rejected_rows, Rejection)}
    assert rejected == {"r2": ("reviewed", "dull"), "r3": ("asks_question", "0 questions: It is 12.")}
    assert accepted(workspace)["r4"] == "What is 4 x 4?"
    assert not workspace.perform(dataset.STAGE, configured)[1]


def test_a_judges_score_counts_until_the_reply_is_edited(tmp_path: Path) -> None:
    configured, workspace = stage(tmp_path)
    scored = [row.model_copy(update={"scores": {"judge": 3}}) for row in read_jsonl(workspace.candidates, Candidate)]
    write_jsonl(workspace.candidates, scored)
    judged = configured.model_copy(update={"checks": {"judge_score": {"at_least": 7}}, "minimum": 0})
    edited = turns(scored[4].messages[0].content, "What is 4 x 4?")
    review(tmp_path / "review.jsonl", edit(scored[4].messages, edited))
    result, _ = workspace.perform(dataset.STAGE, judged)
    assert (result.accepted, result.rejected) == (1, {"judge_score": 8})
    assert accepted(workspace) == {"r4": "What is 4 x 4?"}


def test_a_row_is_known_by_its_masked_words(tmp_path: Path) -> None:
    configured, workspace = stage(tmp_path)
    write_jsonl(
        workspace.candidates, [candidate("a", "Mail me at ann@example.org", "Why?"), candidate("b", "Hi", "Why?")]
    )
    workspace.perform(dataset.STAGE, configured)
    rows = {
        row.id: row
        for row in (*read_jsonl(workspace.train_rows, Dialogue), *read_jsonl(workspace.valid_rows, Dialogue))
    }
    row = rows["a"]
    assert "ann@example.org" not in row.messages[1].content
    review(tmp_path / "review.jsonl", drop(row.messages, "private"))
    assert workspace.perform(dataset.STAGE, configured)[0].rejected == {"reviewed": 1}


PROMPT = "(k d e n b q)? "


@pytest.fixture
def folder(write_recipe: Any, tmp_path: Path) -> Iterator[Path]:
    """A recipe with a dataset of four rows, of which the last has two replies; yields where to run the command."""
    write_recipe(dataset={"checks": {"asks_question": {}}})
    rows = [
        Dialogue(id=f"r{n}", source="s", group="g", topic="sums", messages=turns(f"Hi {n}", "Why?")) for n in range(3)
    ]
    rows.append(Dialogue(id="r3", source="s", group="g", messages=turns("Hi", "Why\x1b[2J?", "So", "And then?")))
    write_jsonl(tmp_path / "runs" / "cook" / "dataset" / "train.jsonl", rows)
    write_jsonl(tmp_path / "runs" / "cook" / "dataset" / "valid.jsonl", [])
    yield tmp_path


def talk(folder: Path, *answers: tuple[str, str], editor: str = "", words: tuple[str, ...] = ()) -> str:
    """Run `dataset review` in a pseudo-terminal; each answer is typed when its question stands there."""
    ours, theirs = pty.openpty()
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "EDITOR": editor,
        "VISUAL": "",
        "TERM": "dumb",
        "COLUMNS": "100",
    }
    command = [*COMMAND, "dataset", "review", "recipe", *words]
    process = subprocess.Popen(command, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = ""
    for question, answer in answers:
        shown = until(ours, question)
        seen += shown
        os.write(ours, answer.encode())
    seen += until(ours, None)
    assert process.wait(timeout=60) == 0, seen
    os.close(ours)
    return seen


def until(terminal: int, question: str | None) -> str:
    """Return what the terminal shows up to a question, or to the end."""
    seen, deadline = "", time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                part = os.read(terminal, 4096)
            except OSError:  # the other end is closed
                part = b""
            if not part:
                break
            seen += part.decode(errors="replace")
        if question and seen.rstrip().endswith(question.rstrip()):
            return seen
    assert question is None, f"waited for {question!r}, saw {seen!r}"
    return seen


def decisions(folder: Path) -> list[RowDecision]:
    path = folder / "recipe" / "review.jsonl"
    return list(read_jsonl(path, RowDecision)) if path.exists() else []


def test_rows_are_kept_dropped_and_edited_in_a_terminal(folder: Path) -> None:
    seen = talk(
        folder,
        (PROMPT, "k\n"),
        (PROMPT, "d\n"),
        ("why (may be empty)?", "too short\n"),
        (PROMPT, "e\n"),
        ("new reply (empty: no change)?", "No question.\n"),
        (PROMPT, "e\n"),
        ("which reply (1 to 2)?", "2\n"),
        ("new reply (empty: no change)?", "What comes after?\n"),
    )
    kept, dropped, rejected, changed = decisions(folder)
    assert (kept.id, kept.decision, kept.key) == ("r0", "keep", content_key(turns("Hi 0", "Why?")))
    assert (dropped.id, dropped.decision, dropped.why) == ("r1", "drop", "too short")
    assert rejected.messages == turns("Hi 2", "No question.")
    assert [message.content for message in changed.messages][2:] == ["So", "What comes after?"]
    assert "the next build would reject it: asks_question, 0 questions" in seen
    assert "1 of 4" in seen and "sums" in seen and "1 kept, 1 dropped, 2 edited" in seen
    assert "\x1b[2J" not in seen, "a row must not steer the terminal"


def test_quit_and_go_on(folder: Path) -> None:
    talk(folder, (PROMPT, "n\n"), (PROMPT, "k\n"), (PROMPT, "q\n"))
    assert [decision.id for decision in decisions(folder)] == ["r1"]
    # What was passed over comes again, what was decided does not; the end of the input quits as well.
    seen = talk(folder, (PROMPT, "k\n"), (PROMPT, "\x04"))
    assert "1 of 3" in seen
    assert [decision.id for decision in decisions(folder)] == ["r1", "r0"]
    assert "1 of 4" in talk(folder, (PROMPT, "q\n"), words=("--all",))


def test_back_changes_a_decision_and_nonsense_asks_again(folder: Path) -> None:
    talk(
        folder,
        (PROMPT, "d\n"),
        ("why (may be empty)?", "\n"),
        (PROMPT, "b\n"),
        (PROMPT, "what\n"),
        (PROMPT, "k\n"),
        (PROMPT, "q\n"),
    )
    assert [(decision.id, decision.decision) for decision in decisions(folder)] == [("r0", "keep")]


def test_an_editor_is_used_where_one_is_named(folder: Path) -> None:
    editor = folder / "editor.sh"
    editor.write_text('#!/bin/sh\nprintf "Why,\\nreally?\\n" > "$1"\n', encoding="utf-8")
    editor.chmod(0o755)
    talk(folder, (PROMPT, "e\n"), (PROMPT, "q\n"), editor=str(editor))
    (changed,) = decisions(folder)
    assert changed.messages == turns("Hi 0", "Why,\nreally?")


def test_an_editor_that_fails_costs_nothing(folder: Path) -> None:
    talk(folder, (PROMPT, "e\n"), (PROMPT, "q\n"), editor="false")
    assert decisions(folder) == []


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [*COMMAND, "dataset", "review", *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_piped_it_lists_the_decisions_or_says_that_it_needs_a_terminal(folder: Path) -> None:
    refused = call(folder, "recipe")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "needs a terminal" in refused.stderr and "--json" in refused.stderr and "Traceback" not in refused.stderr
    review(folder / "recipe" / "review.jsonl", drop(A, "dull"))
    listed = json.loads(call(folder, "recipe", "--json").stdout)
    assert [decision["why"] for decision in listed["decisions"]] == ["dull"]


def test_when_all_is_settled_it_says_so(folder: Path) -> None:
    rows = read_jsonl(folder / "runs" / "cook" / "dataset" / "train.jsonl", Dialogue)
    review(folder / "recipe" / "review.jsonl", *(drop(row.messages) for row in rows))
    assert "nothing left to review" in talk(folder)
