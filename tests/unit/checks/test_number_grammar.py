"""Forms of numbers by language and script. Real: the rules, on labelled replies (docs/languages.md); Hypothesis draws.

`python benchmarks/number_forms.py` prints the figures.
"""

import sys
import unicodedata
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.checks import Exchange
from tuning_room.checks.number_grammar import as_read, in_signs, plain, read
from tuning_room.checks.numbers import equal, mentions, numbers_in, without_labels
from tuning_room.checks.registry import rejected_by

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import number_forms as figures

ZEROS = [sign for sign in map(chr, range(0x110000)) if unicodedata.decimal(sign, None) == 0]


@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row['kind']}-{n}") for n, row in enumerate(figures.rows())])
def test_an_answer_is_found_in_each_form_and_in_no_other_number(row: dict[str, Any]) -> None:
    assert figures.is_right(row)


def test_the_labelled_rows_are_counted() -> None:
    counted = dict(figures.by_kind())
    assert counted["all"].gives >= 200
    assert counted["all"].gives_not >= 70
    assert counted["all"].found == counted["all"].gives
    assert sum(right.gives for kind, right in counted.items() if kind != "all") == counted["all"].gives


@given(st.integers(1, 10**9), st.sampled_from(ZEROS))
def test_the_digits_of_every_script_are_read(number: int, zero: str) -> None:
    written = "".join(chr(ord(zero) + int(digit)) for digit in str(number))
    assert mentions(f"It is {written}.", str(number)), written
    assert not mentions(f"It is {written}.", str(number + 1)), written


SETTINGS = st.sampled_from(
    [("en", ",", "."), ("", ",", "."), ("de", ".", ","), ("fr", "\u202f", ","), ("pl", "\u00a0", ","), ("fr", " ", ","),
     ("", " ", "."), ("", "'", "."), ("de", "\u2019", ","), ("es", ".", ","), ("es", ",", "."), ("ru", "\u00a0", ",")]
)  # fmt: skip


@given(st.integers(10**6, 10**12), st.integers(1, 99), SETTINGS)
def test_a_number_is_read_as_its_language_sets_it(number: int, cents: int, setting: tuple[str, str, str]) -> None:
    language, group, point = setting
    written = f"{number:,}".replace(",", group) + f"{point}{cents:02}"
    gold = f"{number}.{cents:02}"
    assert mentions(f"It is {written}.", gold, language=language), written
    assert not mentions(f"It is {written}.", str(number), language=language), written
    assert equal(written, gold, language)


@given(st.integers(1, 999), st.integers(0, 999))
def test_a_language_says_what_an_ambiguous_number_means(thousands: int, rest: int) -> None:
    whole, decimal = str(thousands * 1000 + rest), f"{thousands}.{rest:03}"
    comma, point = f"It is {thousands},{rest:03}.", f"It is {thousands}.{rest:03}."
    assert mentions(comma, whole, language="en")
    assert mentions(point, whole.replace(".", ""), language="de")
    assert mentions(comma, decimal.rstrip("0").rstrip(".").replace(".", ","), language="de")
    for text, gold, language in ((comma, decimal.rstrip("0") + "1", "en"), (point, f"{thousands},{rest:03}1", "de")):
        assert not mentions(text, gold, language=language)
    # Without a language either is meant.
    assert mentions(comma, whole)
    assert mentions(point, whole)


@given(st.integers(1, 99), st.integers(1, 9), st.integers(2, 10), st.booleans())
def test_a_mixed_number_is_one_number(whole: int, top: int, bottom: int, negative: bool) -> None:
    value = whole + Fraction(top, bottom)
    sign = "-" if negative else ""
    gold = f"{sign}{value.numerator}/{value.denominator}"
    for form in (f"{whole} {top}/{bottom}", rf"{whole}\frac{{{top}}}{{{bottom}}}", rf"{whole} \tfrac{top}{bottom}"):
        if top < bottom < 10:
            assert mentions(f"It is {sign}{form}.", gold), form
            assert not mentions(f"It is {sign}{form}.", f"{sign}{whole}"), form
            assert not mentions(f"It is {sign}{form}.", f"{top}/{bottom}"), form
    if top > bottom:
        # "4 10/3" is two numbers.
        assert [one.value for one in read(f"{whole} {top}/{bottom}")] == [whole, Fraction(top, bottom)]


