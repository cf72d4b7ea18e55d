"""The rows that pass between stages. Real: files; nothing is faked."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.errors import DataError, MissingInputError
from tuning_room.records import (
    Candidate,
    Chunk,
    Dialogue,
    Item,
    Message,
    Rejection,
    parse_row,
    read_json,
    read_jsonl,
    write_json,
    write_jsonl,
)

MESSAGES = st.builds(Message, role=st.sampled_from(["system", "user", "assistant"]), content=st.text(min_size=1))
CANDIDATES = st.builds(
    Candidate,
    id=st.text(),
    source=st.text(),
    group=st.text(),
    gold=st.none() | st.text(),
    messages=st.lists(MESSAGES, max_size=3),
)
RECORDS = {
    Candidate: CANDIDATES,
    Rejection: st.builds(Rejection, reason=st.text(), detail=st.text(), candidate=CANDIDATES),
    Chunk: st.builds(Chunk, id=st.text(), document=st.text(), headings=st.lists(st.text()), text=st.text()),
    Dialogue: st.builds(Dialogue, id=st.text(), source=st.text(), group=st.text(), messages=st.lists(MESSAGES)),
    Item: st.builds(Item, id=st.text(), prompt=st.text(min_size=1), gold=st.text(min_size=1)),
}


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_what_is_written_is_read_again(kind: type, data: st.DataObject) -> None:
    rows = data.draw(st.lists(RECORDS[kind], max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        assert write_jsonl(path, rows) == len(rows)
        assert path.read_bytes().count(b"\n") == len(rows)
        assert list(read_jsonl(path, kind)) == rows


@given(text=st.text())
def test_any_line_is_a_record_or_a_data_error(text: str) -> None:
    try:
        assert isinstance(parse_row(text, Message, where="x:1"), Message)
    except DataError as error:
        assert str(error).startswith("x:1: ")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"role": "user", "content": ""}', "rows.jsonl:3: content"),
        ('{"role": "king", "content": "x"}', "rows.jsonl:3: role"),
        ('{"role": "user", "content": "x", "colour": 1}', "rows.jsonl:3: colour"),
        ('{"role": "user"', "rows.jsonl:3: "),
        ("[1, 2]", "rows.jsonl:3: "),
        ("null", "rows.jsonl:3: "),
    ],
)
def test_a_bad_line_is_named_with_its_number(line: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"role": "user", "content": "x"}\n\n' + line + "\n")
    with pytest.raises(DataError, match=words) as caught:
        list(read_jsonl(path, Message))
    assert caught.value.hint


def test_rows_before_a_bad_line_are_given(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"role": "user", "content": "x"}\nnonsense\n')
    rows = read_jsonl(path, Message)
    assert next(rows).content == "x"
    with pytest.raises(DataError):
        next(rows)


def test_a_file_that_is_not_utf8_is_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"role": "user", "content": "caf\xe9"}\n')
    with pytest.raises(DataError, match=r"rows\.jsonl"):
        list(read_jsonl(path, Message))


def test_a_byte_order_mark_is_no_reason_to_refuse_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('\ufeff{"role": "user", "content": "x"}\n', encoding="utf-8")
    assert [row.content for row in read_jsonl(path, Message)] == ["x"]


def test_a_missing_file_or_a_folder_is_missing_input(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.jsonl"):
        with pytest.raises(MissingInputError, match=path.name):
            list(read_jsonl(path, Message))


def test_a_row_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [Message(role="user", content="old")])

    def rows() -> "list[Message]":
        yield Message(role="user", content="new")  # type: ignore[misc]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        write_jsonl(path, rows())
    assert [row.content for row in read_jsonl(path, Message)] == ["old"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=JSON)
def test_json_is_read_as_it_was_written(value: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "x.json", value)
        assert read_json(Path(folder) / "x.json") == value


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == [1]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"not json"])
def test_a_file_that_is_not_json_is_a_data_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.json"):
        read_json(tmp_path / "x.json")


def test_json_that_is_missing_is_missing_input(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"x\.json"):
        read_json(tmp_path / "x.json")


def test_a_record_cannot_be_changed_and_a_message_is_openais(tmp_path: Path) -> None:
    message = Message(role="user", content="x")
    with pytest.raises(ValueError, match="frozen"):
        message.content = "y"  # type: ignore[misc]
    assert json.loads(json.dumps(message.as_dict())) == {"role": "user", "content": "x"}
