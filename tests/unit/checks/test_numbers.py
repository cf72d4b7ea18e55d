"""Numbers and results in text. Nothing is faked; Hypothesis writes the texts."""

import re
import unicodedata
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.checks.numbers import NUMBER, WORDS, bare, mentions, quantities

MATHS = st.text(st.sampled_from("0123456789.,/%-+*=^()e xyπ√½\N{MINUS SIGN}\n"), max_size=30)
NUMBERS = st.integers(0, 10**12)


def values(text: str) -> list[Fraction]:
    return [value for value, _ in quantities(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,200", [1200]),
        ("1.2e3", [1200]),
        ("1200.0", [1200]),
        ("3/4", [Fraction(3, 4)]),
        ("3 / 4", [Fraction(3, 4)]),
        ("three quarters", [Fraction(3, 4)]),
        ("one-third", [Fraction(1, 3)]),
        ("Seven", [7]),
        ("ninety", [90]),
        ("seventy-six", [76]),
        ("twenty one", [21]),
        ("-3", [-3]),
        ("x = - 3", [-3]),
        ("x = \N{MINUS SIGN}3", [-3]),
        ("(-3, 4)", [-3, 4]),
        ("7 - 3", [7, 3]),
        ("(7) - 3", [7, 3]),
        ("x - 3", [3]),
        ("x -3", [3]),
        ("It is -3.", [-3]),
        ("5 cm - 3 cm", [5, 3]),
        ("$13", [13]),
        ("5 cm", [5]),
        ("It is 5.", [5]),
        ("x^2", []),
        ("v2", []),
        ("10/0", []),
        ("sixteenth", []),
        ("someone", []),
        ("hundreds of them", []),
        ("a hundredth of it", []),
        ("one hundred third graders", [100]),
        ("it is 7 -3", [7, 3]),
        # A word with a sign behind a number subtracts; "often" and "someone" end like numbers and are none.
        ("7  minus 3", [7, 3]),
        ("(7)minus 3", [7, 3]),
        ("often minus 3", [-3]),
        ("someone minus three", [-3]),
        ("(7) negative 3", [7, -3]),
        ("", []),
    ],
)
def test_numbers_are_read_in_every_form(text: str, expected: list[Fraction]) -> None:
    assert values(text) == expected


def test_a_percentage_is_told_from_a_number() -> None:
    assert [is_percent for _, is_percent in quantities("75 75% 75 % 75 percent")] == [False, True, True, True]


@given(number=NUMBERS)
def test_a_whole_number_is_read_with_and_without_commas(number: int) -> None:
    for text in (f"{number}", f"{number:,}", f"the {number}.", f"({number})", f"{number}.0", f"{number}e0"):
        assert values(text) == [number]


@given(top=NUMBERS, bottom=st.integers(1, 999))
def test_a_fraction_is_read(top: int, bottom: int) -> None:
    assert values(f"{top}/{bottom}") == [Fraction(top, bottom)]


@given(cents=st.integers(0, 10**9))
def test_a_decimal_number_is_read_exactly(cents: int) -> None:
    assert values(f"{cents // 100}.{cents % 100:02}") == [Fraction(cents, 100)]


@pytest.mark.parametrize("word", WORDS)
def test_a_number_word_is_its_number(word: str) -> None:
    assert values(f"about {word.upper()} of them") == [WORDS[word]]


@given(text=st.text() | MATHS)
def test_any_text_can_be_read(text: str) -> None:
    for value, is_percent in quantities(text):
        assert isinstance(value, Fraction)
        assert isinstance(is_percent, bool)


@given(text=st.text() | MATHS, result=st.text() | MATHS)
def test_any_text_and_result_can_be_compared(text: str, result: str) -> None:
    assert mentions(text, result) in (True, False)


