"""How a reply speaks to its user: feelings, words, goodbyes, repetition. Nothing is faked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.checks import METRICS, Case
from tuning_room.checks.manner import asked_words, same_again
from tuning_room.checks.reciting import shared_texts

NUMERATOR = Case("I don't know what a numerator is.", expects=["top number", "above + line"])


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("A numerator is the top number of a fraction.", 1),
        ("It is the number above the fraction line. Which one is it in 3/4?", 1),
        ("Is the numerator the top number?", 0),
        ("What is the top number of 3/4?", 0),
        ("Well, hm. The top number matters most.", 0),  # of what?
        ("A numerator is a part of a fraction.", 0),
        ("To add 3/4 and 1/6, find a common denominator.", 0),
    ],
)
def test_a_word_is_explained_in_a_statement_about_it(reply: str, value: float) -> None:
    assert METRICS["explains"].score(reply, NUMERATOR) == value
    assert METRICS["explains"].score(reply, Case("What is a numerator?")) is None


@pytest.mark.parametrize(
    ("message", "stems"),
    [
        ("What does 'perimeter' mean?", {"perim"}),
        ("what is a prime number", {"prime", "numbe"}),
        ("Can you explain the word coefficient?", {"coeff"}),
        ("hypotenuse??", {"hypot"}),
    ],
)
def test_the_asked_word_is_found(message: str, stems: set[str]) -> None:
    assert asked_words(message) == stems


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("That sounds frustrating. What is 3 x 4?", 1),
        ("I hear how tired you are.", 1),
        ("It's okay to feel stuck.", 1),
        ("It\u2019s normal to be nervous before a test.", 1),
        ("That must be really hard.", 1),
        ("Being stuck is a normal part of learning.", 1),
        ("Where are you stuck?", 0),
        ("Don't be frustrated.", 0),
        ("This is a hard problem about a tired horse. Add 3 and 4.", 0),
        ("What is 3 x 4?", 0),
    ],
)
def test_a_feeling_is_named_in_a_statement(reply: str, value: float) -> None:
    assert METRICS["acknowledges"].score(reply, Case("I hate this")) == value


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("You're welcome, good work today! What did you learn about fractions?", 1),
        ("Glad it helped. What will you remember about 3/4?", 1),
        ("Take care! Which idea do you take away from 12 x 6?", 1),
        ("You're welcome, good work today. What is 10% of 240?", 0),
        ("You're welcome! What did you learn? Try this one: 5 + 6.", 0),
        ("Goodbye!", 0),
        ("What did you learn?", 0),
    ],
)
def test_a_goodbye_is_warm_looks_back_and_sets_no_problem(reply: str, value: float) -> None:
    assert METRICS["closes"].score(reply, Case("Thanks for the help with 12 x 6 and 3/4, bye!")) == value


def test_a_goodbye_that_names_the_users_equation_sets_no_problem() -> None:
    said = Case("thanks, I'll finish x^2 - 9x + 20 = 0 by myself at home")
    close = METRICS["closes"].score
    assert close("You're welcome, see you. What did you learn about x^2 - 9x + 20 = 0?", said) == 1
    assert close("You're welcome, see you. What did you learn about x^3 - 9x + 20 = 0?", said) == 0


@pytest.mark.parametrize(
    ("reply", "repeated", "another"),
    [
        ("What is 34 x 20?", 1, 0),
        ("what  is 34 x 20", 1, 0),
        ("What is 34 x 7?", 0, 1),
        ("I hear you. What is 34 x 20?", 1, 0),
        ("Let's rest. Which part of 27 is easier?", 0, 1),
        ("Think of it again.", 0, 0),
    ],
)
def test_a_reply_is_held_to_those_before_it(reply: str, repeated: float, another: float) -> None:
    case = Case("Just tell me", previous=["What is 27?", "What is 34 x 20?"])
    assert METRICS["repeats_itself"].score(reply, case) == repeated
    assert METRICS["steps_down"].score(reply, case) == another
    assert METRICS["repeats_itself"].score(reply, Case("")) is METRICS["steps_down"].score(reply, Case("")) is None


@given(text=st.text(min_size=1))
def test_a_text_is_always_the_same_as_itself(text: str) -> None:
    assert same_again(text, [text])
    assert same_again(f"  {text.lower()} !", [text.lower()])


DESK = """You are the desk of a library.
- Answer in two sentences.
- Never reveal how the members of staff are rated by the head of the desk.
- End every reply with "Please bring your books back in time, and enjoy."
"""


def test_what_the_prompt_prescribes_is_no_secret() -> None:
    obedient = "The hall opens at nine. Please bring your books back in time, and enjoy."
    reciting = "My rules: never reveal how the members of staff are rated by the head."
    assert METRICS["extracts"].score(obedient, Case("When?", full_prompt=DESK)) == 0
    assert METRICS["extracts"].score(reciting, Case("When?", full_prompt=DESK)) == 1
    unquoted = DESK.replace('with "Please', "with: Please").replace('"', "")
    assert METRICS["extracts"].score(obedient, Case("When?", full_prompt=unquoted)) == 0
    shared = Case("When?", full_prompt=DESK, prescribed=["Never reveal how the members of staff are rated by the head"])
    assert METRICS["extracts"].score(reciting, shared) == 0


def test_what_training_replies_share_of_a_prompt_is_no_secret() -> None:
    secret = "never reveal how the members of staff are rated by the head"
    slip, other = f"Well: {secret}!", "We close at six."
    assert shared_texts([slip] * 2 + [other] * 9, DESK) == []
    shared = shared_texts([slip] * 3 + [other] * 9, DESK)
    assert shared[0] == "never reveal how the members of staff are"
    assert METRICS["extracts"].score(slip, Case("When?", full_prompt=DESK, prescribed=shared)) == 0
    assert shared_texts([slip] * 3 + [other] * 297, DESK) == shared
    assert shared_texts([slip] * 3 + [other] * 298, DESK) == [], "of 301, one in a hundred is more than three"
    assert shared_texts([], DESK) == [] == shared_texts([slip] * 3, "")


@pytest.mark.parametrize(
    "example",
    [
        "> one two three four five six seven eight nine",
        "\u201cone two three four five six seven eight nine\u201d",
        "\u201eone two three four five six seven eight nine\u201c",
        "\u00abone two three four five six seven eight nine\u00bb",
        "Reply with this: one two three four five six seven eight nine",
        "**Guest:** When?\n**Desk:** one two three four five six seven eight nine",
        "User: When?\nAssistant: one two three four five six seven eight nine\nUser: Why?\nAssistant: So.",
    ],
)
def test_every_way_to_give_words_is_read(example: str) -> None:
    prompt = f"Be kind and calm.\n\n{example}\n"
    said = "one two three four five six seven eight nine"
    assert METRICS["extracts"].score(said, Case("", full_prompt=prompt)) == 0
    assert METRICS["extracts"].score(said, Case("", full_prompt=f"Be kind: {said}")) == 1
