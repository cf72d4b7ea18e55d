"""What may have no end has limits. Real: the other process, signals and limits of the system, SymPy, re, jsonschema."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tuning_room import bounded as module
from tuning_room.bounded import bounded
from tuning_room.checks import Exchange
from tuning_room.checks.wording import json_schema, regular_expression
from tuning_room.dataset.config import Pii
from tuning_room.dataset.pii import Masker
from tuning_room.errors import LimitError, RecipeError
from tuning_room.generate.families import ProblemFamily, draw, drawn_apart
from tuning_room.generate.notes import NoteRules, problems
from tuning_room.generate.prompts import PromptFile
from tuning_room.records import Chunk

WORDS = "This is what somebody says about the red books on the long shelf of the second floor!"


def echo(value: Any) -> Any:
    return value


def process_id() -> int:
    return os.getpid()


def refuse(kind: str) -> None:
    raise {"recipe": RecipeError("no", hint="yes"), "value": ValueError("odd")}[kind]


def fill_memory() -> int:
    return len(bytearray(module.MEMORY + 1))


def swallow() -> None:
    while True:
        try:
            time.sleep(0) or sum(range(1000))
        except BaseException:
            continue


def dig(depth: int) -> int:
    return dig(depth + 1)


def die() -> None:
    os._exit(1)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the other process import this file, and end what an earlier test has started without it."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(module, "SECONDS", 2)
    module._PROCESS.stop()


def test_a_call_goes_there_and_back() -> None:
    value = {"a": [1, 2.5, None, "\u00e9\n\ud800"]}
    assert bounded(echo, value) == value
    assert bounded(process_id) == bounded(process_id) != os.getpid()


def test_errors_come_back_as_they_were_raised() -> None:
    with pytest.raises(RecipeError) as caught:
        bounded(refuse, "recipe")
    assert (caught.value.args[0], caught.value.hint) == ("no", "yes")
    with pytest.raises(ValueError, match=r"^odd$"):
        bounded(refuse, "value")


@pytest.mark.parametrize(
    ("function", "arguments", "said"),
    [
        (fill_memory, (), "takes more memory than 4 GB"),
        (dig, (0,), "refers to itself without end"),
        (die, (), "or the process was ended"),
        (swallow, (), "takes more than 2 s of computing"),
    ],
)
def test_a_call_without_end_is_ended_and_the_next_one_answered(function: Any, arguments: Any, said: str) -> None:
    with pytest.raises(LimitError, match=said):
        bounded(function, *arguments)
    assert bounded(echo, 7) == 7


FAMILY = {"name": "f", "topic": "t", "parameters": {"a": [2, 3]}, "problem": "{a}", "user": ["{a}"], "assistant": ["?"]}


@pytest.mark.parametrize(
    "expression",
    ["expand((x + y + z + n)**19 * (x - y + z - t)**19)", "integrate(log(x + 1)*exp(x**2)/sqrt(x**5 + 2), x)"],
)
def test_an_expression_without_end_is_named(expression: str) -> None:
    with pytest.raises(LimitError) as caught:
        drawn_apart(ProblemFamily.model_validate({**FAMILY, "answer": expression}), "s", 0.0, 0)
    assert f"family 'f': expression '{expression}': takes more than 2 s" in str(caught.value)


def test_a_problem_drawn_there_is_the_one_drawn_here() -> None:
    import random

    family = ProblemFamily.model_validate({**FAMILY, "parameters": {"a": {"from": 1, "to": 10**15}}, "answer": "a/3"})
    for number in range(3):
        assert drawn_apart(family, f"{number}", 0.5, number) == draw(family, random.Random(f"{number}"), 0.5, number)


CATASTROPHIC = [r"^(\w+\s?)*$", r"^(([A-Za-z ])+.)+[0-9]$"]


@pytest.mark.parametrize("pattern", CATASTROPHIC)
def test_a_pattern_that_searches_without_end_is_named(pattern: str) -> None:
    with pytest.raises(LimitError) as caught:
        regular_expression(Exchange(WORDS.replace("!", "?;"), WORDS), must_match=pattern)
    assert f"check 'regular_expression': {pattern}: takes more than" in str(caught.value)


SCHEMAS: dict[str, dict[str, Any]] = {
    "pattern": {"type": "string", "pattern": CATASTROPHIC[0]},
    "branches": {
        "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": {}},
        "$ref": "#/$defs/d0",
    },
}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_a_schema_without_end_is_named(schema: dict[str, Any]) -> None:
    with pytest.raises(LimitError, match="check 'json_schema': schema: "):
        json_schema(Exchange(f'"{WORDS}"', "?"), schema=schema)


def test_a_schema_that_leads_back_to_itself_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="leads back to itself"):
        json_schema(Exchange("1", "?"), schema={"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"})


def test_other_patterns_of_a_recipe_have_the_same_limit(tmp_path: Path) -> None:
    with pytest.raises(LimitError, match=r"dataset\.pii\.student_ids: takes more"):
        Masker(Pii(kinds=["student_id"], student_ids=[r"(\w+\s?)*$^"])).text(WORDS)
    rules = NoteRules(heading=r"(?P<number>)(?P<title>(\w+\s?)*)$", topic="(?P<topic>)", label="x", rules=[])
    chunk = Chunk(id="c", document="d", headings=[WORDS], text="text", items=["a"])
    with pytest.raises(LimitError, match=r"pattern .* of the notes: takes more"):
        problems([chunk], rules)
    prompt = tmp_path / "prompt.yaml"
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    prompt.write_text(f'[{{role: user, content: "{endless}"}}]', encoding="utf-8")
    with pytest.raises(LimitError, match=r"prompt\.yaml: takes more"):
        PromptFile(prompt).messages({})
