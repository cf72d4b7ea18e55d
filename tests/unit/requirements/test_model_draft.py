"""Drafting with a model. Not real: the model, which says what the test wants."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tuning_room.engines import Engine, OnReply, Reply, Sampling
from tuning_room.errors import EngineError
from tuning_room.records import Message
from tuning_room.requirements.model_draft import draft_by_model

PROMPT = "You are a desk. Be kind. Ask one\nquestion in every reply. Be kind. A card costs 12 euros."


class Scripted(Engine):
    """Answers every dialogue with one text."""

    def __init__(self, text: str, finish_reason: str = "stop") -> None:
        self.reply = Reply(text, finish_reason, 1, 1)
        self.asked: list[Sequence[Message]] = []
        self.samplings: list[Sampling] = []

    def models(self) -> list[str]:
        return ["m"]

    def complete(
        self,
        model: str,
        dialogues: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_reply: OnReply | None = None,
    ) -> list[Reply]:
        self.asked += dialogues
        self.samplings.append(sampling)
        return [self.reply for _ in dialogues]


def entries(*quotes: str, **more: Any) -> str:
    return json.dumps([{"quote": quote, **more} for quote in quotes])


def test_quotes_that_do_not_stand_there_once_are_dropped_and_counted() -> None:
    engine = Scripted(entries("Ask one question in every reply.", "Be kind.", "Be polite.", ""))
    found = draft_by_model(PROMPT, engine, "m")
    assert [one.quote for one in found.requirements] == ["Ask one question in every reply."]
    assert found.requirements[0].has == ["asks_one"]
    assert found.notes == [
        "3 of 4 quotes of the model were dropped",
        "dropped, since it stands 2 times in the prompt: 'Be kind.'",
        "dropped, since it stands nowhere in the prompt: 'Be polite.'",
        "dropped, since it stands nowhere in the prompt: ''",
    ]
    assert PROMPT in engine.asked[0][-1].content
    assert engine.samplings[0].temperature == 0


@pytest.mark.parametrize(
    "form", ["{}", "Here:\n```json\n{}\n```", '<think>[1, {{"a"]</think>{}', '{{"requirements": {}}}']
)
def test_the_list_is_found_whatever_stands_around_it(form: str) -> None:
    text = form.format(entries("You are a desk."))
    assert [one.quote for one in draft_by_model(PROMPT, Scripted(text), "m").requirements] == ["You are a desk."]


def test_the_models_kind_is_taken_if_it_is_one() -> None:
    for given, kind in (("knowledge", "knowledge"), ("nonsense", "behaviour")):
        text = entries("A card costs 12 euros.", kind=given)
        assert draft_by_model(PROMPT, Scripted(text), "m").requirements[0].kind == kind


def test_a_quote_given_twice_counts_once() -> None:
    found = draft_by_model(PROMPT, Scripted(entries("You are a desk.", "You are  a desk.")), "m")
    assert (len(found.requirements), found.notes) == (1, [])


@pytest.mark.parametrize("text", ["", "I cannot do that.", "[1, 2]", "[", '{"quote": "x"}', "[" * 5000])
def test_a_reply_that_is_no_list_is_an_error(text: str) -> None:
    with pytest.raises(EngineError, match="is no list of requirements"):
        draft_by_model(PROMPT, Scripted(text), "m")


def test_a_list_that_was_cut_off_is_an_error() -> None:
    with pytest.raises(EngineError, match="was cut off"):
        draft_by_model(PROMPT, Scripted(entries("You are a desk."), "length"), "m")
