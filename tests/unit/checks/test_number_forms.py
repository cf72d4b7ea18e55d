"""Every written form of a number is found, and no number beside it. Nothing is faked; Hypothesis draws the numbers.

The words are made here, from the grammar of English and not from the code under test.
"""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.checks.numbers import mentions, quantities
from tuning_room.checks.replies import leaks

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
PARTS = {
    2: "half",
    3: "third",
    4: "quarter",
    5: "fifth",
    6: "sixth",
    7: "seventh",
    8: "eighth",
    9: "ninth",
    10: "tenth",
}
VULGAR = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅘": "4/5", "⅚": "5/6", "⅛": "1/8", "⅞": "7/8"}

NUMBERS = st.integers(0, 10**10)
CONTEXTS = st.sampled_from(["{}", "It is {}.", "x = {}", "The answer: **{}**", "You get ({}), right?", "is {} then"])


def in_words(number: int, *, link: str = " and ", dash: str = "-") -> str:
    """Return a whole number in English words."""
    for scale, name in ((10**9, "billion"), (10**6, "million"), (10**3, "thousand")):
        if number >= scale:
            head = f"{in_words(number // scale, link=link, dash=dash)} {name}"
            return head + (" " + in_words(number % scale, link=link, dash=dash) if number % scale else "")
    if number >= 100:
        tail = link + in_words(number % 100, dash=dash) if number % 100 else ""
        return f"{ONES[number // 100]} hundred{tail}"
    if number >= 20:
        return TENS[number // 10 - 2] + (dash + ONES[number % 10] if number % 10 else "")
    return ONES[number]


def whole_forms(number: int) -> list[str]:
    """Return the ways to write a whole number."""
    grouped = f"{number:,}"
    forms = [
        str(number),
        grouped,
        grouped.replace(",", "{,}"),
        grouped.replace(",", "\u202f"),
        f"{number}.0",
        f"${number}",
    ]
    forms += [in_words(number), in_words(number, link=" ", dash=" "), in_words(number).capitalize()]
    digits = str(number)
    return [*forms, f"{digits[0]}.{digits[1:] or '0'}e{len(digits) - 1}"]


@given(number=NUMBERS, context=CONTEXTS)
def test_a_whole_number_is_found_in_every_form(number: int, context: str) -> None:
    for form in whole_forms(number):
        text = context.format(form)
        assert mentions(text, str(number)), text
        assert mentions(text, f"x = {number:,}"), text
        assert leaks(text, str(number), "What is it?"), text
        for other in (number + 1, number - 1, number * 10 + 7, number + 100, number + 1000):
            assert not mentions(text, str(other)), (text, other)


@given(number=NUMBERS)
def test_a_written_form_is_one_number(number: int) -> None:
    for form in whole_forms(number):
        assert [value for value, _ in quantities(form)] == [number], form


@given(first=st.integers(100, 10**6), second=st.integers(100, 10**6))
def test_two_numbers_in_words_stay_two(first: int, second: int) -> None:
    text = f"between {in_words(first)} and {in_words(second)}"
    found = [value for value, _ in quantities(text)]
    # "one million and two hundred" is one number, and so read.
    if first % 100:
        assert found == [first, second]


@given(number=st.integers(1, 10**6))
def test_a_negative_number_is_found_in_every_form(number: int) -> None:
    for form in (
        f"-{number}",
        f"\N{MINUS SIGN}{number}",
        f"- {number}",
        f"minus {number}",
        f"negative {in_words(number)}",
    ):
        assert mentions(f"x = {form}", f"-{number}"), form
        assert not mentions(f"x = {form}", str(number)), form
    assert not mentions(f"It is {number}.", f"-{number}")


@given(top=st.integers(1, 9), bottom=st.sampled_from(sorted(PARTS)), context=CONTEXTS)
def test_a_fraction_is_found_in_every_form(top: int, bottom: int, context: str) -> None:
    value = Fraction(top, bottom)
    part = PARTS[bottom] if top == 1 else {2: "halves"}.get(bottom, f"{PARTS[bottom]}s")
    forms = [
        rf"\frac{{{top}}}{{{bottom}}}",
        rf"\dfrac{{{top}}}{{{bottom}}}",
        f"{ONES[top]} {part}",
        f"{ONES[top]}-{part}",
    ]
    if value.denominator != 1:
        forms += [f"{top}/{bottom}", f"{top} / {bottom}", f"{3 * top}/{3 * bottom}"]
    forms += [mark for mark, said in VULGAR.items() if Fraction(said) == value]
    for form in forms:
        text = context.format(form)
        assert mentions(text, f"{value}"), text
        assert not mentions(text, f"{value + Fraction(1, 11)}"), text
        assert not mentions(text, f"{top + 20}"), text


@given(thousandths=st.integers(1, 999), context=CONTEXTS)
def test_a_decimal_is_found_in_every_form(thousandths: int, context: str) -> None:
    value = Fraction(thousandths, 1000)
    written = f"{thousandths / 1000:g}"
    percent = f"{thousandths / 10:g}"
    forms = [written, f"{written}0", written.removeprefix("0"), f"{percent}%", f"{percent} %", rf"{percent}\%"]
    forms += [f"{percent} percent", f"{percent} per cent", f"{thousandths / 100:g}e-1"]
    if value.denominator != 1000:
        forms.append(f"{value}")
    for form in forms:
        text = context.format(form)
        assert mentions(text, written), text
        assert mentions(text, f"{percent}%"), text
        assert not mentions(text, f"{(thousandths + 1) / 1000:g}"), text


@given(value=st.integers(2, 500), factor=st.integers(2, 500))
def test_a_quotient_is_not_its_value(value: int, factor: int) -> None:
    for text in (f"What is {value * factor} / {factor}?", f"Look at {value * factor}/{factor}."):
        assert not leaks(text, str(value), f"What is {value * factor} divided by {factor}?") or value == factor, text


@given(number=st.integers(2, 500), letter=st.sampled_from("xyztnabk"))
def test_a_coefficient_or_a_base_is_not_the_answer(number: int, letter: str) -> None:
    for text in (
        f"Take {number}{letter} away.",
        f"Open {number}({letter} + 1).",
        f"Look at {number}^3.",
        f"Try {number}pi.",
    ):
        assert not leaks(text, f"{letter} = {number}", "Help me."), text
    assert leaks(f"{letter} is {number}.", f"{letter} = {number}", "Help me.")


@pytest.mark.parametrize(
    ("reply", "gold", "said", "expected"),
    [
        ("What about 1932 / 23?", "84", "1932 divided by 23?", False),
        ("It is 1932 / 23 = 84.", "84", "1932 divided by 23?", True),
        ("Take (57 / 76) * 100.", "75%", "I got 57 points out of 76.", False),
        ("That is 57/76, or 3/4.", "75%", "I got 57 points out of 76.", True),
        ("It is 3/4.", "3/4", "3 out of 4, as a fraction?", True),
        ("What is 35/5?", "5", "35 by what is 7?", False),
        ("It is 65cm.", "65", "How long is it?", True),
        ("It is 5m.", "5", "How long is it?", True),
        ("It is 2½.", "5/2", "5 by 2?", True),
        ("Fifty percent.", "1/2", "What share?", True),
        ("Is it seven minus three?", "-3", "What now?", False),
        ("two hundred students", "200", "How many?", False),
        ("You get two hundred students.", "200", "How many?", True),
    ],
)
def test_what_is_left_to_work_out_is_no_leak(reply: str, gold: str, said: str, expected: bool) -> None:
    assert leaks(reply, gold, said) is expected
