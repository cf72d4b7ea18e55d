"""Best of N, turns, critique and judge. Real: SDG Hub, the checks, the journal, a chat server on a socket.

Not shown: that a teacher's critique or judgement is any good; the server's words are the tests' own.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from flow_samples import FULL_PROMPT, ChatServer, Said, candidates, chunk, half, kind, last, losers, passage
from hypothesis import given
from hypothesis import strategies as st

from tuning_room import generate
from tuning_room.errors import EngineError, RecipeError
from tuning_room.generate.config import GenerateConfig
from tuning_room.generate.dialogues import ReplyOption, ranked, why_lost
from tuning_room.records import write_jsonl
from tuning_room.workspace import Workspace

Answer = Callable[[dict[str, Any]], str | int | Said]
ASKS = {"asks_question": {}, "length": {"at_least": 2, "at_most": 12}}


def changed(config: GenerateConfig, **changes: object) -> GenerateConfig:
    return GenerateConfig.model_validate({**config.model_dump(), "rows_per_chunk": 1, **changes})


def says(**by_flow: str | int | Said | Answer) -> Answer:
    """Return a server's script: what it says in each flow; elsewhere a short question."""

    def answer(body: dict[str, Any]) -> str | int | Said:
        said = by_flow.get(kind(body), half)
        return said(body) if callable(said) else said

    return answer


def by_seed(*replies: str | int) -> Answer:
    return lambda body: replies[(body["seed"] - 11) % len(replies)]


# Best of N


