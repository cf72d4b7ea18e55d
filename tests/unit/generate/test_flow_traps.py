"""The five traps of SDG Hub, each shown to be there and not to be fallen into. Real: SDG Hub, a chat server.

Not shown: the traps of its own model blocks, which no flow of this project uses.
"""

import asyncio
from typing import Any

import pandas as pd
import pytest
from flow_samples import ChatServer, candidates, chunk, kind, last, losers, passage

from tuning_room import generate
from tuning_room.errors import EngineError
from tuning_room.generate.blocks import FenceBlock, ScoreBlock, SystemTurnBlock, TeacherBlock
from tuning_room.generate.config import GenerateConfig
from tuning_room.generate.flow_runner import Flows
from tuning_room.generate.teacher import Teacher, TeacherAnswer
from tuning_room.records import write_jsonl
from tuning_room.workspace import Workspace


def changed(config: GenerateConfig, **changes: object) -> GenerateConfig:
    return GenerateConfig.model_validate({**config.model_dump(), **changes})


class Scripted(Teacher):
    """Answers every dialogue with its last message in capitals; refuses what says 'refuse'. Asks nobody."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def answers(self, dialogues: Any, seeds: Any, step: str = "") -> list[TeacherAnswer]:
        said = [dialogue[-1].content for dialogue in dialogues]
        self.seen += said
        return [TeacherAnswer("", "refused") if "refuse" in text else TeacherAnswer(text.upper(), "") for text in said]


def answer_row(text: str, **changes: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"full_prompt": "Be loud.", "grounds": "", "messages": messages, "error": "", "seed": 1, **changes}


def test_1_one_failing_row_does_not_abort_its_chunk() -> None:
    rows = [answer_row("one"), answer_row("refuse this"), answer_row("three"), answer_row("four", error="before")]
    made = Flows(teacher=Scripted()).run("answer", rows)
    assert [row["reply"] for row in made] == ["ONE", "", "THREE", ""]
    assert [row["error"] for row in made] == ["", "refused", "", "before"]


def test_1_a_refused_request_is_sent_once(server: ChatServer, config: GenerateConfig, workspace: Workspace) -> None:
    server.answer = lambda body: 400 if kind(body) == "answer" else f"What of {passage(body)}?"
    with pytest.raises(EngineError, match="none of 3"):
        generate.run(changed(config, rows_per_chunk=1), workspace)
    # SDG Hub's own block asks seven times even where the answer is that the request is wrong.
    assert len(server.sent("answer")) == 3


def test_2_a_chunk_whose_rows_all_fail_the_checks_is_no_error(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    server.answer = lambda body: "No."
    checks = {"asks_question": {}}
    result = generate.run(changed(config, checks=checks, candidates_per_query=2, turns=[1, 3]), workspace)
    assert (result.candidates, result.errors) == (6, 0)
    assert {loser.reason for loser in losers(workspace)} == {"same", "asks_question"}
    server.bodies.clear()
    generate.run(changed(config, checks=checks, candidates_per_query=2, turns=[1, 3]), workspace)
    assert server.bodies == [], "rows that were rejected were sent again"


def test_2_where_no_row_is_left_for_a_flow_it_is_not_run() -> None:
    assert Flows(teacher=Scripted()).run("answer", []) == []


def test_3_an_index_that_is_not_0_to_n_keeps_rows_together() -> None:
    frame = pd.DataFrame([answer_row("one"), answer_row("refuse"), answer_row("three")], index=[7, 3, 7])
    joined = SystemTurnBlock(block_name="a", input_cols=["full_prompt", "messages"], output_cols=["chat"])(frame)
    asked = TeacherBlock(block_name="b", input_cols=["chat"], output_cols=["reply"])(joined, teacher=Scripted())
    walled = FenceBlock(block_name="c", input_cols={"reply": "reply"}, output_cols=["fenced"])(asked)
    scored = ScoreBlock(block_name="d", input_cols=["reply"], output_cols=["score"])(walled)
    assert list(scored["reply"]) == ["ONE", "", "THREE"]
    assert [text.splitlines()[1:2] for text in scored["fenced"]] == [["ONE"], [], ["THREE"]]
    assert list(scored["score"]) == [None] * 3
    assert list(scored.index) == [7, 3, 7]


def test_3_rows_that_go_on_from_the_middle_stay_themselves(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    write_jsonl(workspace.chunks, [chunk(n) for n in range(16)])

    def answer(body: dict[str, Any]) -> str:
        # Each message names its passage, whatever turn it is in.
        if kind(body) == "query":
            return f"about-{passage(body)} ?"
        return next(f"{word} ?" for word in last(body).split() if word.startswith("about-"))

    server.answer = answer
    generate.run(changed(config, rows_per_chunk=1, turns=[1, 3]), workspace)
    found = candidates(workspace)
    assert len({len(row.messages) for row in found}) == 3
    for row in found:
        assert {message.content for message in row.messages} == {f"about-{row.group[1:]} ?"}


def test_4_rows_that_are_alike_are_not_refused() -> None:
    import sdg_hub
    from sdg_hub.core.utils.error_handling import FlowValidationError

    rows = [answer_row("one"), answer_row("one"), answer_row("one")]
    assert [row["reply"] for row in Flows(teacher=Scripted()).run("answer", rows)] == ["ONE"] * 3
    from tuning_room.generate.flow_runner import SHIPPED

    with pytest.raises(FlowValidationError, match="duplicate"):
        sdg_hub.Flow.from_yaml(str(SHIPPED / "answer" / "flow.yaml")).generate(pd.DataFrame(rows))


def test_4_two_documents_that_say_the_same_are_two_sources(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    same = chunk(1)
    write_jsonl(workspace.chunks, [same, same.model_copy(update={"id": "other"})])
    result = generate.run(config, workspace)
    assert (result.candidates, result.errors) == (4, 0)
    assert {row.group for row in candidates(workspace)} == {"c1", "other"}


def test_5_a_running_event_loop_is_no_obstacle(config: GenerateConfig, workspace: Workspace) -> None:
    async def inside() -> generate.GenerateResult:
        assert asyncio.get_running_loop().is_running()
        return generate.run(config, workspace)

    result = asyncio.run(inside())
    assert (result.candidates, result.errors) == (6, 0)
