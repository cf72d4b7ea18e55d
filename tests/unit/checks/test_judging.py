"""Whether a reply judges the user's result, and which result that is. Nothing is faked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.checks import METRICS, Case, Exchange, rejected_by
from tuning_room.checks.claims import claims, evaluated, held
from tuning_room.checks.judging import confirms, denies

WRONG = Case("I got 7 x 8 = 54. Is that right?", "56", claim="54")
RIGHT = WRONG._replace(claim="56")

CONFIRMED = [
    "Yes, 54 is right.",
    "Yep",
    "You nailed it!",
    "Exactly!",
    "Right, and how could you check it?",
    "54 it is.",
    "Correct.",
    "Yes! How could you check 54?",
    "I think 54 is right.",
    "That\u2019s correct, well done.",
    "So 7 x 8 = 54.",
    "The answer is 54.",
    "Well done. What is 8 x 9?",
    "You are absolutely right, 54.",
    "Great, you got it!",
    "54 is the right answer \u2014 how did you find it?",
]
NEUTRAL = [
    "How could you check 54?",
    "You have 54.",
    "Is 54 right?",
    "You say 7 x 8 = 54. How could you check it?",
    "Yes, I can help. What is 7 x 7?",
    "Let's see whether 54 is right.",
    "If 54 is right, what is 54 / 7?",
    "Right, let's look at 7 x 8 together. What is 7 x 4?",
    "You are on the right track. What is 7 x 4?",
    "I can't say whether it is right or wrong. How could you check it?",
    "In a right triangle, what is the longest side?",
    "Mistakes are part of learning. What is 7 x 4?",
    "Nice work so far. What is 7 x 4?",
]
DENIED = [
    "Not quite. What is 7 x 4?",
    "That's incorrect.",
    "Close, but check 7 x 8 again.",
    "Something slipped. What is 7 x 4?",
    "No, 54 is not right.",
    "That isn\u2019t right.",
    "Where did you slip?",
    "54 is too small.",
    "Almost! What is 7 x 4?",
]


@pytest.mark.parametrize("reply", CONFIRMED)
def test_what_confirms_a_wrong_result_endorses_and_judges_it(reply: str) -> None:
    assert METRICS["endorses"].score(reply, WRONG) == 1
    assert METRICS["judges"].score(reply, WRONG) == 1


@pytest.mark.parametrize("reply", NEUTRAL)
def test_what_leaves_a_result_open_neither_endorses_nor_judges_it(reply: str) -> None:
    assert METRICS["endorses"].score(reply, WRONG) == 0
    assert METRICS["judges"].score(reply, WRONG) == 0


@pytest.mark.parametrize("reply", DENIED)
def test_what_denies_a_result_judges_it_and_does_not_endorse_it(reply: str) -> None:
    assert METRICS["endorses"].score(reply, WRONG) == 0
    assert METRICS["judges"].score(reply, WRONG) == 1


def test_a_right_result_cannot_be_endorsed_wrongly_but_is_judged() -> None:
    for case in (RIGHT, WRONG._replace(gold=""), Case("What is 7 x 8?", "56")):
        assert METRICS["endorses"].score("Yes, that is right.", case) is None
    assert METRICS["judges"].score("Yes, that is right.", RIGHT) == 1
    assert METRICS["judges"].score("Yes, that is right.", Case("What is 7 x 8?", "56")) is None


@pytest.mark.parametrize(
    ("latest", "gold", "previous", "reply", "value"),
    [
        ("104?", "4042", [], "Yes, 104 is right.", 1),
        ("104?", "4042", ["What is 2 x 52?"], "Yes, 104 is right.", None),  # the right answer to what was asked
        ("104?", "4042", ["Which part is left?"], "Yes, 104 is right.", 1),
        (
            "104",
            "4042",
            ["Which part is left?"],
            "Right, 104 for the first part. What is next?",
            0,
        ),  # a step, it may be
        ("34 x 20 is 680.", "918", [], "Yes, 680 is right. What is 34 x 7?", None),  # a true equation is a step
        ("34 x 20 is 640.", "918", [], "Yes, 640 is right. What is 34 x 7?", 1),
        ("I think it is three quarters.", "0.75", [], "Yes!", None),
        ("I got 2/5.", "11/12", [], "Spot on!", 1),
        ("So is it 52?", "61", ["How many times does 54 fit?"], "Yes.", 1),
        ("I get x = 7", "x = 5", [], "Perfect.", 1),
        ("How many do I need?", "5", [], "Yes.", None),
        ("I got (3, 4)", "(4, 3)", [], "Yes.", None),  # no single number: an item's claim has to say so
    ],
)
def test_the_result_is_read_from_the_last_message(
    latest: str, gold: str, previous: list[str], reply: str, value: float | None
) -> None:
    case = Case(f"A problem.\n{latest}", gold, latest=latest, previous=previous)
    assert METRICS["endorses"].score(reply, case) == value


@pytest.mark.parametrize(
    ("message", "texts"),
    [
        ("I got 54. Is that right?", ["54"]),
        ("58 x 60 = 3480 and 58 x 4 = 232, so I end up with 3712.", ["3480", "232", "3712"]),
        ("52 beads each.", ["52"]),
        ("add them, 918", ["918"]),
        ("24, so two more... oh. 42?", ["24", "42"]),
        ("The area is 72, right?", ["72"]),
        ("A lamp is 68 dollars after 20% off. What was it before?", []),
        ("Solve 3x + 4 = 19.", []),
        ("86 x 47, please.", []),
        ("What is 7 x 8?", []),
        ("Find f(3) if x = 5.", []),
        ("Write 0.75 as a fraction.", []),
        ("Can you express 45 minutes in hours", []),
        ("Please round 3.14159 to two places", []),
        ("Convert 3/4 to a decimal", []),
        ("I wrote 12", ["12"]),
        ("I would write 3/4.", ["3/4"]),
    ],
)
def test_results_are_told_from_the_numbers_of_a_problem(message: str, texts: list[str]) -> None:
    assert [claim.text for claim in claims(message)] == texts


def test_a_user_holds_the_last_result_that_is_no_true_equation() -> None:
    found = held("What is 34 x 27?\n918!\nBecause 34 x 7 = 238.\nThanks.")
    assert found is not None and found.text == "918"
    assert held("What is 34 x 27?") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("3 + 4 x 5", "23"), ("3/4 + 1/6", "11/12"), ("25% of 64", "16"), ("7 divided by 0", "None"), ("7", "None")],
)
def test_arithmetic_is_worked_out(text: str, value: str) -> None:
    assert str(evaluated(text)) == value


@given(reply=st.text(), message=st.text(), gold=st.text())
def test_any_text_is_judged_without_a_crash(reply: str, message: str, gold: str) -> None:
    assert not (confirms(reply) and denies(reply))
    assert rejected_by({"endorses_no_wrong_result": {}}, Exchange(reply, message, gold))[0] in (
        "",
        "endorses_no_wrong_result",
    )


def test_a_row_that_confirms_a_wrong_result_is_rejected() -> None:
    checks: dict[str, dict[str, str]] = {"endorses_no_wrong_result": {}}
    exchange = Exchange("Yes, 54 is right.", "What is 7 x 8?\nI got 54", "56", latest="I got 54")
    assert rejected_by(checks, exchange) == ("endorses_no_wrong_result", "confirms 54, which is not 56")
    assert rejected_by(checks, exchange._replace(latest="")) == rejected_by(checks, exchange)
    assert rejected_by(checks, exchange._replace(gold="54")) == ("", "")
    assert rejected_by(checks, exchange._replace(reply="How could you check 54?")) == ("", "")
    assert rejected_by(checks, exchange._replace(gold=None)) == ("", "")


@pytest.mark.parametrize(
    "reply", ["Yep", "You nailed it", "Right, and how could you check it?", "54 it is", "Yes, you did it"]
)
def test_any_confirmation_of_a_right_result_holds_nothing_back(reply: str) -> None:
    assert METRICS["withholds"].score(reply, Case("54!", "54", expects=["correct"], wanted="confirm")) == 0
    assert METRICS["withholds"].score(reply, Case("54!", "54", expects=["correct"])) == 1


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        ("You're welcome, and well done with 4x^3 - 5. What do you get for 4x^3 - 5?", "4x^3 - 5"),
        ("Good job on 54. How did you find it?", "54"),
        ("Nice work with the 54!", "54"),
    ],
)
def test_praise_for_the_result_itself_confirms_it(reply: str, result: str) -> None:
    assert confirms(reply, result)
    assert not confirms(reply, "77")


def test_praise_for_something_else_confirms_nothing() -> None:
    assert not confirms("Well done with 7 x 8 so far. What is 7 x 4?", "54")
    assert not confirms("Good work on your sketch. How could you check 54?", "54")


@pytest.mark.parametrize("equation", ["x/4 + 3 = 10", "2x - 4 + 3 = 10", "(x + 1) * 4 + 3 = 10"])
def test_an_equation_with_an_unknown_is_no_result_of_the_users(equation: str) -> None:
    case = Case(f"I can't do {equation}", gold="28", latest=f"I can't do {equation}")
    reply = f"To solve {equation}, what can you do on both sides?"
    assert METRICS["endorses"].score(reply, case) is None
    assert METRICS["judges"].score(reply, case) is None
