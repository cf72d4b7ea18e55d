"""Units by their names, and times of day. Nothing is faked; Hypothesis draws the numbers and the names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.checks.numbers import mentions
from tuning_room.checks.units import clock, unit_at, whole_unit

NAMES = {
    "km/h": ["km/h", "kilometres per hour", "kilometers an hour", "kph", "km per hour", r"km\cdot h^{-1}", "km⋅h⁻¹"],
    "m/s": ["m/s", "metres per second", "meters per second", "m s⁻¹", r"\text{m}/\text{s}"],
    "cm²": ["cm²", "cm^2", "cm2", "sq cm", "sq. cm", "square centimetres", "centimetres squared", "cm<sup>2</sup>"],
    "m³": ["m³", "m^{3}", "cubic metres", "cu m", "cubic meters"],
    "°": ["°", "degrees", "º", r"^\circ", r"^{\circ}", "&deg;", "deg"],
    "kg": ["kg", "kilograms", "kilos", "kilogrammes"],
    "lb": ["lb", "lbs", "pounds"],
    "min": ["min", "minutes", "mins"],
}
HOURS = "twelve one two three four five six seven eight nine ten eleven".split()
TENS = {20: "twenty", 30: "thirty", 40: "forty", 50: "fifty"}


@given(st.sampled_from(sorted(NAMES)), st.integers(2, 400), st.data())
def test_an_answer_is_found_by_any_name_of_its_unit_and_by_no_other_unit(
    unit: str, size: int, data: st.DataObject
) -> None:
    gold = f"{size}{'' if unit == '°' else ' '}{unit}"
    name = data.draw(st.sampled_from(NAMES[unit]))
    assert mentions(f"So it is {size} {name}, right?", gold)
    assert mentions(f"The answer is {size}.", gold)
    assert mentions(f"It is {size} and no more.", gold)
    assert not mentions(f"So it is {size + 1} {name}.", gold)
    other = data.draw(st.sampled_from([*(set(NAMES) - {unit}), "lines"]))
    assert not mentions(f"There are {size} {other} of it.", gold)


@given(st.sampled_from([name for names in NAMES.values() for name in names]))
def test_a_name_means_one_unit(name: str) -> None:
    if name.isalpha():
        assert whole_unit(name) == unit_at(f"{name}, then")[0]


@pytest.mark.parametrize("text", ["x", "lines", "", "5", "b + c", "X"])
def test_a_variable_is_no_unit(text: str) -> None:
    assert whole_unit(text) is None


@given(st.integers(0, 11), st.sampled_from(sorted(TENS)))
def test_a_time_is_found_however_it_is_said(hour: int, minute: int) -> None:
    shown = hour or 12
    gold = f"{shown}:{minute}"
    forms = [
        f"{shown}.{minute}",
        f"{shown}h{minute}",
        f"{shown}\uff1a{minute}",
        f"{shown}\u2236{minute}",
        f"{shown}{{:}}{minute}",
    ]
    forms += [f"{HOURS[hour]} {TENS[minute]}", f"{HOURS[hour]}-{TENS[minute]}", f"{minute} minutes past {HOURS[hour]}"]
    forms += [f"{shown}時{minute}分", f"{shown} Uhr {minute}", f"{shown} h {minute} min", f"{shown}:{minute} am"]
    if minute == 30:
        forms += [f"half past {HOURS[hour]}", f"half-past {shown}"]
    for form in forms:
        assert mentions(f"They meet at {form}, agreed?", gold), form
        assert not mentions(f"They meet at {form}, agreed?", f"{shown}:{minute + 1}"), form


@given(st.integers(13, 23), st.integers(10, 59))
def test_a_time_by_24_hours_is_one_of_the_afternoon(hour: int, minute: int) -> None:
    assert mentions(f"At {hour}:{minute}.", f"{hour - 12}:{minute} pm")
    assert mentions(f"At {hour - 12}:{minute} p.m.", f"{hour}:{minute}")
    assert not mentions(f"At {hour}:{minute}.", f"{hour - 12}:{minute} am")
    assert not mentions(f"At {hour}:{minute}.", f"{hour - 12}:{minute}")


@pytest.mark.parametrize("text", ["9.30", "5 to 2", "12 30", "3:4", "930", "half"])
def test_what_may_be_another_number_is_no_time(text: str) -> None:
    assert clock(text) is None
