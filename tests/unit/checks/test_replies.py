"""What can be said of a reply without a judge. Nothing is faked; Hypothesis writes the texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.checks.replies import asks, leaks, off_topic, sentences, tells, words

TEXT = st.text() | st.text(st.sampled_from("0123456789.,/%-+*=^()?!\n xis answer"), max_size=60)


@given(reply=TEXT, said=TEXT, gold=TEXT)
def test_no_text_is_a_crash(reply: str, said: str, gold: str) -> None:
    assert leaks(reply, gold, said) in (True, False)
    assert isinstance(tells(reply, said), str)
    assert off_topic(reply, said) in (True, False)
    assert 0 <= asks(reply) <= len(sentences(reply))
    assert isinstance(words(reply), list)


@pytest.mark.parametrize("monster", ["9" * 5000, "1e999999999", "3." + "1" * 5000])
def test_a_number_beyond_all_measure_is_no_crash(monster: str) -> None:
    assert tells(f"The answer is {monster}.", "What is 3 x 4?")
    assert not leaks(f"It is {monster}.", "12", monster)
    assert not tells("What is 3 x 4?", f"I got {monster}")


@given(text=TEXT)
def test_sentences_lose_no_word(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@given(reply=TEXT, said=TEXT, gold=TEXT)
def test_what_the_user_has_said_is_no_leak(reply: str, said: str, gold: str) -> None:
    assert not leaks(reply, gold, f"{gold} ; {said}") or not leaks(gold, gold, "")


@given(said=st.text(st.sampled_from("0123456789+-x= "), min_size=1, max_size=30))
def test_asking_what_the_user_asked_tells_nothing(said: str) -> None:
    assert tells(f"What is {said}?", said) == ""


@pytest.mark.parametrize(
    ("reply", "count"),
    [
        ("What is 3 x 4?", 1),
        ("Good. What is 3 x 4? And 5 x 6?", 2),
        ('Ask yourself: "what is 3 x 4?"', 1),
        ("**What is 3 x 4?**", 1),
        ("What is it?\nWhy?", 2),
        ("It is 12.", 0),
        ("Is 3.5 more than 3.4?", 1),
        ("", 0),
    ],
)
def test_questions_are_counted(reply: str, count: int) -> None:
    assert asks(reply) == count


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("The answer is 12.", "What is 3 x 4?"),
        ("3 x 4 = 12.", "What is 3 x 4?"),
        ("That makes 13.", "What is 3 x 4?"),
        ("So x equals 5. Why?", "Solve 3x + 4 = 19."),
        ("Do you see that 3 x 4 = 12?", "What is 3 x 4?"),
        ("The result is simply 12.", "What is 3 x 4?"),
        ("The length is sqrt(58).", "How far is (1, 2) from (4, 9)?"),
        ("The answer is 4.", "What is 3 x 4?"),
        # In the middle of a worked solution.
        ("First we add 73 and 17, which gives us 141. Then we multiply 141 by", "Work out 73 + 8 * 17 - 29."),
        ("You can divide 340 by 45, which gives you 0.91.", "What is 45% of 340?"),
        ("This results in a determinant of -24.", "Find the determinant of [[9, -4], [7, 6]]."),
        ("The volume is approximately 43.68 cubic centimetres.", "What is the volume of a ball with radius 6?"),
        ("The hypotenuse is always 10 units.", "A right triangle has legs 20 and 21."),
        ("The derivative of 3x^4 - 8x^2 + 5x is 3x^5 - 8x^3 + 5x.", "derivative of 3x^4 - 8x^2 + 5x"),
        ("So it is **12**.", "What is 3 x 4?"),
        ("So we have \\boxed{12}.", "What is 3 x 4?"),
        ("It is ½ of it.", "What share?"),
        ("It gives .5 then.", "What share?"),
        ("So, 35% of 580 tickets is 35.", "How much is 35% of 580 tickets?"),
        ("3 × 4 = 4", "What is 3 x 4?"),  # noqa: RUF001
    ],
)
def test_an_asserted_result_is_told(reply: str, said: str) -> None:
    assert tells(reply, said)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("What is 3 x 4?", "What is 3 x 4?"),
        ("How many times is 3 in 12?", "What is 12 / 3?"),
        ("In 3x + 4 = 19, what do you do first?", "Solve 3x + 4 = 19."),
        ("Yes, 12 is right. How could you check it?", "3 x 4 is 12, right?"),
        ("Good, the answer is 12. How could you check it?", "What is 3 x 4?\n12"),
        ("Set it to zero: x - 5 = 0. What follows?", "Solve (x - 5)^2."),
        ("Splitting helps. Which part is easy?", "What is 34 x 27?"),
        # A product that is left open, and a term that the user has written so.
        ("Doubling the price gives us 2 * 68. What is that?", "A lamp costs 68 dollars after a 20% discount."),
        ("The path is -2x^2 + 28x - 61. What is a?", "y = -2x^2 + 28x - 61"),
        ("", ""),
    ],
)
def test_a_question_or_the_users_own_words_tell_nothing(reply: str, said: str) -> None:
    assert tells(reply, said) == ""


@pytest.mark.parametrize(
    ("reply", "gold", "said", "expected"),
    [
        ("It is 5.", "x = 5", "Solve 3x + 4 = 19.", True),
        ("What is 15 - 4?", "x = 5", "Solve 3x + 4 = 19.", False),
        ("Yes, 5.", "x = 5", "Is it 5?", False),
        ("Yes, 5.", "x = 5", "Is it five?", False),
        ("It is three quarters.", "3/4", "What is 1/2 + 1/4?", True),
        ("Is it 75%?", "0.75", "What is 1/2 + 1/4?", True),
    ],
)
def test_a_gold_answer_leaks_unless_the_user_said_it(reply: str, gold: str, said: str, expected: bool) -> None:
    assert leaks(reply, gold, said) is expected


@pytest.mark.parametrize(
    ("reply", "said", "expected"),
    [
        ("What is 3 x 20?", "3 x 21", False),
        ("Which bracket comes first?", "I do not understand brackets", False),
        ("What can you do with 4x?", "4x + 3y", False),
        ("How is the weather?", "What is 3 x 4?", True),
        ("What would you like to know?", "What is this?", True),
        ("", "x", True),
        # Short words count in capitals alone, as names do.
        ("Is the VPN on?", "My VPN is down", False),
        ("Which PC?", "Both PCs are slow", False),
        ("Is it on?", "It is as it was", True),
        ("WHY IS IT SO?", "why is it so", True),
        ("Where did you see A?", "A is here", True),
    ],
)
def test_a_reply_keeps_to_the_topic(reply: str, said: str, expected: bool) -> None:
    assert off_topic(reply, said) is expected