@given(st.integers(1, 9999), st.integers(-9, 9))
def test_a_power_of_ten_is_read_in_every_form(digits: int, exponent: int) -> None:
    value = digits * Fraction(10) ** exponent
    gold = f"{value.numerator}/{value.denominator}" if value.denominator > 1 else str(value)
    raised = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    latex = rf"{digits} \times 10^{{{exponent}}}"
    for form in (f"{digits} \u00d7 10^{exponent}", latex, f"{digits}·10{raised}", f"{digits}e{exponent}"):
        assert mentions(f"It is {form}.", gold), form
        assert exponent == 0 or not mentions(f"It is {form}.", str(digits)), form


@given(
    st.text(
        st.sampled_from("0123456789.,'_ /-\u2013\u2212½¹\u2044₂\u066b٬\u0661x\u00d7^{}()\\fracand half%€point"),
        max_size=60,
    )
)
def test_any_text_is_read_at_its_places(text: str) -> None:
    assert len(in_signs(text)) == len(text)
    places = [(one.begin, one.end) for one in numbers_in(text)]
    assert places == sorted(places)
    assert all(begin < end <= len(text) for begin, end in places)
    assert mentions(text, as_read(text)) in (True, False)
    assert len(without_labels(text)) <= len(text) + 1


@pytest.mark.parametrize(
    ("reply", "gold", "said", "leaks"),
    [
        (
            "If 0.36 means 36 hundredths, what is left?",
            "9/25",
            "Please write 0.36 as a fraction in lowest terms.",
            False,
        ),
        ("It is three tenths.", "3/10", "Please write 0.3 as a fraction in lowest terms.", True),
        ("It is 3 tenths.", "3/10", "Please write 0.3 as a fraction in lowest terms.", True),
        ("If you write 6 over 20, what then?", "30%", "6 of 20 rooms, in percent?", False),
        (r"Look at \frac{6}{20}. What then?", "30%", "6 of 20 rooms, in percent?", False),
        (r"It is \frac{3}{4}.", "3/4", "3 of 4, as a fraction?", True),
    ],
)
def test_the_problem_in_another_form_is_no_answer(reply: str, gold: str, said: str, leaks: bool) -> None:
    assert bool(rejected_by({"states_no_gold": {}}, Exchange(reply, said, gold))[0]) is leaks


def test_a_check_reads_numbers_as_the_language_does() -> None:
    for language, rejected in (("de", False), ("en", True), ("", True)):
        exchange = Exchange("Das sind 1.500, warum?", "Wie viel?", "1.5", language=language)
        assert bool(rejected_by({"states_no_gold": {}}, exchange)[0]) is rejected


def test_separators_are_what_stands_last() -> None:
    assert plain("1.234.567,5") == plain("1,234,567.5") == plain("1 234 567,5") == Fraction("1234567.5")


@pytest.mark.parametrize("language", ["", "ar", "fa"])
def test_arabic_digits_are_grouped_by_their_own_signs(language: str) -> None:
    assert mentions("\u0661\u066c\u0665\u0660\u0660", "1500", language=language)
    assert mentions("\u0661\u066b\u0665", "1.5", language=language)


@pytest.mark.parametrize(
    ("reply", "gold", "language"),
    [
        ("1,5 Millionen", "1500000", "de"),
        ("1,5 Mio. Euro", "1500000", "de"),
        ("2 milliards", "2000000000", "fr"),
        ("3 millones", "3000000", "es"),
    ],
)
def test_scales_have_names_in_other_languages(reply: str, gold: str, language: str) -> None:
    assert mentions(reply, gold, language=language)
