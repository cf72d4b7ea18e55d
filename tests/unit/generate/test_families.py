"""Families, situations, notes and example dialogues from files. Real: the files, SymPy, the stock recipe's rules."""

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tuning_room.errors import DataError, MissingInputError, RecipeError
from tuning_room.generate.candidates import example_candidates
from tuning_room.generate.families import FollowUp, Problem, ProblemFamily, draw, load_families
from tuning_room.generate.rule_files import filled
from tuning_room.generate.situations import Situation, dialogue, fitting, load_situations

RULES = Path(__file__).parents[3] / "recipes" / "socratic-tutor" / "rules"
SUM: dict[str, Any] = {
    "name": "sum",
    "topic": "arithmetic",
    "parameters": {"a": {"from": 2, "to": 9}, "b": [3, 4], "thing": ["pens", "cups"]},
    "derived": {"total": "a + b"},
    "require": ["Ne(a, b)"],
    "answer": "total",
    "wrong": ["total + 1", "total - 1"],
    "problem": "{a} plus {b}",
    "user": ["{a} + {b}", "{a} {thing} and {b} {thing}?"],
    "assistant": ["What comes after {a}?", "How would you count on from {b}?"],
    "turns": [{"user": "{a}?", "assistant": "And {total} - {b}?"}],
}


def family(**changes: Any) -> ProblemFamily:
    return ProblemFamily.model_validate({**SUM, **changes})


def test_a_family_need_not_compute_an_answer() -> None:
    changes = {"answer": None, "answer_text": "label: {thing}", "wrong": []}
    drawn = draw(family(**changes), random.Random(3))
    assert drawn.answer in ("label: pens", "label: cups")
    # What is drawn does not depend on it.
    assert drawn.user == draw(family(wrong=[]), random.Random(3)).user
    assert draw(family(answer=None, wrong=[]), random.Random(3)).answer == ""
    with pytest.raises(RecipeError, match="no value 'answer'"):
        draw(family(answer=None, answer_text="{answer}"), random.Random(3))


def problem(**changes: Any) -> Problem:
    given = {"family": "f", "topic": "t", "problem": "2 plus 3", "answer": "5", "wrong": "6", "user": "2 + 3"}
    return Problem.model_validate({**given, "assistant": "What comes after 2?", **changes})


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31))
def test_a_draw_holds_together_and_depends_on_its_seed_alone(seed: int) -> None:
    drawn = draw(family(), random.Random(seed))
    assert drawn == draw(family(), random.Random(seed))
    a, b = (int(part) for part in drawn.problem.split(" plus "))
    assert 2 <= a <= 9 and b in (3, 4) and a != b
    assert drawn.answer == str(a + b) and drawn.wrong in (str(a + b + 1), str(a + b - 1))
    assert drawn.turns == [FollowUp(user=f"{a}?", assistant=f"And {a + b} - {b}?")]
    assert not set("{}") & set("".join([drawn.user, drawn.assistant, drawn.problem]))


@pytest.mark.parametrize(("share", "count"), [(1.0, 200), (0.0, 100)])
def test_the_share_of_the_first_reply(share: float, count: int) -> None:
    replies = [draw(family(), random.Random(n), share).assistant for n in range(200)]
    firsts = sum(reply.startswith("What comes after") for reply in replies)
    assert firsts == count if share == 1 else abs(firsts - count) < 40