@pytest.mark.parametrize("monster", ["9" * 5000, "1e999999999", "1e-999999999", "1/" + "7" * 5000, "1" + ",234" * 2000])
def test_a_number_beyond_all_measure_is_no_crash(monster: str) -> None:
    # Converting these would raise, or not end.
    list(quantities(f"It is {monster} or 5."))
    assert mentions(f"It is {monster} or 5.", "5")
    assert not mentions("It is 5.", monster)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("So x is 5.", "x = 5"),
        ("x=5", "5"),
        ("It is five.", "5"),
        ("It is seventy-six.", "x = 76"),
        ("You get 0.75.", "3/4"),
        ("You get 3/4.", "0.75"),
        ("You get 75%.", "3/4"),
        ("You get 75 percent.", "75%"),
        ("You get 0.35.", "35%"),
        ("You get 1,200.", "1200"),
        ("You get $97.2", "97.20"),
        ("It is 2 * x^6 + C", "2x^6 + C"),
        ("It is (X-8)(x+11)!", "(x - 8)(x + 11)"),
        ("It is 169 pi.", "169pi"),
        ("The point is (-7,-7).", "(-7, -7)"),
        ("It is \N{MINUS SIGN}3.", "-3"),
        ("y is 4x - 23", "y = 4x - 23"),
        ("x = 7 or x = -11", "x = 7 or x = -11"),
        ("Two numbers make five.", "5"),
    ],
)
def test_a_result_is_found_however_it_is_written(text: str, result: str) -> None:
    assert mentions(text, result)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("It is 75.", "3/4"),
        ("It is 500%.", "5"),
        ("It is 15.", "5"),
        ("It is 5.5.", "5"),
        ("It is 5,000.", "5"),
        ("It is 5/6.", "5"),
        ("Look at x^5.", "5"),
        ("It is 3.", "-3"),
        ("It is negative 3.", "3"),
        ("It is minus 3.", "3"),
        ("Look at 42x^13.", "42x^1"),
        ("It is twenty-six.", "6"),
        ("Look at e^(3x).", "24e^(3x)"),
        ("Find someone.", "1"),
        ("", "5"),
        ("anything", ""),
    ],
)
def test_another_number_is_not_the_result(text: str, result: str) -> None:
    assert not mentions(text, result)


@pytest.mark.parametrize(
    "answer", ["=", "is", "are", "equals", "get", "gets", "make", "makes", "give", "gives", "answer", "answer:"]
)
def test_a_counted_number_behind_what_answers_is_the_result(answer: str) -> None:
    assert mentions(f"It {answer} two hundred students.", "200")
    assert mentions(f"It {answer}  two hundred students.", "200")
    assert not mentions(f"It {answer} for two hundred students.", "200")


def test_a_word_that_ends_like_an_answer_is_none() -> None:
    assert not mentions("Look at this two hundred dollars.", "200")


@pytest.mark.parametrize("mark", "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞")
def test_a_fraction_in_one_character_is_what_unicode_says(mark: str) -> None:
    expected = Fraction(unicodedata.normalize("NFKC", mark).replace("\N{FRACTION SLASH}", "/"))
    assert values(f"It is {mark}.") == [expected]
    assert values(f"It is 2{mark}.") == [2 + expected]


@pytest.mark.parametrize("text", ["7", "1,200", "12,345,678", "1,200.5", "3.25", "1e3", "1e+3", "2.5e-3"])
def test_a_number_in_digits_is_matched_whole(text: str) -> None:
    assert [match.group() for match in re.finditer(NUMBER, f"It is {text}, or so.")] == [text]


@given(number=st.integers(-(10**9), 10**9), before=st.sampled_from(["", "It is ", "x = ", "(", "**"]))
def test_a_number_is_found_where_it_stands(number: int, before: str) -> None:
    assert mentions(f"{before}{number}.", str(number))
    assert mentions(f"{before}{number:,} of them", f"x = {number}")
    assert not mentions(f"{before}{number}.", str(number + 1))


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("x = 5", "5"),
        ("y=4x - 23", "4x - 23"),
        ("f(x) = 3x", "3x"),
        ("f'(x) = 3", "f'(x) = 3"),
        ("5", "5"),
        (" 7 ", "7"),
    ],
)
def test_a_result_is_bared(result: str, expected: str) -> None:
    assert bare(result) == expected
