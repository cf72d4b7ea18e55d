"""Values by the format codes of spreadsheets. Expected texts are those of ECMA-376, 18.8.31, and of Excel itself."""

import datetime as dt
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.convert.number_formats import plain, shown

NUMBERS = [
    (1234.59, "####.#", "1234.6"),
    (8.9, "#.000", "8.900"),
    (0.631, "0.#", "0.6"),
    (12, "#.0#", "12.0"),
    (1234.568, "#.0#", "1234.57"),
    (2.8, "???.???", "2.8"),
    (12000, "#,###", "12,000"),
    (12000, "#,", "12"),
    (12200000, "0.0,,", "12.2"),
    (1234, "00000", "01234"),
    (123456789, "000-00-0000", "123-45-6789"),
    (2813308004, "[<=9999999]###-####;(###) ###-####", "(281) 330-8004"),
    (8675309, "[<=9999999]###-####;(###) ###-####", "867-5309"),
    (0.285, "0.00", "0.29"),
    (2.5, "0", "3"),
    (-0.5, "0", "-1"),
    (0, "#", ""),
    (0.5, "#.##", ".5"),
    (1, "0.##", "1."),
    (1000000000000.01, "0.##", "1000000000000.01"),
    (12345.6789, "00000-0000", "00001-2346"),
    (0.475, "0.0%", "47.5%"),
    (1.5, "0%", "150%"),
    (0.125, r"0.0\%", "0.1%"),
    (12345678, "0.00E+00", "1.23E+07"),
    (12345, "##0.0E+0", "12.3E+3"),
    (999999, "##0.0E+0", "1.0E+6"),
    (9.9999, "0.00E+0", "1.00E+1"),
    (0.00012345, "0.00E-00", "1.23E-04"),
    (0, "0.00E+00", "0.00E+00"),
    (-51968287, '"Rs."#,##0.00', "-Rs.51,968,287.00"),
    (3.14159, r"[$₹-4009]\ #,##0.00", "₹ 3.14"),
    (1234.5, "#,##0.00 [$€-407]", "1,234.50 €"),
    (-1234.5, '_-* #,##0.00 "€"_-;-* #,##0.00 "€"_-', "-1,234.50 €"),
    (3.14159, '"This is a ".00"test"000', "This is a 3.14test159"),
    (1234567, '#,##0,"k"', "1,235k"),
    (5, '0 "days; or more"', "5 days; or more"),
    (0.045, "[Red].00", ".05"),
]
SECTIONS = [
    (-5, "$#,##0;($#,##0)", "($5)"),
    (-5, "$#,##0", "-$5"),
    (-1.1, "0;0", "1"),
    (0, '_(* #,##0_);_(* (#,##0);_(* "-"??_);_(@_)', "-"),
    (0, '0;-0;"none"', "none"),
    (5, ";;;", ""),
    (1, '[=1]"yes";[=0]"no";General', "yes"),
    (0, '[=1]"yes";[=0]"no";General', "no"),
    (2, '[=1]"yes";[=0]"no";General', "2"),
    (51, "[<>50]General;[Blue]000", "51"),
    (50, "[<>50]General;[Blue]000", "050"),
    ("foo", '"a";"b";"c";"<"@">"', "<foo>"),
    ("foo", '"a";"b";"c"', "foo"),
    ("foo", "0.00", "foo"),
    ("007", "General", "007"),
    (7, "@", "7"),
    (7, '"No. "@', "No. 7"),
    (True, "0.00", "TRUE"),
    (False, "General", "FALSE"),
]
FRACTIONS = [
    (1, "# ?/?", "1"),
    (-1.2, "# ?/?", "-1 1/5"),
    # The nearest one; Excel itself sometimes shows one that is further away (12 1/3).
    (12.3, "# ?/?", "12 2/7"),
    (1234.567, "# ??/??", "1234 55/97"),
    (12345.6789, "# ???/???", "12345 74/109"),
    (123.45, "# ?/4", "123 2/4"),
    (12.34, "# ??/16", "12 5/16"),
    (0.3, "# ?/?", "2/7"),
    (12.3456789, "??/??", "1000/81"),
    (0.99, "# ?/?", "1"),
    (0, "# ?/?", "0"),
]
DATES = [
    (46082, "yyyy-mm-dd", "2026-03-01"),
    (46082.395833333336, "yyyy-mm-dd h:mm:ss", "2026-03-01 9:30:00"),
    (46082.395833333336, "d.m.yyyy hh:mm", "1.3.2026 09:30"),
    (46082, '[$-409]dddd", "mmmm d, yyyy;@', "Sunday, March 1, 2026"),
    (12345, r"[$-409]mmm\-yy", "Oct-33"),
    (46082, "mmmmm d/yy", "M 1/26"),
    (0.7, "hh:mm AM/PM", "04:48 PM"),
    (0.5, "h A/P", "12 P"),
    (0.70707, "hh:mm:ss.000", "16:58:10.848"),
    (2.9999999999999996, "[h]:mm:ss;@", "72:00:00"),
    (90.5 / 86400, "[mm]:ss.0", "01:30.5"),
    (1, "yyyy-mm-dd dddd", "1900-01-01 Sunday"),
    (0, "yyyy-mm-dd", "1900-01-00"),
    (61, "yyyy-mm-dd", "1900-03-01"),
    (46082, 'yyyy"年"m"月"d"日"', "2026年3月1日"),
    (1000, "b", "45"),
    # In the reader's own order in a spreadsheet, and so in ISO's here.
    (46082, "mm-dd-yy", "2026-03-01"),
    (46082.395833333336, "m/d/yy h:mm", "2026-03-01 09:30"),
    (46082, r"[$-F800]dddd\,\ mmmm\ dd\,\ yyyy", "2026-03-01"),
    (0.5, "[$-F400]h:mm:ss AM/PM", "12:00:00"),
    # No dates.
    (-1, "yyyy-mm-dd", "-1"),
    (3e6, "yyyy-mm-dd", "3000000"),
]


