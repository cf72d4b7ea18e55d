"""Guidance notes into replies. Real here: the grammar, and the stock recipe's rules on sections of our own."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.errors import RecipeError
from tuning_room.generate.notes import answer_key, direct_question, load_rules, problems, reply
from tuning_room.records import Chunk

RULES = Path(__file__).parents[3] / "recipes" / "socratic-tutor" / "rules" / "notes.yaml"


@pytest.mark.parametrize(
    ("clause", "question"),
    [
        ("what 3 x 4 is", "What is 3 x 4?"),
        ("what the two numbers are", "What are the two numbers?"),
        ("how many legs there are", "How many legs are there?"),
        ("which of the numbers is larger", "Which of the numbers is larger?"),
        ("what is left", "What is left?"),
        ("what to do first", "What would you do first?"),
        ("which side to measure", "Which side would you measure?"),
        ("how to undo the + 3", "How would you undo the + 3?"),
        ("how 3/4 and 5/8 compare", "How do 3/4 and 5/8 compare?"),
        ("why the sign can change", "Why can the sign change?"),
        ("how much the rest would be", "How much would the rest be?"),
        ("what happens", "What happens?"),
        ("", ""),
    ],
)
def test_a_reported_question_becomes_a_direct_one(clause: str, question: str) -> None:
    assert direct_question(clause) == question


CLAUSE_WORDS = "what how which why many much the a x 3 is are was would can to of there sum do left compare".split()


@given(st.lists(st.sampled_from(CLAUSE_WORDS), min_size=1, max_size=8))
def test_a_direct_question_is_one_question_of_the_same_words(words: list[str]) -> None:
    question = direct_question(" ".join(words))
    assert question.endswith("?") and question.count("?") == 1
    assert question[:1] == question[:1].upper()
    # Words are only moved; the two verbs of a question ("would you", "do") are all that is added.
    asked = question[:-1].lower().split()
    added = [word for word in asked if word in ("would", "you", "do")]
    assert sorted(set(asked) - set(added)) == sorted(
        set(words) - {"to", "compare", *added} | ({*asked} & {*words} - {*added})
    )


def section(**changes: Any) -> Chunk:
    given = {
        "id": "book-1",
        "document": "book",
        "headings": ["Book", "Chapter 2: Fractions", "Problem 2.4: Half of a cake"],
        "text": "## Problem\nHow much is half of 12?\n\nGuidance for the tutor\nnot the statement",
        "items": ["Ask what 12 / 3 is.", "Sing a song.", "Have the student draw their cake.", ""],
    }
    return Chunk.model_validate({**given, **changes})


KEY = Chunk(
    id="key",
    document="book",
    headings=["Answer key"],
    text="| no | answer |\n| --- | --- |\n| 2.4 Half of a cake | 6 pieces |\n| 2.5 Price | $1,200 |\nno row",
)


def test_a_section_becomes_a_problem_a_note_with_the_tables_answer() -> None:
    rules = load_rules(RULES)
    ((chunk, found),) = problems([section(), KEY], rules)
    assert chunk.id == "book-1"
    assert [problem.assistant[-1] for problem in found] == ["?", "?"]
    assert found[0].assistant == "What is 12 / 3?"
    assert "your cake" in found[1].assistant
    assert {problem.user for problem in found} == {"How much is half of 12?"}
    assert {(problem.answer, problem.topic, problem.family) for problem in found} == {("6", "fractions", "book:2.4")}


def test_the_answer_key_drops_units_and_nothing_else() -> None:
    assert answer_key([KEY], load_rules(RULES)) == {"2.4": "6", "2.5": "1,200"}


@pytest.mark.parametrize(
    "changes", [{"headings": []}, {"headings": ["Preface"]}, {"text": "Guidance\nAsk."}, {"items": []}, {"text": ""}]
)
def test_a_section_without_a_problem_gives_none(changes: dict[str, Any]) -> None:
    assert problems([section(**changes)], load_rules(RULES)) == []


def test_a_section_that_the_key_does_not_know_has_no_answer() -> None:
    ((_, found),) = problems([section()], load_rules(RULES))
    assert {problem.answer for problem in found} == {""}


def test_documents_need_not_have_an_answer_key(tmp_path: Path) -> None:
    keyless = {name: value for name, value in stock().items() if not name.startswith("answer_")}
    ((_, found),) = problems([section(), KEY], written(tmp_path, keyless))
    assert [problem.answer for problem in found] == ["", ""]


def test_a_note_that_no_rule_fits_says_nothing() -> None:
    assert reply("Sing a song.", load_rules(RULES)) == ""


def test_a_group_that_did_not_take_part_is_empty(tmp_path: Path) -> None:
    changed = stock() | {"rules": [{"match": "Say (?P<one>a)?(?P<two>b)?", "say": ["<{one}{two}>"]}]}
    assert reply("Say b", written(tmp_path, changed)) == "<b>"


def stock() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return found


def written(folder: Path, rules: Any) -> Any:
    (folder / "notes.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    return load_rules(folder / "notes.yaml")


@pytest.mark.parametrize(
    "changes",
    [
        {"heading": "(unclosed"},
        {"heading": "Problem .*"},
        {"topic": "Chapter"},
        {"answer_row": "(?P<number>.)"},
        {"label": "*"},
        {"rules": [{"match": "[", "say": ["a"]}]},
        {"rules": [{"match": "Ask (?P<clause>.+)", "say": ["{claus}?"]}]},
        {"rules": [{"match": "Ask (?P<clause>.+)", "say": ["{clause.__class__}"]}]},
        {"rules": [{"match": "Ask", "say": ["{"]}]},
        {"rules": [{"match": "Ask", "say": []}]},
        {"colour": "red"},
    ],
)
def test_rules_that_cannot_work_are_refused_when_they_are_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"notes\.yaml"):
        written(tmp_path, stock() | changes)


def test_rules_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"notes\.yaml"):
        load_rules(tmp_path / "notes.yaml")