@pytest.mark.parametrize(
    "changes",
    [
        {"require": ["Lt(a, 0)"]},
        {"require": ["Lt(x, a)"]},
        {"require": ["Lt(missing, a)"]},
        {"answer": "a/0"},
        {"answer": "9**9**9"},
        {"answer": "simplify(thing)"},
        {"derived": {"total": "a.real"}},
        {"user": ["{missing}"]},
        {"user": ["{a.__class__}"]},
        {"user": ["{a[0]}"]},
        {"user": ["{a!r}"]},
        {"user": ["{a:>999999999}"]},
        {"user": ["{a"]},
        {"user": ["{}"]},
        {"problem": "{0}"},
    ],
)
def test_what_cannot_be_drawn_is_a_recipe_error(changes: dict[str, Any]) -> None:
    with pytest.raises(RecipeError) as caught:
        draw(family(**changes), random.Random(1))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no families"),
        ("7", "a list"),
        ("a: [", r"not YAML \(line 1, column 5"),
        ("[{name: n}]", "family 1: topic"),
        (yaml.safe_dump([SUM, SUM]), "2 families are named 'sum'"),
        (yaml.safe_dump([{**SUM, "parameters": {"a": []}}]), "parameters"),
        (yaml.safe_dump([{**SUM, "parameters": {"a": {"from": 3, "to": 1}}}]), "parameters"),
        (yaml.safe_dump([{**SUM, "parameters": {"a": {"from": 1, "to": 3, "step": 0}}}]), "parameters"),
        (yaml.safe_dump([{**SUM, "parameters": {"a": [float("nan")]}}]), "not a finite number"),
        (yaml.safe_dump([{**SUM, "color": "red"}]), "color"),
    ],
)
def test_a_file_that_is_none_of_families_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "some.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=said):
        load_families(tmp_path)


def test_files_that_are_missing_or_no_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no families"):
        load_families(tmp_path)
    with pytest.raises(RecipeError, match="No such file"):
        load_situations(tmp_path / "situations.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: Müller".encode("latin-1"))
    with pytest.raises(RecipeError, match=r"not UTF-8 \(byte 8"):
        load_families(tmp_path)


def test_python_objects_in_yaml_are_not_made(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("- !!python/object/apply:os.getcwd []\n", encoding="utf-8")
    with pytest.raises(RecipeError):
        load_families(tmp_path)


def test_every_stock_family_can_be_drawn() -> None:
    families = load_families(RULES / "families")
    situations = load_situations(RULES / "situations.yaml")
    for one in families:
        drawn = draw(one, random.Random(one.name))
        for situation in situations:
            assert fitting(situation, one) == fitting(situation, drawn)
            turns = dialogue(situation, drawn, random.Random(1), follow_up=True).messages
            least, most = situation.further if situation.turns else (0, 0)
            further = range(least, most + 2)  # the family's second exchange comes before
            assert [turn.role for turn in turns] in [["user", "assistant"] * (1 + count) for count in further]


@pytest.mark.parametrize("template", ["{a.b}", "{a[0]}", "{a!s}", "{a:3}", "{", "{}", "{{a}", "{1}"])
def test_braces_hold_a_known_name_and_nothing_else(template: str) -> None:
    with pytest.raises(RecipeError, match="somebody"):
        filled(template, {"a": "1"}, "somebody")


def test_values_are_filled_in_once() -> None:
    assert filled("{{x}} {a}", {"a": "{b}", "b": "no"}, "") == "{x} {b}"


def situation(user: str, assistant: str, plain: float = 0) -> Situation:
    return Situation(name="s", user=[user], assistant=[assistant], plain_share=plain)


def test_a_problem_is_brought_up_in_a_situation() -> None:
    turns = dialogue(
        situation("Hi. {user} Is it {wrong}?", "Sure. {assistant}"), problem(), random.Random(1), follow_up=True
    )
    assert [turn.content for turn in turns.messages] == ["Hi. 2 + 3. Is it 6?", "Sure. What comes after 2?"]
    alone = dialogue(situation("{user}", "Sure. {assistant}", plain=1), problem(), random.Random(1), follow_up=False)
    assert [turn.content for turn in alone.messages] == ["2 + 3", "What comes after 2?"]


def test_a_second_exchange_follows_only_where_the_reply_leads_on() -> None:
    more = problem(turns=[{"user": "3?", "assistant": "And then?"}])
    led = dialogue(situation("{user}", "{assistant}"), more, random.Random(1), follow_up=True)
    assert [turn.content for turn in led.messages][2:] == ["3?", "And then?"]
    assert len(dialogue(situation("{user}", "Right, {answer}."), more, random.Random(1), follow_up=True).messages) == 2


def test_situations_fit_problems_that_have_what_they_name() -> None:
    claims = situation("{user} {wrong}?", "{assistant}")
    assert fitting(claims, problem()) and not fitting(claims, problem(wrong=""))
    assert fitting(claims, family()) and not fitting(claims, family(wrong=[]))
    assert fitting(situation("{answer}", "{assistant}"), family(answer=0))


@pytest.mark.parametrize("text", ["", "[]", "3", "[{name: s}]", "- {name: s, user: [a], assistant: [b], weight: 0}"])
def test_situations_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=r"s\.yaml"):
        load_situations(tmp_path / "s.yaml")


