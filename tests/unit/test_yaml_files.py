"""YAML as people write it, and as nobody needs it. Real: PyYAML, files."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.errors import RecipeError
from tuning_room.yaml_files import DEEPEST, LARGEST, MOST_VALUES, parse_yaml, read_yaml

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(value=VALUES)
def test_what_is_of_a_usual_size_is_read_as_ever(value: Any) -> None:
    text = yaml.safe_dump(value)
    assert parse_yaml(text) == yaml.safe_load(text)


def test_an_anchor_is_for_being_used_again() -> None:
    assert parse_yaml("a: &a {b: 1}\nc: {<<: *a, d: 2}\ne: [*a, *a]") == {
        "a": {"b": 1},
        "c": {"b": 1, "d": 2},
        "e": [{"b": 1}, {"b": 1}],
    }


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "c:\n  - {x: 1, x: 1}", "'a': 1\na: 2"])
def test_a_key_that_stands_twice_is_refused(text: str) -> None:
    with pytest.raises(yaml.MarkedYAMLError, match="stands twice"):
        parse_yaml(text)


def bomb(levels: int) -> str:
    lines = [f"- &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(["- &l0 [1, 1]", *lines])


def merged(levels: int) -> str:
    lines = [f"- &m{n} {{a{n}: [*m{n - 1}, *m{n - 1}, *m{n - 1}], <<: *m{n - 1}}}" for n in range(1, levels)]
    return "\n".join(["- &m0 {a: 1}", *lines])


BEYOND = {
    "anchors of anchors": (bomb(9), "more than 200,000 values"),
    "anchors in merged mappings": (merged(20), "more than 200,000 values"),
    "a long text again and again": (f"- &t {'x' * 90_000}\n- [{', '.join(['*t'] * 1000)}]", "more than 200,000 values"),
    "itself": ("a: &s {b: [1, *s]}", "line 1, column 15: the anchor 's' stands for something that it is itself"),
    "itself, merged": ("a: &s\n  <<: *s", "itself a part of"),
    "brackets": ("x: " + "[" * 5000, "more than 50 lists and mappings within each other"),
    "braces": ("x: " + "{a: " * 3000, "within each other"),
    "dashes": ("- " * 3000 + "x", "within each other"),
    "question marks": ("? " * 3000 + "x", "within each other"),
    "base 60": ("x: " + "59:" * 4000 + "1", "a number of more than 400 characters"),
    "infinite": ("x: [1, -.inf]", "line 1, column 8: -.inf is not a finite number"),
    "none": ("x: .NaN", ".NaN is not a finite number"),
    "too large for a number": ("x: 1.0e+999", "1.0e+999 is not a finite number"),
    "half a character": ('x: "\\ud83d"', "half of a surrogate pair"),
    "no such day": ("x: 2026-02-31", "not YAML (day is out of range"),
    "not what the tag says": ("x: !!timestamp soon", "a value that its tag does not fit"),
    "no truth": ("x: !!bool perhaps", "a value that its tag does not fit"),
    "an object": ("x: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    "a list as a name": ("{[a]: b}", "unhashable"),
}


@pytest.mark.parametrize(("text", "said"), BEYOND.values(), ids=BEYOND)
def test_what_nobody_needs_is_refused_in_a_line(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        read_yaml(file)
    assert str(caught.value).startswith(f"{file}: not YAML (") and said in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@given(text=st.text(st.sampled_from("ab:-[]{}&*!|>?'\"\\%@,\n \t#1.~<"), max_size=40) | st.text(max_size=40))
def test_any_text_is_a_value_or_is_refused(text: str) -> None:
    with suppress(yaml.YAMLError, ValueError):
        parse_yaml(text)


def test_a_file_is_missing_too_large_or_no_text(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    with pytest.raises(RecipeError, match="No such file"):
        read_yaml(file)
    file.write_bytes(b"name: M\xfcller")
    with pytest.raises(RecipeError, match=r"not UTF-8 \(byte 8\)"):
        read_yaml(file)
    file.write_text("#" * (LARGEST + 1), encoding="utf-8")
    with pytest.raises(RecipeError, match="4 MB, more than 4"):
        read_yaml(file)


def test_the_bounds_are_far_from_what_the_shipped_recipes_need() -> None:
    files = sorted((Path(__file__).parents[2] / "recipes").rglob("*.yaml"))
    deepest = max(levels(yaml.safe_load(file.read_text(encoding="utf-8"))) for file in files)
    assert (
        files and deepest * 3 < DEEPEST and max(file.stat().st_size for file in files) * 20 < LARGEST < MOST_VALUES * 50
    )


def levels(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return 1 + max(map(levels, inner), default=0)


WORDS = st.sampled_from(["yes", "no", "on", "off", "Yes", "NO", "Off"])


@given(word=WORDS, quote=st.sampled_from(["'", '"']))
def test_yes_and_no_are_words_where_words_stand(word: str, quote: str) -> None:
    for text in (f"phrases: [maybe, {word}]", f"phrases:\n- maybe\n- {word}", f"{word}: 3", f"a: [[{word}]]"):
        with pytest.raises(yaml.MarkedYAMLError, match="quote yes and no"):
            parse_yaml(text)
        assert word in str(parse_yaml(text.replace(word, f"{quote}{word}{quote}")))


@given(word=WORDS)
def test_yes_and_no_may_answer_a_key(word: str) -> None:
    assert parse_yaml(f"economics: {word}") == {"economics": word.lower() in ("yes", "on")}
    assert parse_yaml("a: [true, false]") == {"a": [True, False]}
