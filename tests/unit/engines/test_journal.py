"""The journal of what was paid for. Real: files."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.engines.journal import Journal
from tuning_room.engines.limits import Usage


def written(path: Path, *texts: str) -> Path:
    journal = Journal(path)
    with journal.open():
        for text in texts:
            journal.add_text(f"question {text}", text, Usage(1, 5, 7), "stop")
    return path


def edited(path: Path, line: int, **change: object) -> Journal:
    """Return the journal after a line was changed by hand; None takes a field away."""
    lines = path.read_text(encoding="utf-8").splitlines()
    entry = {name: value for name, value in (json.loads(lines[line]) | change).items() if value is not None}
    lines[line] = json.dumps(entry)
    path.write_text("".join(f"{one}\n" for one in lines), encoding="utf-8")
    return Journal(path)


def test_an_answer_that_was_edited_is_asked_again_and_was_paid_for(tmp_path: Path) -> None:
    path = written(tmp_path / "answers.jsonl", "one", "two")
    journal = edited(path, 0, text="won")
    assert journal.known == {"question two": "two"}
    assert journal.spent == Usage(2, 10, 14)


@pytest.mark.parametrize("field", ["key", "finish_reason", "completion_tokens"])
def test_all_of_an_answer_counts(field: str, tmp_path: Path) -> None:
    path = written(tmp_path / "answers.jsonl", "one")
    assert edited(path, 0, **{field: 1}).known == {}


def test_an_answer_from_before_there_were_digests_is_not_paid_for_again(tmp_path: Path) -> None:
    path = written(tmp_path / "answers.jsonl", "one")
    assert edited(path, 0, digest=None).known == {"question one": "one"}


@given(texts=st.lists(st.text(min_size=1).filter(str.strip), unique=True, max_size=5))
def test_what_was_written_is_read(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = written(tmp_path_factory.mktemp("journal") / "answers.jsonl", *texts)
    assert list(Journal(path).known.values() if texts else []) == texts