def test_an_unknown_name_in_a_situation_is_a_recipe_error() -> None:
    with pytest.raises(RecipeError, match="situation 's'"):
        dialogue(situation("{usr}", "{assistant}"), problem(), random.Random(1), follow_up=False)


USER, ASSISTANT = '{"role": "user", "content": "2+3?"}', '{"role": "assistant", "content": "What is 2+1?"}'


def test_example_dialogues_become_candidates_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_text(f'{{"id": "one", "gold": "5", "messages": [{USER}, {ASSISTANT}]}}\n', encoding="utf-8")
    (candidate,) = example_candidates(path)
    assert (candidate.id, candidate.source, candidate.group, candidate.gold) == ("one", "seeds:one", "one", "5")
    assert [message.role for message in candidate.messages] == ["user", "assistant"]
    assert example_candidates(None) == []


@pytest.mark.parametrize(
    "messages",
    [
        USER,
        f"{USER}, {USER}",
        f"{ASSISTANT}, {USER}",
        f'{USER}, {{"role": "system", "content": "Be short."}}, {ASSISTANT}',
    ],
)
def test_an_example_dialogue_whose_turns_are_out_of_order_is_refused(tmp_path: Path, messages: str) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_text(f'\n{{"id": "one", "messages": [{messages}]}}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"seeds\.jsonl:2"):
        example_candidates(path)


def test_a_system_turn_that_leads_an_example_dialogue_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    system = '{"role": "system", "content": "Be short."}'
    path.write_text(f'{{"id": "one", "messages": [{system}, {USER}, {ASSISTANT}]}}\n', encoding="utf-8")
    assert [message.role for message in example_candidates(path)[0].messages] == ["user", "assistant"]


def test_two_example_dialogues_with_one_id_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_text(f'{{"id": "one", "messages": [{USER}, {ASSISTANT}]}}\n' * 2, encoding="utf-8")
    with pytest.raises(DataError, match="'one'"):
        example_candidates(path)


def test_a_file_of_example_dialogues_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"seeds\.jsonl"):
        example_candidates(tmp_path / "seeds.jsonl")


def test_situations_fit_families_without_an_answer_only_where_they_name_none() -> None:
    nothing_to_find = family(answer=None, wrong=[])
    assert fitting(situation("{user}", "{assistant}"), nothing_to_find)
    assert not fitting(situation("{user} {answer}?", "{assistant}"), nothing_to_find)


def test_a_family_with_situations_of_its_own_is_brought_up_in_no_other() -> None:
    named = situation("{user}", "{assistant}").model_copy(update={"named": True})
    assert not fitting(named, family())
    assert fitting(named, family(situations=["s"]))
    assert not fitting(situation("{user}", "{assistant}"), family(situations=["another"]))


def test_cases_are_taken_in_turn_and_belong_together() -> None:
    words = family(
        parameters={},
        derived={},
        require=[],
        answer=None,
        wrong=[],
        turns=[],
        cases=[{"word": "sum", "meaning": "added"}, {"word": "product", "meaning": "multiplied"}],
        problem="{word}",
        user=["What is a {word}?"],
        assistant=["It is {meaning}. Which numbers?"],
    )
    drawn = [draw(words, random.Random(1), number=number) for number in range(3)]
    assert [one.user for one in drawn] == ["What is a sum?", "What is a product?", "What is a sum?"]
    assert [one.assistant for one in drawn][:2] == ["It is added. Which numbers?", "It is multiplied. Which numbers?"]
    with pytest.raises(ValidationError, match="same names"):
        family(cases=[{"a": "1"}, {"b": "2"}])


def going_on(**changes: object) -> Situation:
    turns = [{"user": ["Tell me!", "Now!"], "assistant": f"Step {n} of {{problem}}?"} for n in "abcd"]
    values = {"name": "s", "user": ["{user}"], "assistant": ["{assistant}"], "turns": turns, "further": [3, 3]}
    return Situation.model_validate({**values, **changes})


