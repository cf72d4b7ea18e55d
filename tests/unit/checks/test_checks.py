"""The checks that a recipe names. Nothing is faked."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room import checks
from tuning_room.checks import CHECKS, METRICS, Case, Exchange, code, files, rejected_by, validate
from tuning_room.errors import RecipeError

# The least that each check must be told.
PARAMETERS: dict[str, dict[str, Any]] = {
    **{name: {} for name in CHECKS},
    "forbidden_phrases": {"phrases": ["the answer is"]},
    "regular_expression": {"must_match": r"\?"},
    "json_schema": {"schema": {"type": "object"}},
    "judge_score": {"at_least": 3},
}
PROSE = {name: given for name, given in PARAMETERS.items() if name != "json_schema"}

CODE = Path(checks.__file__).parent
GOOD = Exchange("Think of 3 x 4 as rows. How many are 3 rows of 4?", "What is 3 x 4?", "12")


@pytest.mark.parametrize(
    ("check", "reply", "reason"),
    [
        ("asks_question", "Count the rows.", "0 questions"),
        ("asks_question", "What is 3 x 4? Why?", "2 questions"),
        ("states_no_result", "It is 12.", "gives the answer 12"),
        ("states_no_result", "3 x 4 = 13.", "asserts"),
        ("states_no_gold", "It is 12.", "gives the answer 12"),
        ("states_no_gold", "What about twelve?", "gives the answer 12"),
        ("on_topic", "How is the weather?", "takes up nothing"),
        ("length", "What is 3?", "3 words"),
        ("length", "why " * 61, "61 words"),
    ],
)
def test_a_check_rejects_with_a_reason(check: str, reply: str, reason: str) -> None:
    name, detail = rejected_by({check: {}}, GOOD._replace(reply=reply))
    assert name == check
    assert detail.startswith(reason)


def test_a_good_reply_passes_all_checks() -> None:
    assert rejected_by(PROSE, GOOD) == ("", "")


def test_the_first_check_that_rejects_is_named() -> None:
    bad = GOOD._replace(reply="12")
    assert rejected_by({"length": {}, "asks_question": {}}, bad)[0] == "length"
    assert rejected_by({"asks_question": {}, "length": {}}, bad)[0] == "asks_question"


def test_without_a_gold_answer_asserted_results_are_still_found() -> None:
    assert CHECKS["states_no_result"](GOOD._replace(reply="It is 12.", gold=None)).startswith("asserts")
    assert CHECKS["states_no_result"](GOOD._replace(gold=None)) == ""


def test_the_gold_answer_alone_is_refused_where_other_results_may_be_told() -> None:
    check = CHECKS["states_no_gold"]
    assert check(GOOD._replace(reply="3 x 4 = 13.")) == ""
    assert check(GOOD._replace(reply="It is 12.", said="Is 3 x 4 = 12?")) == ""
    assert check(GOOD._replace(reply="It is 12.", gold=None)) == ""
    assert check(GOOD._replace(reply="It is 12.", gold="")) == ""


def test_the_files_that_decide_are_the_code_and_those_that_parameters_name(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    assert files({"json_schema": {"schema": schema}, "length": {"at_least": 3}}) == [schema]
    assert files({"json_schema": {"schema": {"type": "object"}}}) == files({}) == []
    assert code() == CODE


def test_parameters_are_bounds_that_are_met() -> None:
    assert rejected_by({"length": {"at_least": 13, "at_most": 13}}, GOOD) == ("length", "14 words")
    assert rejected_by({"length": {"at_least": 14, "at_most": 14}}, GOOD) == ("", "")
    assert rejected_by({"asks_question": {"at_most": 2}}, GOOD._replace(reply="Why? How?")) == ("", "")


@pytest.mark.parametrize(("count", "passes"), [(3, False), (4, True), (60, True), (61, False)])
def test_a_reply_has_4_to_60_words_unless_other_bounds_are_given(count: int, passes: bool) -> None:
    exchange = GOOD._replace(reply="why " * count)
    assert rejected_by({"length": {}}, exchange) == (("", "") if passes else ("length", f"{count} words"))
    assert rejected_by({"length": {"at_least": count, "at_most": count}}, exchange) == ("", "")


@given(reply=st.text(), said=st.text(), gold=st.none() | st.text())
def test_a_check_has_a_reason_and_never_crashes(reply: str, said: str, gold: str | None) -> None:
    for check, parameters in PARAMETERS.items():
        name, detail = rejected_by({check: parameters}, Exchange(reply, said, gold))
        assert bool(name) == bool(detail)


@pytest.mark.parametrize(
    ("checks", "words"),
    [
        ({"asks_questions": {}}, "asks_questions"),
        ({"asks_question": {"at_least": 1}}, "at_least"),
        ({"asks_question": {"at_most": "one"}}, "asks_question"),
        ({"length": {"at_least": "four"}}, "length"),
        ({"length": {"at_most": "sixty"}}, "length"),
        ({"length": {"at_least": 5, "at_most": None}}, "length"),
        ({"on_topic": {"how": 1}}, "how"),
        ({"forbidden_phrases": {}}, "phrases"),
        ({"forbidden_phrases": {"phrases": "the answer"}}, "list"),
        ({"forbidden_phrases": {"phrases": []}}, "list"),
        ({"forbidden_phrases": {"phrases": ["sorry", " "]}}, "list"),
        ({"forbidden_phrases": {"phrases": ["sorry", 3]}}, "list"),
        ({"regular_expression": {}}, "must_match"),
        ({"regular_expression": {"must_match": "("}}, "regular expression"),
        ({"json_schema": {"schema": {"type": "objekt"}}}, "objekt"),
        ({"json_schema": {"schema": ["type"]}}, "schema"),
        ({"language": {"code": "english"}}, "english"),
        ({"language": {"at_least": "much"}}, "language"),
        ({"judge_score": {}}, "at_least"),
        ({"judge_score": {"at_least": "high"}}, "high"),
    ],
)
def test_a_check_that_would_fail_later_is_refused_at_once(checks: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words) as caught:
        validate(checks)
    assert caught.value.hint


def test_good_parameters_are_accepted() -> None:
    validate({"asks_question": {"at_most": 1}, "length": {"at_least": 5, "at_most": 60}, "on_topic": {}})
    validate(PARAMETERS)
    validate({})


def test_every_check_that_exists_is_named() -> None:
    with pytest.raises(RecipeError) as caught:
        validate({"no_such": {}})
    assert all(name in str(caught.value) for name in CHECKS)


@pytest.mark.parametrize(
    ("metric", "reply", "expected"),
    [
        ("asks", GOOD.reply, True),
        ("asks", "12", False),
        ("tells", "It is 13.", True),
        ("tells", "What about 12?", True),
        ("tells", GOOD.reply, False),
        ("leaks", "It is 13.", False),
        ("leaks", "twelve", True),
        ("on_topic", "What is 3?", True),
        ("on_topic", "Hello.", False),
    ],
)
def test_metrics_say_yes_or_no(metric: str, reply: str, expected: bool) -> None:
    assert METRICS[metric].score(reply, Case(GOOD.said, "12")) == expected


@given(reply=st.text(), said=st.text(), gold=st.text())
def test_a_leak_is_told(reply: str, said: str, gold: str) -> None:
    case = Case(said, gold)
    assert METRICS["tells"].score(reply, case) or not METRICS["leaks"].score(reply, case)