def test_of_n_replies_the_shortest_that_passes_the_checks_is_kept(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    server.answer = says(answer=by_seed("It is six.", "Which half do you mean by that?", "Which half?"))
    result = generate.run(changed(config, candidates_per_query=3, checks=ASKS), workspace)
    assert (result.candidates, result.errors) == (3, 0)
    assert len(server.sent("answer")) == 9
    assert [row.messages[1].content for row in candidates(workspace)] == ["Which half?"] * 3
    found = losers(workspace)
    assert Counter((loser.reason, loser.candidate.messages[-1].content) for loser in found) == {
        ("asks_question", "It is six."): 3,
        ("longer", "Which half do you mean by that?"): 3,
    }
    assert {loser.detail for loser in found} == {"0 questions", "31 characters; the reply that was kept has 11"}
    assert len({loser.candidate.id for loser in found}) == 6


def test_where_no_reply_passes_the_one_with_fewest_failures_stays_for_the_dataset_to_reject(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    server.answer = says(answer=by_seed("Six", "It is six"))
    generate.run(changed(config, candidates_per_query=2, checks=ASKS), workspace)
    assert {row.messages[1].content for row in candidates(workspace)} == {"It is six"}
    assert {loser.reason for loser in losers(workspace)} == {"asks_question"}


def test_a_reply_that_never_came_costs_only_itself(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    server.answer = says(answer=by_seed(400, "Which half?"))
    assert generate.run(changed(config, candidates_per_query=2), workspace).errors == 0
    found = losers(workspace)
    assert [loser.reason for loser in found] == ["error"] * 3
    assert all("I refuse this row" in loser.detail for loser in found)


def test_an_unknown_check_is_named_before_anything_is_asked(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    with pytest.raises(RecipeError, match="polite"):
        generate.run(changed(config, checks={"polite": {}}), workspace)
    assert server.bodies == []


OPTIONS = st.builds(
    ReplyOption,
    st.sampled_from(["", "Why?", "Why so?", "Because."]),
    error=st.sampled_from(["", "refused"]),
    failed=st.lists(st.tuples(st.sampled_from(["a", "b"]), st.just("why")), max_size=2).map(tuple),
    score=st.none() | st.integers(0, 10).map(float),
    is_rewritten=st.booleans(),
)


@given(st.lists(OPTIONS, min_size=1, max_size=6))
def test_ranking_keeps_all_and_puts_what_passes_more_first(options: list[ReplyOption]) -> None:
    best, *others = ranked(options)
    assert len(others) == len(options) - 1
    for other in others:
        assert bool(best.error) <= bool(other.error)
        if best.error == other.error:
            assert len(best.failed) <= len(other.failed)
        reason, detail = why_lost(other, best)
        assert reason and detail


# Turns


def test_a_simulated_user_goes_on_and_the_full_prompt_stays(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    server.answer = says(query="First?", user=lambda body: f"Next {last(body).count('User:')}?", answer="Which half?")
    result = generate.run(changed(config, turns=[3, 3]), workspace)
    assert (result.candidates, result.errors) == (3, 0)
    for row in candidates(workspace):
        assert [m.content for m in row.messages][::2] == ["First?", "Next 1?", "Next 2?"]
        assert [m.role for m in row.messages] == ["user", "assistant"] * 3
        assert len(row.traits["push"].split(", ")) == 2
    lengths = Counter(len(body["messages"]) for body in server.sent("answer"))
    assert set(lengths) == {2, 4, 6}
    assert all(body["messages"][0]["content"] == FULL_PROMPT for body in server.sent("answer"))


def test_the_push_that_is_recorded_is_the_one_that_was_asked_for(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    from tuning_room.generate.columns import load_columns

    write_jsonl(workspace.chunks, [chunk(n) for n in range(12)])
    server.answer = says(query=lambda body: f"About {passage(body)}?")
    generate.run(changed(config, turns=[2, 2]), workspace)
    texts = load_columns()["push"]
    asked = Counter(name for body in server.sent("user") for name in texts if texts[name].text in last(body))
    assert asked == Counter(row.traits["push"] for row in candidates(workspace))
    assert len(asked) >= 3


def test_each_dialogue_draws_its_length(server: ChatServer, config: GenerateConfig, workspace: Workspace) -> None:
    write_jsonl(workspace.chunks, [chunk(n) for n in range(24)])
    generate.run(changed(config, turns=[1, 4]), workspace)
    lengths = {row.id: len(row.messages) // 2 for row in candidates(workspace)}
    assert set(lengths.values()) == {1, 2, 3, 4}


def test_a_dialogue_ends_before_a_reply_that_no_check_lets_through(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    server.answer = says(answer=lambda body: "It is six." if len(body["messages"]) > 2 else "Which half?")
    generate.run(changed(config, turns=[3, 3], checks=ASKS), workspace)
    for row in candidates(workspace):
        assert [m.content for m in row.messages] == [f"What is half of {row.group[1:]}?", "Which half?"]
        assert "push" not in row.traits
    found = losers(workspace)
    assert [loser.reason for loser in found] == ["asks_question"] * 3
    assert all(len(loser.candidate.messages) == 4 and loser.candidate.traits["push"] for loser in found)


def test_a_later_turn_that_fails_marks_its_row_and_is_all_that_is_asked_again(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    server.answer = says(query=lambda body: "About 2?" if "Passage 2." in last(body) else "Else?", user=fails_for_2)
    assert generate.run(changed(config, turns=[2, 2]), workspace).errors == 1
    failed = next(row for row in candidates(workspace) if row.error)
    assert failed.group == "c2" and len(failed.messages) == 2
    server.bodies.clear()
    server.answer = says()
    assert generate.run(changed(config, turns=[2, 2]), workspace).errors == 0
    assert [kind(body) for body in server.bodies] == ["user", "answer"]


def fails_for_2(body: dict[str, Any]) -> str | int:
    return 400 if "About 2?" in last(body) else "And then?"


# Critique and rewriting


def test_a_critique_leads_to_the_reply_that_is_kept(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    server.answer = says(answer="It is six.", critique="'It is six' tells.", rewrite="Which half do you mean?")
    generate.run(changed(config, critique=True), workspace)
    assert {row.messages[1].content for row in candidates(workspace)} == {"Which half do you mean?"}
    found = {(loser.reason, loser.detail, loser.candidate.messages[-1].content) for loser in losers(workspace)}
    assert found == {("rewritten", "'It is six' tells.", "It is six.")}
    for body in server.sent("critique"):
        assert "\nIt is six.\n</reply-" in last(body)
    for body in server.sent("rewrite"):
        assert "\n'It is six' tells.\n</critique-" in last(body)
        assert FULL_PROMPT in last(body)


@pytest.mark.parametrize("spoilt", [{"rewrite": "It is six."}, {"rewrite": 400}, {"critique": 400}])
def test_a_rewriting_that_fails_or_spoils_a_reply_is_not_kept(
    server: ChatServer, config: GenerateConfig, workspace: Workspace, spoilt: dict[str, Any]
) -> None:
    server.answer = says(answer="Which half?", **spoilt)
    assert generate.run(changed(config, critique=True, checks=ASKS), workspace).errors == 0
    assert {row.messages[1].content for row in candidates(workspace)} == {"Which half?"}
    assert len(losers(workspace)) == 3


# Judge


def test_a_judge_ranks_what_passes_and_its_scores_stay(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    def judge(body: dict[str, Any]) -> str:
        return "- yes\nscore: 9" if "Which part of the twelve do you know?" in last(body) else "- no\nscore: 4"

    server.answer = says(
        rubric="- Asks one question.",
        judge=judge,
        answer=by_seed("It is six.", "Which half?", "Which part of the twelve do you know?"),
    )
    generate.run(changed(config, judge=True, candidates_per_query=3, checks=ASKS), workspace)
    for row in candidates(workspace):
        assert row.messages[1].content == "Which part of the twelve do you know?"
        assert row.scores == {"judge": 9.0}
    assert Counter(loser.reason for loser in losers(workspace)) == {"asks_question": 3, "score": 3}
    details = {loser.detail for loser in losers(workspace) if loser.reason == "score"}
    assert details == {"4; the reply that was kept has 9: - no\nscore: 4"}
    [rubric] = server.sent("rubric")
    assert FULL_PROMPT in last(rubric)
    assert (workspace.generation / "rubric.md").read_text() == "- Asks one question.\n"
    # What no check lets through is not judged.
    assert not any("It is six." in last(body) for body in server.sent("judge"))
    assert all("\n- Asks one question.\n</rubric-" in last(body) for body in server.sent("judge"))


@pytest.mark.parametrize("judged", ["a fine reply", "score: 11", 400])
def test_a_judgement_without_a_score_leaves_the_row_as_it_is(
    server: ChatServer, config: GenerateConfig, workspace: Workspace, judged: str | int
) -> None:
    server.answer = says(judge=judged)
    result = generate.run(changed(config, judge=True), workspace)
    assert (result.candidates, result.errors) == (3, 0)
    assert all(row.scores == {} and len(row.messages) == 2 for row in candidates(workspace))


def test_without_a_rubric_there_is_no_judge(server: ChatServer, config: GenerateConfig, workspace: Workspace) -> None:
    server.answer = says(rubric=400)
    with pytest.raises(EngineError, match=r"no rubric.*I refuse"):
        generate.run(changed(config, judge=True), workspace)
    # What was answered is not asked again.
    server.bodies.clear()
    server.answer = says(rubric="- One.", judge="score: 7")
    assert generate.run(changed(config, judge=True), workspace).errors == 0
    assert {kind(body) for body in server.bodies} == {"rubric", "judge"}


def test_a_rubric_may_be_longer_than_a_reply(server: ChatServer, config: GenerateConfig, workspace: Workspace) -> None:
    server.answer = says(rubric="- One.", judge="score: 7")
    generate.run(changed(config, judge=True), workspace)
    assert {body["max_tokens"] for body in server.sent("rubric")} == {200 + 2048}
    assert {body["max_tokens"] for body in server.bodies if kind(body) != "rubric"} == {200}


def test_a_rubric_that_is_cut_off_all_the_same_says_what_to_raise(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    server.answer = says(rubric=Said("- Asks one question.\n- Nev", "length"), judge="score: 7")
    with pytest.raises(EngineError, match=r"no rubric: .*2248 tokens: raise generate\.teacher\.max_tokens") as caught:
        generate.run(changed(config, judge=True), workspace)
    assert "again" not in str(caught.value)


def test_a_rubric_beyond_the_budget_says_what_to_raise(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    teacher = {**config.teacher.model_dump(), "max_requests": 6}
    with pytest.raises(EngineError, match=r"no rubric: .*6 of 6 requests are used; raise the budget"):
        generate.run(changed(config, judge=True, teacher=teacher), workspace)


def test_a_dialogue_is_as_good_as_its_worst_reply(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    server.answer = says(judge=lambda body: f"score: {8 - 3 * last(body).count('Assistant:')}")
    generate.run(changed(config, judge=True, turns=[2, 2]), workspace)
    assert {row.scores["judge"] for row in candidates(workspace)} == {5.0}