@pytest.mark.parametrize(("value", "code", "text"), [*NUMBERS, *SECTIONS, *FRACTIONS, *DATES])
def test_values_are_shown_as_in_a_spreadsheet(value: float | str, code: str, text: str) -> None:
    assert shown(value, code) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.3"),
        (1 / 3, "0.333333333"),
        (1234567891.23, "1234567891"),
        (12345.678912, "12345.67891"),
        (0.00012345678, "0.000123457"),
        (0.000012, "0.000012"),
        (1.234567e-5, "1.23457E-05"),
        (1e20, "1E+20"),
        (-0.0, "0"),
        # A spreadsheet would write 1.23457E+14, and nobody could tell which account it is.
        (123456789012345, "123456789012345"),
    ],
)
def test_numbers_without_a_format(value: float, text: str) -> None:
    assert plain(value) == text
    assert shown(value, "General") == text


def test_days_are_counted_from_1904_where_the_workbook_says_so() -> None:
    assert shown(0, "yyyy-mm-dd", is_1904=True) == "1904-01-01"
    assert shown(44620, "yyyy-mm-dd dddd", is_1904=True) == "2026-03-01 Sunday"


@given(st.dates(dt.date(1900, 3, 1), dt.date(9999, 12, 31)), st.times())
def test_every_date_and_time(date: dt.date, time: dt.time) -> None:
    seconds = time.hour * 3600 + time.minute * 60 + time.second
    serial = (date - dt.date(1899, 12, 30)).days + seconds / 86400
    expected = dt.datetime.combine(date, time.replace(microsecond=0))
    assert shown(serial, "yyyy-mm-dd hh:mm:ss") == f"{expected:%Y-%m-%d %H:%M:%S}".rjust(19, "0")
    assert shown(serial, "dddd") == f"{expected:%A}"


@given(st.integers(-(10**14), 10**14), st.integers(0, 4))
def test_every_number_with_separators_and_decimals(number: int, decimals: int) -> None:
    code = "#,##0" + ("." + "0" * decimals if decimals else "")
    assert shown(number, code) == f"{number:,.{decimals}f}"


CODE = st.text(alphabet='0#?.,%E+-/;@[]"\\_*ymdhsAPM$ <>=General€', max_size=20)


@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**30), 10**30), st.text()), CODE)
def test_any_code_shows_something_or_nothing_and_never_fails(value: float | str, code: str) -> None:
    text = shown(value, code)
    assert not re.search(r"\s\s", text) or isinstance(value, str)
