"""What can be said of a reply without a judge. Nothing is faked; Hypothesis writes the texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.checks.replies import leaks, tells
from tuning_room.checks.sentences import asks, sentences
from tuning_room.checks.topics import off_topic

TEXT = st.text() | st.text(st.sampled_from("0123456789.,/%-+*=^()?!\n xis answer"), max_size=60)


@given(reply=TEXT, said=TEXT, gold=TEXT)
def test_no_text_is_a_crash(reply: str, said: str, gold: str) -> None:
    assert leaks(reply, gold, said) in (True, False)
    assert isinstance(tells(reply, said), str)
    assert off_topic(reply, said) in (True, False)
    assert 0 <= asks(reply) <= len(sentences(reply))


@pytest.mark.parametrize("monster", ["9" * 5000, "1e999999999", "3." + "1" * 5000])
def test_a_number_beyond_all_measure_is_no_crash(monster: str) -> None:
    assert tells(f"The answer is {monster}.", "What is 3 x 4?")
    assert not leaks(f"It is {monster}.", "12", monster)
    assert not tells("What is 3 x 4?", f"I got {monster}")


@given(text=TEXT)
def test_sentences_lose_no_word(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@given(reply=TEXT, said=TEXT, gold=st.integers(0, 10**6))
def test_what_the_user_holds_now_is_no_leak(reply: str, said: str, gold: int) -> None:
    assert not leaks(reply, str(gold), f"{said}\nI got {gold}")
    assert leaks(f"The answer is {gold}.", str(gold), f"What is it?\nI got {gold}\nNo, I got {gold + 1}")


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
        ("(What is 3 x 4?)", 1),
        ("_What is 3 x 4?_", 1),
        ("'What is 3 x 4?'", 1),
        ("What is it?\nWhy?", 2),
        ("It is 12.", 0),
        ("Is 3.5 more than 3.4?", 1),
        # Marks of other scripts, and none at all.
        ("3 x 4 等于多少\uff1f为什么\uff1f", 2),
        ("ما هو 3 x 4؟", 1),
        ("Πόσο κάνει 3 x 4;", 1),
        ("What is 3 x 4", 1),
        ("What you need is a table.", 0),
        # A tag leads nowhere; a request to be told something does, where nothing else is asked.
        ("Do you get it?", 0),
        ("So we add them, okay?", 0),
        ("3 x 4 is 12, right?", 0),
        ("What is 3 x 4, okay?", 1),
        ("Does that make sense? What is 3 x 4?", 1),
        ("Tell me what you get.", 1),
        ("Tell me what you get. Name one factor.", 1),
        ("Tell me what you get. What is 3 x 4?", 1),
        ("Let me know if you need help.", 0),
        ("Why does it work? Because 3 x 4 is 4 x 3.", 0),
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
        ("So x=12.", "Solve 3x + 4 = 40."),
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
        # The user has mentioned the number in another role.
        ("No, the correct answer is $104.", "What do 8 tickets at $13 cost?\nFor the $104 seats I get a total of $208"),
        ("No, it should be 104.", "What do 8 tickets at $13 cost?\nFor the $104 seats I get a total of $208"),
        ("That makes sixty marbles.", "There are 3 boxes with 20 each."),
        ("So it is sixty.", "There are 3 boxes with 20 each."),
        ("Total: 61", "There are 3 boxes with 20 each, and 1."),
        ("You end up with 61.", "There are 3 boxes with 20 each, and 1."),
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
        ("Find the answer to this 4 then.", "Take 3 and 4."),
        ("Look at this 12 again.", "Take 3 and 4."),
        ("Do 3 x 4 this 4 times.", "Take 3 and 4."),
        ("Splitting helps. Which part is easy?", "What is 34 x 27?"),
        # An analogy's own numbers, another problem's result, another name of a share.
        ("Let's say I have 20 pencils and you take some.", "What is 3 x 4?"),
        ("If the side was 1, the way around would be 5. What about 9?", "How long is the way around a square of 9?"),
        ("10% is one tenth, so you split it.", "What is 10% of 300?"),
        ("It makes 21*3 then.", "How many are 3 boxes?"),
        ("It is one of two ways.", "How many are 3 boxes?"),
        # A product that is left open, and a term that the user has written so.
        ("Doubling the price gives us 2 * 68. What is that?", "A lamp costs 68 dollars after a 20% discount."),
        ("The path is -2x^2 + 28x - 61. What is a?", "y = -2x^2 + 28x - 61"),
        ("", ""),
    ],
)
def test_a_question_or_the_users_own_words_tell_nothing(reply: str, said: str) -> None:
    assert tells(reply, said) == ""


VERBS = [
    *"= ≈ equals equal is are was make makes give gives leaves get gets become becomes".split(),
    *("would be", "makes us", "gives you", "leaves me", "is what you have", "is what we have", "is what I have", "is:"),
    *("come to", "comes to", "comes out to", "result in", "results in", "simplifies to", "we find", "we obtain"),
]


@pytest.mark.parametrize("verb", VERBS)
def test_a_result_is_told_by_every_verb(verb: str) -> None:
    assert tells(f"So it {verb} 12.", "What is 3 x 4?")


SOFT = [
    *"about exactly indeed simply just therefore then also still now approximately roughly around nearly".split(),
    *("always", "only", "actually", "equal to", "a total of", "an answer of", "then just about"),
    *(f"a {noun} of" for noun in "result value determinant remainder slope length mean median".split()),
]


@pytest.mark.parametrize("soft", SOFT)
def test_a_word_before_the_result_does_not_hide_it(soft: str) -> None:
    assert tells(f"It is {soft} 12.", "What is 3 x 4?")
    assert tells(f"It is {soft}  12.", "What is 3 x 4?")


@pytest.mark.parametrize(
    "form",
    [
        "12",
        "-12",
        "+12",
        "$12",
        "(3, 12)",
        "[12]",
        "*12*",
        "**12**",
        ".5",
        *"¼½¾⅓⅔",
        "sqrt(58)",
        r"\frac{1}{2}",
        r"\dfrac{1}{2}",
        r"\tfrac{1}{2}",
        r"\boxed{12}",
        r"\(12\)",
        r"\[12\]",
        r"$-\frac{1}{2}$",
    ],
)
def test_a_result_is_told_in_every_notation(form: str) -> None:
    assert tells(f"So it is {form}.", "What is it?")


@pytest.mark.parametrize("operator", "* x × /".split())  # noqa: RUF001
def test_a_product_left_open_is_no_result(operator: str) -> None:
    assert tells(f"That gives 2 {operator} 68.", "A lamp costs 68 dollars after a 20% discount.") == ""


OPERATORS = r"- + x * / × ÷ · \times \cdot times plus minus".split()  # noqa: RUF001
OPERATORS += ["divided by", "multiplied by", "of", "% of"]


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("equals", ["=", "is", "equals"])
def test_an_equation_tells_even_one_of_the_users_numbers(operator: str, equals: str) -> None:
    assert tells(f"Well, 3 {operator} 4 {equals} 4.", "Take 3 and 4.")
    assert tells(f"Well, 3 {operator} 4 apples {equals} 4.", "Take 3 and 4.")


@pytest.mark.parametrize("equation", ["3x4=4", "3 x 4 =4", "3 x 4=  4", "3.5 x 4.0 = 4", "3 x 1,000 = 4"])
def test_an_equation_tells_however_it_is_spaced(equation: str) -> None:
    assert tells(f"Well, {equation}.", "Take 3 and 4, or 3.5 and 1,000.")


@pytest.mark.parametrize("noun", ["answer", "result", "solution"])
@pytest.mark.parametrize("equals", [" =", ":", " is", " equals", " to all of this is"])
def test_what_is_called_the_answer_tells_even_one_of_the_users_numbers(noun: str, equals: str) -> None:
    assert tells(f"The {noun}{equals} 4.", "Take 3 and 4.")
    # In another sentence, or as part of another word, it is not called so.
    assert tells(f"The re{noun}{equals} 4.", "Take 3 and 4.") == ""
    assert tells(f"The {noun}ing number{equals} 4.", "Take 3 and 4.") == ""
    assert tells(f"Look for the {noun}! One number{equals} 4.", "Take 3 and 4.") == ""


@pytest.mark.parametrize("word", ["what", "which", "how", "why", "where", "when", "who"])
def test_a_question_for_more_than_yes_or_no_tells_nothing(word: str) -> None:
    assert tells(f"And {word} says that the answer is 12?", "What is 3 x 4?") == ""
    assert tells("And does one say that the answer is 12?", "What is 3 x 4?")


@pytest.mark.parametrize("word", ["however", "somehow", "whatever", "nowhere", "somewhat"])
def test_a_word_that_holds_a_question_word_asks_for_nothing(word: str) -> None:
    assert tells(f"And do you {word} see that the answer is 12?", "What is 3 x 4?")


@pytest.mark.parametrize(
    "claim",
    ["I got 12", "I get 12", "she gets 12", "it is 12", "I think 12", "you say 12", "it says 12", "my answer: 12"],
)
def test_a_result_that_the_user_claims_may_be_repeated(claim: str) -> None:
    assert tells("Good, the answer is 12.", f"What is 3 x 4? {claim}.") == ""
    # Who claims 1234 has not claimed the 12 of the problem.
    assert tells("Good, the answer is 12.", f"Take 12 and 4. {claim}34.")


@pytest.mark.parametrize("said", ["what is 12 and 4?", "Take this 12 and 4.", "How much is 12 and 4?", "Add 12 to 4."])
def test_a_number_that_the_user_asks_about_is_no_claim(said: str) -> None:
    assert tells("The answer is 12.", said)


@pytest.mark.parametrize("said", ["3 x 4 is 12, right?", "3 x 4 equals 12, right?", "3x4=12?", "3 x 4 equals **12**"])
def test_an_equation_may_be_restated_in_another_spelling(said: str) -> None:
    for reply in ("So 3 x 4 = 12.", "So 3 x 4 is 12.", "So 3 x 4 equals 12!", "So 3x4=12, yes."):
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
        # Where the number merely stands in the problem, calling it the answer gives it away.
        ("The answer is 12.", "12", "A box holds 12 cans. How many are in 1 box?", True),
        ("The mean is 12.", "12", "What is the mean of 10, 12 and 14?", True),
        ("A box holds 12 cans. What is asked?", "12", "A box holds 12 cans. How many are in 1 box?", False),
        # The user has been there, and holds another result now.
        ("It is 12.", "12", "What is 3 x 4?\n12\nNo, I got 13", True),
        ("Yes, 12.", "12", "What is 3 x 4?\n13\nNo, I got 12", False),
        ("Yes, 12.", "12", "What is 3 x 4?\nI got 12\nbecause 12 / 3 = 4", False),
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
        ("Which angle?", "Sum the angles", False),
        ("Which plane?", "My plants", True),
        ("Try SFTP.", "My FTP is down", True),
        ("See NASDAQ.", "My NAS is down", True),
        ("Is it on?", "It is as it was", True),
        ("WHY IS IT SO?", "why is it so", True),
        ("Where did you see A?", "A is here", True),
    ],
)
def test_a_reply_keeps_to_the_topic(reply: str, said: str, expected: bool) -> None:
    assert off_topic(reply, said) is expected


def test_a_fraction_of_the_users_own_numbers_is_still_to_be_worked_out() -> None:
    said = "Find the product of 7/8 and 2/5 in lowest terms.\nI get 14 on top and 40 at the bottom."
    assert not leaks("You say 14 over 40. Which number divides both 14 and 40?", "7/20", said)
    assert leaks("So it is 7 over 20.", "7/20", said)


@pytest.mark.parametrize("reply", ["So it makes 1,000...", "It is 1,000\N{HORIZONTAL ELLIPSIS} wow"])
def test_thousands_in_a_sentence_that_trails_off_are_no_period(reply: str) -> None:
    assert leaks(reply, "1000", "What is 10 x 100?")