def test_a_dialogue_goes_round_the_turns_in_order() -> None:
    for seed in range(20):
        replies = dialogue(going_on(in_order=True), problem(), random.Random(seed), follow_up=False).messages[3::2]
        steps = "".join(reply.content[5] for reply in replies)
        assert len(replies) == 3 and steps in "abcdabcd"
        assert all("2 plus 3" in reply.content for reply in replies)


def test_without_an_order_the_turns_are_drawn_but_none_twice() -> None:
    orders = set()
    for seed in range(20):
        replies = dialogue(going_on(), problem(), random.Random(seed), follow_up=False).messages[3::2]
        orders.add("".join(reply.content[5] for reply in replies))
    assert len(orders) > 5 and all(len(set(order)) == 3 for order in orders)
    with pytest.raises(ValidationError, match="no more than there are turns"):
        going_on(further=[1, 9])


def test_turns_may_start_with_the_first() -> None:
    for seed in range(9):
        replies = dialogue(going_on(from_first=True), problem(), random.Random(seed), follow_up=False).messages[3::2]
        assert "".join(reply.content[5] for reply in replies) == "abc"
    with pytest.raises(ValidationError, match="one of in_order and from_first"):
        going_on(in_order=True, from_first=True)


def test_the_second_exchange_of_a_family_comes_before_what_its_situation_goes_on_with() -> None:
    stepping = problem(turns=[{"user": "I added 2.", "assistant": "You added 2. What is next?"}])
    made = dialogue(going_on(from_first=True), stepping, random.Random(1), follow_up=True)
    assert [turn.content for turn in made.messages][2:4] == ["I added 2.", "You added 2. What is next?"]
    assert [turn.content[:6] for turn in made.messages[5::2]] == ["Step a", "Step b", "Step c"]


def test_one_reply_to_every_step_says_it_back_and_leaves_questions_alone() -> None:
    turns = [
        {"user": "I added 2.", "assistant": "You added 2. What is left?"},
        {"user": "Do I add 3?", "assistant": "What would it do?"},
    ]
    for seed in range(9):
        made = dialogue(
            situation("{user}", "{assistant}"), problem(turns=turns), random.Random(seed), follow_up=True,
            step_reply='You say "{step}". What comes next?',
        )  # fmt: skip
        assert [turn.content for turn in made.messages][2:] == ["I added 2.", 'You say "I added 2". What comes next?']
    asked = problem(turns=turns[1:])
    made = dialogue(situation("{user}", "{assistant}"), asked, random.Random(1), follow_up=True, step_reply="{step}?")
    assert len(made.messages) == 2
    with pytest.raises(RecipeError, match=r"generate\.step_reply.*no value 'stp'"):
        dialogue(
            situation("{user}", "{assistant}"), problem(turns=turns), random.Random(1), follow_up=True,
            step_reply="{stp}?",
        )  # fmt: skip


def test_another_reply_is_one_that_was_not_given() -> None:
    another = going_on(turns=[{"user": ["No."], "assistant": "{another}"}] * 3)
    two = problem(others=["Which other?"])
    texts = [turn.content for turn in dialogue(another, two, random.Random(1), follow_up=False).messages]
    assert texts[2:] == ["No.", "Which other?"], "there was only one other reply"


def test_a_row_teaches_what_its_situation_and_its_family_name() -> None:
    asked = problem(requirements=["ask"], turns=[{"user": "3?", "assistant": "And then?"}])
    led = Situation(
        name="s",
        user=["{user}"],
        assistant=["{assistant}"],
        requirements=["hold"],
        follow_up_requirements=["take-up"],
    )
    assert dialogue(led, asked, random.Random(1), follow_up=False).requirements == ["hold", "ask"]
    assert dialogue(led, asked, random.Random(1), follow_up=True).requirements == ["hold", "ask", "take-up"]
    own = led.model_copy(update={"assistant": ["How could you check {answer}?"]})
    assert dialogue(own, asked, random.Random(1), follow_up=True).requirements == ["hold"]
