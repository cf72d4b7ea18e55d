"""Dialogues in other formats. Real: files, the seeds' reader."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning_room.errors import DataError, MissingInputError
from tuning_room.formats import FORMATS, FileRow, Format, read_dialogue, read_rows, written
from tuning_room.generate.examples import example_candidates, read_examples
from tuning_room.records import Message
from tuning_room.words import seen

TEXT = st.text(min_size=1).filter(seen)


@st.composite
def dialogues(draw: st.DrawFn) -> list[Message]:
    """Draw a dialogue in which user and assistant take turns, with or without a system turn."""
    said = [
        Message(role=role, content=draw(TEXT)) for _ in range(draw(st.integers(1, 4))) for role in ("user", "assistant")
    ]
    return [*([Message(role="system", content=draw(TEXT))] if draw(st.booleans()) else []), *said]  # type: ignore[list-item]


@given(messages=dialogues(), form=st.sampled_from(FORMATS))
def test_a_dialogue_comes_back_as_it_was(messages: list[Message], form: Format) -> None:
    row = json.loads(json.dumps(written(messages, form, where="row")))
    assert read_dialogue(FileRow("row", 1, row)) == messages


@given(rows=st.lists(dialogues(), min_size=1, max_size=5), form=st.sampled_from(FORMATS), is_list=st.booleans())
def test_a_file_of_dialogues_comes_back_as_seeds(
    rows: list[list[Message]], form: Format, is_list: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("seeds") / "seeds.json"
    values = [written(messages, form, where="row") for messages in rows]
    lines = json.dumps(values, indent=1) if is_list else "\n".join(map(json.dumps, values))
    path.write_text(lines, encoding="utf-8")
    read = [candidate.messages for candidate in example_candidates(path)]
    # The system turn is left out: a row gets the recipe's own.
    assert read == [[message for message in messages if message.role != "system"] for messages in rows]


USER, REPLY = Message(role="user", content="Hi"), Message(role="assistant", content="Why?")


@pytest.mark.parametrize("form", ["alpaca", "prompt-completion"])
@pytest.mark.parametrize("messages", [[USER], [REPLY], [USER, REPLY, USER], []])
def test_what_a_format_cannot_say_is_refused(form: Format, messages: list[Message]) -> None:
    with pytest.raises(DataError, match="row-3") as caught:
        written(messages, form, where="row-3")
    assert "sharegpt" in caught.value.hint


def test_alpaca_needs_turns() -> None:
    with pytest.raises(DataError, match="take turns"):
        written([USER, USER, REPLY], "alpaca", where="row")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"instruction": "Add.", "input": "3 and 4", "output": "Why?"}, ["Add.\n\n3 and 4", "Why?"]),
        ({"instruction": "Add.", "input": None, "output": "Why?", "text": "x"}, ["Add.", "Why?"]),
        ({"instruction": "b", "output": "c", "history": [["a", "A"]]}, ["a", "A", "b", "c"]),
        ({"prompt": "Hi", "completion": "Why?"}, ["Hi", "Why?"]),
        ({"conversations": [{"from": "user", "value": "Hi"}, {"from": "model", "value": "Why?"}]}, ["Hi", "Why?"]),
        ({"system": "S", "conversations": [{"from": "human", "value": "Hi"}]}, ["S", "Hi"]),
    ],
)
def test_the_usual_variants_are_read(values: dict[str, Any], said: list[str]) -> None:
    assert [message.content for message in read_dialogue(FileRow("row", 1, values))] == said


GOOD = {
    "messages": {
        "id": "g{n}",
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Why?"}],
    },
    "sharegpt": {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Why?"}]},
    "alpaca": {"instruction": "Hi", "output": "Why?"},
    "prompt-completion": {"prompt": "Hi", "completion": "Why?"},
}


def seventh(path: Path, form: str, bad: str) -> Path:
    """Write a file of good rows whose seventh line is bad."""
    lines = [json.dumps(GOOD[form]).replace("{n}", str(n)) for n in range(9)]
    path.write_text("\n".join([*lines[:6], bad, *lines[7:]]), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("form", "bad", "words"),
    [
        ("messages", '{"id": "x", "messages": [', "not JSON in UTF-8"),
        ("messages", '{"id": "x", "messages": [{"role": "user"}]}', "messages.0.content: Field required"),
        ("messages", '{"id": "x", "messages": [{"role": "tool", "content": "x"}]}', "messages.0.role"),
        ("messages", '{"id": "x", "messages": []}', "messages"),
        ("messages", json.dumps({**GOOD["messages"], "tpoic": "sums"}), "tpoic: no such field; did you mean 'topic'?"),
        ("messages", '{"messages": [{"role": "assistant", "content": "Why?"}]}', "messages"),
        ("sharegpt", '{"conversations": [{"from": "human", "value": "x"}, {"from": "gpt"}]}', "conversations.1.value"),
        ("sharegpt", '{"conversations": [{"from": "cat", "value": "x"}]}', "conversations.0.from"),
        ("sharegpt", '{"conversations": [{"from": "human", "value": "x"}]}', "messages"),
        ("alpaca", '{"instruction": "x", "output": ""}', "output: String should have at least 1 character"),
        ("alpaca", '{"instruction": "x", "output": "y", "history": [["a"]]}', "history.0"),
        ("prompt-completion", '{"prompt": "x"}', "completion: Field required"),
        ("prompt-completion", '{"prompt": 3, "completion": "x"}', "prompt: Input should be a valid string"),
        ("prompt-completion", '{"question": "x"}', "none of the fields"),
        ("prompt-completion", "[1, 2]", "not a JSON object"),
        ("prompt-completion", '"x"', "not a JSON object"),
    ],
)
def test_a_broken_line_seven_is_named(form: str, bad: str, words: str, tmp_path: Path) -> None:
    path = seventh(tmp_path / "seeds.jsonl", form, bad)
    with pytest.raises(DataError) as caught:
        example_candidates(path)
    assert str(caught.value).startswith(f"{path}:7: ")
    assert words in str(caught.value)
    assert caught.value.hint


def test_a_line_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = seventh(tmp_path / "seeds.jsonl", "alpaca", "X")
    path.write_bytes(path.read_bytes().replace(b"X", b"\xff"))
    with pytest.raises(DataError, match=r"seeds\.jsonl:7: not JSON"):
        example_candidates(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[\n{"prompt": "a", "completion": "b"},\n{"prompt": "a"}\n]', 3),
        ('[\n{"prompt": "a",\n "completion": "b"},\n\n\n{"prompt": "a"}\n]', 6),
        ('[{"prompt": "a", "completion": "b"},\n{"prompt": "a", completion: "b"}]', 2),
        ('[{"prompt": "a", "completion": "b"},\n', 2),
        ("[\n3]", 2),
        ('[{"prompt": "a", "completion": "b"}]\n\n{"prompt": "a", "completion": "b"}', 3),
    ],
)
def test_in_a_list_the_line_is_named_too(text: str, line: int, tmp_path: Path) -> None:
    (tmp_path / "seeds.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"seeds\.json:{line}: "):
        example_candidates(tmp_path / "seeds.json")


@given(content=st.binary(max_size=60) | st.text('[]{}",: \n1a', max_size=40).map(str.encode))
def test_no_file_is_a_crash(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("seeds") / "seeds.jsonl"
    path.write_bytes(content)
    try:
        assert all(isinstance(row.values, dict) for row in read_rows(path))
    except DataError as error:
        assert str(path) in str(error)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"nowhere\.jsonl"):
        example_candidates(tmp_path / "nowhere.jsonl")


CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Why?"}]
GREETED = [("gpt", "Welcome!"), ("human", "Hi"), ("gpt", "Why?"), ("human", "Bye")]
PARTS = [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]
WHY = [{"type": "text", "text": "Why?"}]
THOUGHT = {"role": "assistant", "content": "<think>No.</think>\n\nWhy?", "reasoning_content": "x"}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{**CHAT[0], "name": "Ada"}, {**CHAT[1], "weight": 1, "tool_calls": [], "refusal": None}]},
        {"messages": CHAT, "tools": [], "parallel_tool_calls": False, "prompt_id": "x", "uid": 3},
        {"messages": [{"role": "developer", "content": "Old."}, *CHAT]},
        {"messages": [CHAT[0], {"role": "assistant", "content": None}, CHAT[1]]},
        {"messages": [{"role": "User", "content": PARTS}, CHAT[1]]},
        {"messages": [CHAT[0], THOUGHT]},
        {"messages": [CHAT[0], {"role": "assistant", "content": [{"type": "thinking", "thinking": "No."}, *WHY]}]},
        {"messages": [CHAT[0], {**CHAT[1], "thinking": "No."}]},
        {"messages": [{"role": "system", "content": "A."}, {"role": "system", "content": "B."}, *CHAT]},
        {"messages": [{**CHAT[0], "weight": 0}, {**CHAT[1], "train": True}]},
        {"prompt": CHAT[:1], "completion": CHAT[1:], "label": True},
        {"conversations": CHAT},
        {"conversations": [{"from": "Prompter", "value": "Hi"}, {"from": "chatgpt", "value": "Why?", "weight": 0.5}]},
        {"conversations": [{"from": side, "value": text} for side, text in GREETED]},
        {"prompt": CHAT[:1], "completion": [{"role": "assistant", "content": [{"type": "text", "text": "Why?"}]}]},
    ],
)
def test_rows_as_other_projects_write_them_are_read(row: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    (candidate,) = example_candidates(path)
    assert [message.as_dict() for message in candidate.messages] == CHAT


@pytest.mark.parametrize("content", ["\ufeff{}".encode("utf-16"), '{"a": 1}'.encode("utf-16-be"), b"\x00\x01"])
def test_what_is_no_utf_8_is_said_once(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_bytes(content * 3)
    with pytest.raises(DataError, match=r"seeds\.jsonl: not UTF-8.*save it as UTF-8"):
        read_examples(path)


@pytest.mark.parametrize("written", ['{"gold": NaN, "messages": []}', '[{"gold": -Infinity, "messages": []}]'])
def test_what_json_has_no_word_for_is_refused(written: str, tmp_path: Path) -> None:
    path = tmp_path / "seeds.json"
    path.write_text(written, encoding="utf-8")
    with pytest.raises(DataError, match=r"seeds\.json:1: not JSON in UTF-8 \((?:NaN|-Infinity) is not JSON\)"):
        read_examples(path)


def chat_row(**turns: Any) -> str:
    """Return a row of one exchange with changes to a side's turn."""
    return json.dumps({"messages": [{**turn, **turns.get(turn["role"], {})} for turn in CHAT]})


