"""The estimate against what a run then sends, through every flow. Not shown: that a server counts tokens alike."""

from flow_samples import ChatServer

from tuning_room import generate
from tuning_room.generate.config import GenerateConfig
from tuning_room.generate.estimate import estimate
from tuning_room.workspace import Workspace

EVERYTHING = {"turns": [2, 2], "candidates_per_query": 2, "critique": True, "judge": True, "prompt_rows": 2}


def test_every_call_of_every_flow_is_counted_and_nothing_is_asked_or_written(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    # A stand-in asks nothing: if the checks were kept, it would not be judged, and its dialogue would end.
    whole = GenerateConfig.model_validate({**config.model_dump(), **EVERYTHING, "checks": {"asks_question": {}}})
    found = estimate(whole, workspace)
    assert found is not None
    assert server.bodies == [] and not workspace.generation.exists()
    server.answer = lambda body: f"What is half of {len(server.bodies)}?"
    assert generate.run(whole, workspace).errors == 0
    assert found.requests == len(server.bodies)
    assert found.reply_tokens == sum(body["max_tokens"] for body in server.bodies)
    after = estimate(whole, workspace)
    assert after is not None
    assert (after.requests, after.answered) == (0, found.requests)


def test_under_a_budget_a_dialogue_is_whole_before_others_are_begun(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    teacher = config.teacher.model_copy(update={"max_requests": 10, "concurrency": 1})
    bounded = config.model_copy(update={"teacher": teacher, "rows_per_chunk": 3})
    server.answer = lambda body: f"What is half of {len(server.bodies)}?"
    result = generate.run(bounded, workspace)
    # Four rows at a time, two calls each: four are whole, and two questions of the next four are asked.
    assert (len(server.bodies), result.candidates, result.errors) == (10, 9, 5)
    assert "10 of 10 requests are used" in result.stopped
