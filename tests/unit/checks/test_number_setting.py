"""Numbers under markup, several at once, and as they are typed. Nothing is faked; Hypothesis draws."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.checks.as_written import written
from tuning_room.checks.number_labels import without_labels
from tuning_room.checks.number_setting import shown
from tuning_room.checks.numbers import mentions
from tuning_room.checks.phrases import plain
from tuning_room.checks.sentences import asks

MARKUP = st.sampled_from(
    ["<b>{}</b>", "**{}**", "*{}*", "`{}`", "<span class='n'>{}</span>", r"\boxed{{{}}}", "=={}=="]
)


@given(st.integers(1, 999), st.integers(0, 999), MARKUP, st.sampled_from([",", "&nbsp;", "&thinsp;", "&#8239;", r"\,"]))
def test_a_number_is_read_under_markup_around_and_inside(head: int, tail: int, markup: str, group: str) -> None:
    gold = str(head * 1000 + tail)
    assert mentions(f"It is {markup.format(f'{head}{group}{tail:03}')}.", gold)
    if markup[0] in "<*" and markup[:2] != "*{":
        assert mentions(f"It is {head},{markup.format(f'{tail:03}')}.", gold)
    assert not mentions(f"It is {markup.format(f'{head}{group}{tail:03}')}.", str(head))


@given(st.integers(1, 30), st.integers(2, 31))
def test_a_fraction_is_read_however_it_is_set(top: int, bottom: int) -> None:
    value = Fraction(top, bottom)
    forms = [
        f"<sup>{top}</sup>/<sub>{bottom}</sub>",
        rf"\nicefrac{{{top}}}{{{bottom}}}",
        rf"\sfrac{{{top}}}{{{bottom}}}",
    ]
    forms += [
        rf"\frac{{\,{top}\,}}{{\,{bottom}\,}}",
        f"**{top}**/**{bottom}**",
        rf"{top} \div {bottom}",
        f"$^{top}/_{bottom}$",
    ]
    for form in forms if value.denominator > 1 else []:
        assert mentions(f"It is {form}.", str(value)), form
        assert not mentions(f"It is {form}.", str(value + Fraction(1, 37))), form
        assert mentions(rf"It is $\frac{{{top}}}{{-{bottom}}}$.", str(-value))


@given(st.integers(0, 99), st.integers(1, 998))
def test_a_periodic_decimal_is_its_fraction(whole: int, period: int) -> None:
    value = whole + Fraction(period, 999)
    for form in (rf"{whole}.\overline{{{period:03}}}", f"{whole}.({period:03})", f"{whole}.{3 * f'{period:03}'}..."):
        assert mentions(f"It is {form}.", str(value)), form


@given(st.lists(st.integers(-40, 40), min_size=2, max_size=3, unique=True))
def test_a_result_of_several_values_is_found_whole_and_in_its_order(values: list[int]) -> None:
    point = f"({', '.join(map(str, values))})"
    names = ", ".join(f"{name} = {value}" for name, value in zip("xyz", values, strict=False))
    for form in (point, point.replace(",", ";"), point.replace(",", " |"), names, " and ".join(map(str, values))):
        assert mentions(f"It is {form}.", point), form
    turned = f"({', '.join(map(str, reversed(values)))})"
    assert not mentions(f"It is {turned}.", point)
    joined = " and ".join(map(str, values))
    assert mentions(f"They are {' and '.join(map(str, reversed(values)))}.", joined)
    assert not mentions(f"It is {values[0]}.", joined)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("3·x² + 2", "3x^2 + 2"),
        ("2 + 3x^{2}", "3x² + 2"),
        (r"$x \leq 4$", "x ≤ 4"),
        ("x is greater than 4", "x > 4"),
        ("4 times the square root of 7", "4√7"),
        (r"7^{1/2}", "√7"),
        ("seven pi", "7π"),
        ("about 2.646", "√7"),
        ("5 to 3", "5:3"),
        ("April 3rd", "3 April"),
    ],
)
def test_a_formula_is_found_however_it_is_typed(text: str, result: str) -> None:
    assert mentions(f"It is {text}.", result)


@pytest.mark.parametrize(
    ("text", "result"), [("3x - 2", "3x + 2"), ("x < 4", "x > 4"), ("x^3", "x^2"), ("3 to 5", "5:3"), ("√8", "√7")]
)
def test_another_formula_is_not_the_result(text: str, result: str) -> None:
    assert not mentions(f"It is {text}.", result)
    assert not written(text, result)


@pytest.mark.parametrize(
    "text",
    "on 12 March?|March 12, 2026|at 12 pm|grade 12|Xbox 12|bus line No. 12|12 Baker Street|12-bit|"
    "ages 12-15|"
    "8\u201312 years|the I-12|12 BC|page 1/12|RFC 12|in class 12B|12-Eleven".split("|"),
)
def test_a_name_a_date_and_a_range_are_no_answer(text: str) -> None:
    assert not mentions(f"Is it {text}", "12")
    assert "12" not in without_labels(f"Is it {text}")


@pytest.mark.parametrize("text", ["12 may be", "17-12=5 or 12", "No. 12 is wrong", "line 12 cm long", "12 march on"])
def test_an_answer_that_looks_like_a_name_is_one(text: str) -> None:
    assert mentions(f"So {text}", "12")


@given(st.text(st.sampled_from("12,.<b>&;#*`~\\{}^/%‰√π·-=() andhalfof"), max_size=60), st.sampled_from(
    ["12 km/h", "9:30", "3/4", "-3", "√2", "(2, 3)", "3x + 2", "5 and 7", "25%"]))  # fmt: skip
def test_any_text_can_be_held_against_any_result(text: str, gold: str) -> None:
    assert mentions(text, gold) in (True, False)
    assert shown(shown(text)) is not None


@pytest.mark.parametrize("sign", ["*", "<b ", "&#9", "\\text{", "= ? ", "`?", "re-\n", "> ", "_", "(", "{", "<!--"])
def test_a_long_row_of_signs_costs_no_time(sign: str) -> None:
    text = sign * (100_000 // len(sign))
    assert not mentions(text, "12 km/h")
    assert asks(f"{text}\nWhy?") > 0
    assert len(plain(text)) <= len(text)
    assert plain(f"&#{'9' * 9000};").endswith(";")