CALL = {"conversations": [{"from": "function_call", "value": "{}"}, {"from": "gpt", "value": "x"}]}
FAULTS = {
    '{"messages": [': "not JSON",
    json.dumps(CALL): "a turn of 'function_call'",
    json.dumps({"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": ""}]}): "at least 1 char",
    chat_row(user={"content": [{"type": "image_url", "image_url": {}}]}): "no text (image_url)",
    chat_row(user={"content": None}): "null",
    chat_row(assistant={"weight": 0}): "weight: 0",
    chat_row(assistant={"content": None, "tool_calls": [{"id": "c"}]}): "calls of tools",
    chat_row(assistant={"content": "<think>hm"}): "reasoning without",
    chat_row(assistant={"content": "\u200b "}): "nothing but blanks",
    chat_row(assistant={"masked": True}): "masked: true",
    json.dumps({"prompt": CHAT[:1], "completion": CHAT[1:], "label": False}): "label: false",
    json.dumps(
        {"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y", "loss": False}]}
    ): "loss: 0",
}


@settings(max_examples=30)
@given(drawn=st.lists(st.sampled_from([*FAULTS, json.dumps({"messages": CHAT})]), min_size=2, max_size=12))
def test_every_fault_is_listed_once_with_its_count_or_left_out(
    drawn: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("seeds") / "seeds.jsonl"
    path.write_text("\n".join(drawn), encoding="utf-8")
    bad = [line for line in drawn if line in FAULTS]
    if good := len(drawn) - len(bad):
        found = read_examples(path, skip=True)
        assert (len(found.candidates), sum(found.skipped.values())) == (good, len(bad))
    if len(bad) < 2:
        return
    with pytest.raises(DataError) as caught:
        read_examples(path)
    first, *kinds = caught.value.args[0].splitlines()
    assert f"{len(bad)} of {len(drawn)} rows" in first
    assert "on_error: skip" in caught.value.hint
    assert len(kinds) == len(set(bad))
    for line in set(bad):
        (kind,) = [kind for kind in kinds if FAULTS[line] in kind]
        assert kind.strip().startswith(f"{bad.count(line)} x ")
        assert f"line {drawn.index(line) + 1}" in kind


def test_what_was_mended_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    turns = [("gpt", "Welcome!"), ("human", "Hi"), ("human", "I am stuck."), ("gpt", "Where?"), ("human", "Bye")]
    row = {"conversations": [{"from": side, "value": text} for side, text in turns]}
    path.write_text(f"{json.dumps(row)}\n{json.dumps(row)}", encoding="utf-8")
    found = read_examples(path)
    assert [message.content for message in found.candidates[0].messages] == ["Hi\n\nI am stuck.", "Where?"]
    assert [*found.mended.values()] == [2, 2, 2]


def test_a_gold_answer_may_be_a_number(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    rows = [json.dumps({"messages": CHAT, "gold": gold}) for gold in (42, 1.5, "x")]
    path.write_text("\n".join(rows), encoding="utf-8")
    assert [candidate.gold for candidate in example_candidates(path)] == ["42", "1.5", "x"]


def test_labels_are_kept_and_rows_without_an_id_get_one(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    labelled = {**GOOD["sharegpt"], "id": 41, "topic": "sums", "situation": "plain", "gold": "7", "lang": "en"}
    path.write_text(f"{json.dumps(labelled)}\n\n{json.dumps(GOOD['alpaca'])}\n", encoding="utf-8")
    first, second = example_candidates(path)
    assert (first.id, first.topic, first.situation, first.gold) == ("41", "sums", "plain", "7")
    assert (second.id, second.gold) == ("line-3", None)
