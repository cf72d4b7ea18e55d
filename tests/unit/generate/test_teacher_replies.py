"""What of a teacher's reply becomes a row: no reasoning, nothing that was cut off, no template token, no wrapping.

Real: the flows, HTTP, the journal. Not real: the server, which says what reasoning models were seen to say.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from flow_samples import ChatServer, Said, candidates, half, kind, last, losers, passage

from tuning_room.errors import EngineError
from tuning_room.generate import run
from tuning_room.generate.config import GenerateConfig
from tuning_room.workspace import Workspace

ANSWER = "Which part would you count first?"
MORE_TOKENS = "raise generate.teacher.max_tokens"


def whole(body: dict[str, Any]) -> str:
    """Return a question that names its passage, or an answer."""
    return ANSWER if kind(body) == "answer" else half(body)


def speaker(text: str) -> str:
    """Return who says a text."""
    return "Assistant" if text == ANSWER else "User"


class Mode(NamedTuple):
    """How a server spoils a reply, and what is counted as taken off: a question and an answer for each of 6 rows."""

    spoilt: Callable[[str], Said]
    taken_off: dict[str, int]


CLEANED = {
    "think": Mode(lambda text: Said(f"<think>\nIt is 49.\n</think>\n\n{text}"), {"reasoning": 12}),
    "think-open": Mode(lambda text: Said(f"It is 49.\n</think>\n\n{text}"), {"reasoning": 12}),
    "thinking": Mode(lambda text: Said(f"<thinking>It is 49.</thinking>{text}"), {"reasoning": 12}),
    "[THINK]": Mode(lambda text: Said(f"[THINK]It is 49.[/THINK]{text}"), {"reasoning": 12}),
    "answer": Mode(lambda text: Said(f"<think>49</think>\n<answer>\n{text}\n</answer>"), {"reasoning": 12}),
    "beside": Mode(lambda text: Said(text, reasoning={"reasoning_content": "It is 49."}), {}),
    "beside, vLLM": Mode(lambda text: Said(text, reasoning={"reasoning": "It is 49."}), {}),
    "quotes": Mode(lambda text: Said(f'"{text}"'), {"quotes": 12}),
    "label": Mode(lambda text: Said(f'{speaker(text)}: "{text}"'), {"role labels": 12, "quotes": 12}),
    "template": Mode(lambda text: Said(f"{text}<|im_end|>"), {"template tokens": 12}),
}
FAILED = {
    "length": (Said("Let us look at it step by step. First one row togeth", "length"), "cut off at 200 tokens"),
    "think-cut": (
        Said("<think>\nFirst I should consider that the total is 49 and", "length"),
        "cut off at 4296 tokens",
    ),
    "think-cut, said to be whole": (Said("<think>\nFirst I should consider that 49"), "reasoning without an answer"),
    "thought only": (Said("<think>It is 49.</think>\n"), "reasoning without an answer"),
    "beside, cut": (Said(None, "length", {"reasoning_content": "It is 4"}), "cut off at 4296 tokens"),
    "beside, cut, empty": (Said("", "length", {"reasoning": "It is 4"}), "cut off at 4296 tokens"),
    "beside, thought only": (Said(None, reasoning={"reasoning_content": "It is 49."}), "reasoning without an answer"),
    "empty": (Said(" "), "reply is empty"),
}


@pytest.mark.parametrize("mode", CLEANED.values(), ids=CLEANED)
def test_what_surrounds_a_reply_is_taken_off_and_counted(
    config: GenerateConfig, workspace: Workspace, server: ChatServer, mode: Mode
) -> None:
    server.answer = lambda body: mode.spoilt(whole(body))
    result = run(config.model_copy(update={"turns": [1, 1]}), workspace)
    assert {tuple(m.content for m in c.messages) for c in candidates(workspace)} == {
        (f"What is half of {n}?", ANSWER) for n in (1, 2, 3)
    }
    assert (result.candidates, result.errors, result.cut_off) == (6, 0, 0)
    assert result.cleaned == mode.taken_off
    # What comes from the journal is cleaned, and counted, as well.
    asked = len(server.bodies)
    assert run(config, workspace).cleaned == mode.taken_off
    assert len(server.bodies) == asked


@pytest.mark.parametrize("of", ["query", "answer"])
@pytest.mark.parametrize(("said", "reason"), FAILED.values(), ids=FAILED)
def test_a_reply_of_which_nothing_usable_is_left_fails_its_row_alone(
    config: GenerateConfig, workspace: Workspace, server: ChatServer, said: Said, reason: str, of: str
) -> None:
    server.answer = lambda body: said if kind(body) == of and passage_of(body) == "2" else whole(body)
    result = run(config, workspace)
    failed = [c for c in candidates(workspace) if c.error]
    assert [c.group for c in failed] == ["c2", "c2"]
    assert all(reason in c.error for c in failed)
    assert all(MORE_TOKENS in c.error for c in failed) or reason == "reply is empty"
    assert result.errors == 2
    assert [(reason in why, count) for why, count in result.failures.items()] == [(True, 2)]
    assert result.cut_off == (2 if "cut off" in reason else 0)
    assert not any(word in m.content for c in candidates(workspace) for m in c.messages for word in ("49", "togeth"))
    # A later run asks for these rows again, and for no other.
    server.bodies.clear()
    server.answer = whole
    assert run(config, workspace).errors == 0
    assert all(passage_of(body) == "2" for body in server.bodies)


UNUSABLE = {
    "query": (Said("User: What is half of 2?\n\nAssistant: One."), "transcript of both sides"),
    "answer": (Said("It is 49.</think> Which part comes first?"), "unclear where that begins or ends"),
}


@pytest.mark.parametrize(("of", "said", "reason"), [(of, *case) for of, case in UNUSABLE.items()], ids=UNUSABLE)
def test_a_reply_that_is_unclear_fails_its_row_rather_than_keep_a_part_of_it(
    config: GenerateConfig, workspace: Workspace, server: ChatServer, of: str, said: Said, reason: str
) -> None:
    server.answer = lambda body: said if kind(body) == of and passage_of(body) == "2" else whole(body)
    assert run(config, workspace).errors == 2
    assert all(reason in c.error for c in candidates(workspace) if c.group == "c2")
    server.bodies.clear()
    server.answer = whole
    assert run(config, workspace).errors == 0
    assert all(passage_of(body) == "2" for body in server.bodies)


def test_replies_that_begin_with_an_unknown_pair_of_tags_are_counted_by_its_name(
    config: GenerateConfig, workspace: Workspace, server: ChatServer
) -> None:
    server.answer = lambda body: f"<plan>Ask.</plan>{ANSWER}" if kind(body) == "answer" else whole(body)
    result = run(config, workspace)
    assert (result.errors, result.unknown_tags) == (0, {"plan": 6})


def test_critiques_rubrics_and_judgements_lose_their_reasoning_and_nothing_else(
    config: GenerateConfig, workspace: Workspace, server: ChatServer
) -> None:
    notes = {
        "critique": "Assistant: tells.\nUser: asks <|im_end|>",
        "rubric": '"- Asks one question."',
        "judge": '"Human: fine.\nAssistant: fine. score: 9"',
    }
    server.answer = lambda body: f"<think>It is 49.</think>\n{notes.get(kind(body), whole(body))}"
    run(config.model_copy(update={"critique": True, "judge": True}), workspace)
    assert (workspace.generation / "rubric.md").read_text() == notes["rubric"] + "\n"
    assert all(f"\n{notes['critique']}\n</critique-" in last(body) for body in server.sent("rewrite"))
    assert {c.scores["judge"] for c in candidates(workspace)} == {9.0}


def test_where_the_checks_want_json_a_json_string_stays_one(
    config: GenerateConfig, workspace: Workspace, server: ChatServer
) -> None:
    server.answer = lambda body: '"network, urgent"' if kind(body) == "answer" else f'"{whole(body)}"'
    run(config.model_copy(update={"checks": {"json_schema": {"schema": {"type": "string"}}}}), workspace)
    assert {c.messages[1].content for c in candidates(workspace)} == {'"network, urgent"'}
    assert not any('"' in c.messages[0].content for c in candidates(workspace))


def passage_of(body: dict[str, Any]) -> str:
    """Return the passage that a call for a question or an answer is about."""
    content = str(body["messages"][-1]["content"])
    return passage(body) if kind(body) == "query" else content.removesuffix("?")[-1:]


def test_a_teacher_whose_budget_is_too_small_for_its_reasoning_is_one_error_that_says_so(
    config: GenerateConfig, workspace: Workspace, server: ChatServer
) -> None:
    server.answer = lambda body: FAILED["think-cut"][0]
    with pytest.raises(EngineError, match=rf"none of 6 rows.*4296 tokens.*{MORE_TOKENS}"):
        run(config, workspace)


def test_a_teacher_that_is_seen_to_reason_gets_room_for_it(
    config: GenerateConfig, workspace: Workspace, server: ChatServer
) -> None:
    def answer(body: dict[str, Any]) -> Said | str:
        if body["max_tokens"] < 1000:
            return Said("<think>It is 49, and so I", "length")
        return f"<think>It is 49.</think>{whole(body)}"

    server.answer = answer
    result = run(config, workspace)
    assert (result.errors, result.cut_off, result.reasoning_tokens) == (0, 0, 4096)
    assert {body["max_tokens"] for body in server.bodies} == {200, 4296}
    # What was learnt holds for the next step, and for the next run: neither asks in vain.
    assert {body["max_tokens"] for body in server.sent("answer")} == {4296}
    server.bodies.clear()
    assert run(config, workspace).errors == 0
    assert server.bodies == []


@pytest.mark.parametrize(
    "said", [Said("Let us look at it, first one row togeth", "length"), Said("User: a\nAssistant: b")]
)
def test_a_teacher_that_does_not_reason_gets_no_more_room(
    config: GenerateConfig, workspace: Workspace, server: ChatServer, said: Said
) -> None:
    server.answer = lambda body: said if kind(body) == "query" and passage_of(body) == "2" else whole(body)
    assert run(config, workspace).reasoning_tokens == 0
    assert {body["max_tokens"] for body in server.bodies} == {200}


def test_room_for_reasoning_can_be_refused(config: GenerateConfig, workspace: Workspace, server: ChatServer) -> None:
    server.answer = lambda body: FAILED["think-cut"][0] if passage_of(body) == "2" else whole(body)
    teacher = config.teacher.model_copy(update={"reasoning_tokens": 0})
    result = run(config.model_copy(update={"teacher": teacher}), workspace)
    assert result.failures == {"the teacher's reply was cut off at 200 tokens": 2}
    assert len(server.sent("query")) == 6


def test_later_turns_rewritings_and_losers_hold_no_reasoning(
    config: GenerateConfig, workspace: Workspace, server: ChatServer
) -> None:
    server.answer = lambda body: f"<think>It is 49.</think>\n{whole(body)}"
    more = config.model_copy(update={"turns": [2, 2], "critique": True, "candidates_per_query": 2, "judge": True})
    run(more, workspace)
    kept = [m.content for c in candidates(workspace) for m in c.messages]
    lost = [m.content for loser in losers(workspace) for m in loser.candidate.messages]
    assert len(kept) >= 12
    assert lost
    assert not any("49" in text or "think" in text for text in [*kept, *lost])
    assert not any("49" in str(body) for body in server.bodies)
    assert "think" not in (workspace.generation / "rubric.md").read_text()
