"""What a teacher's reply is held to: the passage, the checks of its requirements. Real: SDG Hub, checks, a socket.

Not shown: that a reply which passes is true; a rule that compares numbers and names cannot know that.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flow_samples import FULL_PROMPT, ChatServer, candidates, chunk, kind, losers
from hypothesis import given
from hypothesis import strategies as st

from tuning_room import generate
from tuning_room.errors import EngineError, RecipeError
from tuning_room.generate.config import GenerateConfig
from tuning_room.generate.standards import ungrounded
from tuning_room.records import write_jsonl
from tuning_room.workspace import Workspace

SOURCE = "The museum in Leeds opens at 9:30. Mrs. Weber has keys for 1,200 lockers. Ask about the PDF or the A4 form."


@pytest.mark.parametrize(
    "reply",
    [
        "It opens at 9:30.",
        "There are 1200 lockers in Leeds.",
        "Mrs. Weber's keys fit them.",
        "Monday is fine. Yes, one of them is free, and two more are not.",
        "Is it for twenty people?",
        "1. Take the PDF.\n2. Fill in the A4 form.\n3) Bring it.",
        "I think I'm right, ok? OK, so ask in leeds.",
        '"Please wait," she said.',
        "Please ask Mr. or Dr. Weber.",
        "",
    ],
)
def test_a_reply_of_what_the_sources_say_is_grounded(reply: str) -> None:
    assert ungrounded(reply, [SOURCE]) == ""


@pytest.mark.parametrize(
    ("reply", "stated"),
    [
        ("It opens at 9:45.", "45"),
        ("There are 1,300 lockers.", "1,300"),
        ("The price is twenty.", "twenty"),
        ("Ask Mrs. Weber or Mr. Novak.", "Novak"),
        ("Ask Mrs. Novak, please.", "Novak"),
        ("It is near (York is next), so walk.", "York"),
        ("Then go to **York**.", "York"),
        ("Then go to York.", "York"),
        ("Send a GIF.", "GIF"),
        ("Use the A5 form.", "A5"),
    ],
)
def test_a_number_or_a_name_of_no_source_is_named(reply: str, stated: str) -> None:
    assert ungrounded(reply, [SOURCE]) == f"'{stated}'"


def test_what_the_user_has_said_may_be_said() -> None:
    assert ungrounded("Then go to York at 7.", [SOURCE, "May I go to York at 7?"]) == ""


def test_nouns_that_have_capitals_are_no_names() -> None:
    source = "Das Museum ist um 9 Uhr offen."
    assert ungrounded("Sie können die Schlüssel an der Kasse holen, und um 9 ist das Museum offen.", [source]) == ""
    assert ungrounded("Sie können die Schlüssel an der Kasse holen, und um 8 ist das Museum offen.", [source]) == "'8'"
    assert ungrounded("Sie können das mit der App von McMuseum holen, und das ist nicht schwer.", [source]) != ""


@given(st.text(max_size=200))
def test_whatever_is_said_is_grounded_in_itself(text: str) -> None:
    assert ungrounded(text, [text]) == ""


def changed(config: GenerateConfig, **changes: object) -> GenerateConfig:
    return GenerateConfig.model_validate({**config.model_dump(), "rows_per_chunk": 1, **changes})


def of_answers(server: ChatServer, *replies: str) -> None:
    """Answer with these replies in turn by the seed, and ask for the opening hours."""

    def answer(body: dict[str, Any]) -> str:
        return "When do you open?" if kind(body) == "query" else replies[(body["seed"] - 11) % len(replies)]

    server.answer = answer


def is_answer(body: dict[str, Any]) -> bool:
    return str(body["messages"][0]["content"]).startswith(FULL_PROMPT)


def test_a_grounded_answer_is_asked_with_the_passage_in_a_fence_and_taught_without_it(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    write_jsonl(workspace.chunks, [chunk(1, text="We open at 9.")])
    of_answers(server, "At 9.")
    assert generate.run(changed(config, grounded=True), workspace).warnings == []
    (asked,) = filter(is_answer, server.bodies)
    system, question = asked["messages"]
    assert system["content"].startswith(f"{FULL_PROMPT}\n")
    fence = system["content"].split("\n")
    assert fence[-1].startswith("</passage-") and "We open at 9." in fence
    assert question == {"role": "user", "content": "When do you open?"}
    (row,) = candidates(workspace)
    assert [message.content for message in row.messages] == ["When do you open?", "At 9."]


def test_otherwise_the_full_prompt_is_all_that_is_sent(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    of_answers(server, "At 9.")
    generate.run(changed(config, grounded=False, prompt_rows=2), workspace)
    assert {body["messages"][0]["content"] for body in server.bodies if is_answer(body)} == {FULL_PROMPT}


def test_answers_about_the_prompt_are_given_no_passage(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    write_jsonl(workspace.chunks, [chunk(1, text="We open at 9.")])
    of_answers(server, "At 9.")
    generate.run(changed(config, grounded=True, prompt_rows=2), workspace)
    given = Counter(body["messages"][0]["content"] == FULL_PROMPT for body in server.bodies if is_answer(body))
    assert given == {True: 1, False: 1}


@pytest.mark.parametrize("changes", [{"rows_per_chunk": 0, "prompt_rows": 2}, {"chunks": 0, "prompt_rows": 2}])
def test_answers_that_are_to_be_grounded_in_nothing_are_refused_before_anything_is_asked(
    server: ChatServer, config: GenerateConfig, workspace: Workspace, changes: dict[str, int]
) -> None:
    write_jsonl(workspace.chunks, [chunk(number) for number in range(changes.pop("chunks", 2))])
    with pytest.raises(RecipeError, match=r"generate\.grounded: there is no passage"):
        generate.run(changed(config, grounded=True, **changes), workspace)
    assert server.bodies == []


def test_rules_say_that_they_ground_nothing(tmp_path: Path, config: GenerateConfig, workspace: Workspace) -> None:
    write_jsonl(workspace.chunks, [])
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n')
    (warning,) = generate.run(changed(config, teacher={}, grounded=True, seeds=seeds), workspace).warnings
    assert "generate.grounded" in warning


def test_an_answer_that_is_not_grounded_is_rejected_with_what_it_made_up(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    write_jsonl(workspace.chunks, [chunk(1, text="We open at 9."), chunk(2, text="We open at 8.")])
    of_answers(server, "At 9.")
    result = generate.run(changed(config, grounded=True), workspace)
    assert result.errors == 1
    (warning,) = result.warnings
    assert "not grounded, and left out: 1 of 2" in warning and str(workspace.losers) in warning
    good, bad = candidates(workspace)
    assert (good.error, bad.error, bad.messages) == ("", "not grounded: '9' stands in no source", [])
    (loser,) = losers(workspace)
    assert (loser.reason, loser.detail) == ("grounded", "'9' stands in no source")
    assert loser.candidate.messages[-1].content == "At 9."


def test_of_several_answers_one_that_is_grounded_is_kept(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    write_jsonl(workspace.chunks, [chunk(1, text="We open at 9.")])
    of_answers(server, "At 8.", "We open at 9, so come then.")
    generate.run(changed(config, grounded=True, candidates_per_query=2), workspace)
    (row,) = candidates(workspace)
    assert row.messages[-1].content == "We open at 9, so come then."
    assert [loser.reason for loser in losers(workspace)] == ["grounded"]


def test_from_the_second_exchange_on_the_dialogue_ends_before_what_is_made_up(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    write_jsonl(workspace.chunks, [chunk(1, text="We open at 9.")])
    server.answer = lambda body: (
        "When?" if not is_answer(body) else "At 9." if len(body["messages"]) == 2 else "It is in York."
    )
    generate.run(changed(config, grounded=True, turns=[2, 2]), workspace)
    (row,) = candidates(workspace)
    assert (row.error, [message.content for message in row.messages]) == ("", ["When?", "At 9."])


def test_where_no_answer_is_grounded_the_error_says_so(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    of_answers(server, "At 9.")
    with pytest.raises(EngineError, match=r"not grounded: '9' stands in no source.*set generate\.grounded to false"):
        generate.run(changed(config, grounded=True), workspace)


def asked_of(folder: Path, text: str) -> Path:
    file = folder / "requirements.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_of_several_replies_the_one_that_keeps_its_rows_requirement_is_kept(
    tmp_path: Path, server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    write_jsonl(workspace.chunks, [])
    file = asked_of(
        tmp_path,
        "- {id: ask, quote: ask, checks: {asks_question: {}}}\n"
        "- {id: rules, quote: Regeln}\n"
        "- {id: short, quote: tell, checks: {length: {at_least: 1, at_most: 6}}, every_reply: true}\n",
    )
    of_answers(server, "No.", "Why is that so?", "Why would that be so, do you really think?")
    config = changed(config, requirements=file, prompt_rows=2, candidates_per_query=3)
    assert generate.run(config, workspace).errors == 0
    taught = {tuple(row.requirements): row.messages[-1].content for row in candidates(workspace)}
    assert taught == {("ask",): "Why is that so?", ("rules",): "No."}
    assert {loser.reason for loser in losers(workspace)} == {"requirement:ask", "requirement:short", "longer"}


def test_a_requirements_check_that_does_not_exist_is_named_before_anything_is_asked(
    tmp_path: Path, server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    file = asked_of(tmp_path, "- {id: ask, quote: ask, checks: {asks_questoin: {}}}\n")
    with pytest.raises(RecipeError, match="asks_questoin"):
        generate.run(changed(config, requirements=file), workspace)
    assert server.bodies == []
